//! What holds whatever was read, and how inputs are taken apart.

pub mod judge;
pub mod text;
