//! The two servers, what they answered, and how that is compared.

pub mod kinds;
pub mod normal;
pub mod server;
pub mod tape;
