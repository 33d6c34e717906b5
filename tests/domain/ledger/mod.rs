//! What is stored, and how an attempt ends in it.

pub mod codecs;
pub mod commits;
pub mod format_1;
pub mod history;
pub mod late_pairs;
