//! The hostile server, and what must hold in every attack.

pub mod hunt;
pub mod question;
pub mod server;
pub mod siege;
