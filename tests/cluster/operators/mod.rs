//! The program: its start, its rights, what it shows.

pub mod alarms;
pub mod refusals;
pub mod scale;
pub mod start;
