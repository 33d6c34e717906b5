//! What users, and their other programs, do.

pub mod consumers;
pub mod links;
pub mod ownership;
pub mod validation;
