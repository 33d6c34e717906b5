//! What the stories are played with.

pub mod grants;
pub mod pleo;
pub mod process;
pub mod sent;
pub mod world;
