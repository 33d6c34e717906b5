//! The operator's own calls and watches, as it makes them.

pub mod calls;
pub mod followers;
