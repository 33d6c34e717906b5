//! What pods and people are told.

pub mod restarts;
pub mod telling;
pub mod warnings;
