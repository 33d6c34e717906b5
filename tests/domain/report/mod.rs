//! What users and other programs are told.

pub mod priority;
pub mod reasons;
pub mod status;
pub mod warnings;
