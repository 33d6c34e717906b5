//! What a server answers, and what follows from it.

pub mod answers;
pub mod failures;
pub mod governor;
pub mod retries;
