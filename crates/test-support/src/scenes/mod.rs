//! Scenes: what was seen of one connection, built step by step, and a tiny interpreter that makes decisions come true in
//! memory. A test reads like a transcript: who holds what, what time it is, what the server answers, what is done next.

mod acts;
mod builders;
mod scene;

pub use builders::*;
pub use scene::Scene;
