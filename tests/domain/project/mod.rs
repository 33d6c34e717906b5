//! The source, and the pages: that they are what they say.

pub mod crd;
pub mod pages;
pub mod source;
