//! Authorization by link, and attacks on it.

pub mod browser;
pub mod callbacks;
pub mod requests;
pub mod visits;
