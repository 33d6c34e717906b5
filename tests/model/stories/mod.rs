//! What goes wrong, and what must hold all the same.

pub mod links;
pub mod machines;
pub mod mistakes;
pub mod people;
