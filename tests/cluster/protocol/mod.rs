//! Rotations, and what can go wrong on the way.

pub mod answers;
pub mod crashes;
pub mod failures;
pub mod rotation;
