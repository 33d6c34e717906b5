//! How objects are found and followed.

pub mod lists;
pub mod races;
pub mod selectors;
pub mod watches;
