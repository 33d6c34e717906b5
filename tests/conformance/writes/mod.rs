//! How objects come, change and go.

pub mod deletion;
pub mod objects;
pub mod patches;
pub mod refusals;
pub mod secrets;
pub mod status;
