//! What every test here stands on: a real API server shared by all, a sandbox of one's own, operators as real processes,
//! and a hunt for leaked secrets in everything that they left behind.

use std::time::Duration;

mod evidence;
mod operator;
mod waits;
mod world;

pub use operator::{Flags, Operator, free_port};
pub use waits::{condition, told};
pub use world::{World, finish, install_crd, many_rotating};

/// The longest that anything here may take. Nothing is proved by it: it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);
