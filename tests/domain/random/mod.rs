//! What holds for whatever was seen, and for any course of events.

pub mod arbitrary;
pub mod outcomes;
pub mod rules;
pub mod walks;
