//! What belongs to a process: what floods cost, what the program logs.

pub mod inner;
pub mod logs;
pub mod memory;
