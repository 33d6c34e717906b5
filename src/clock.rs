//! The only reader of wall time, and a stopwatch that a suspended node cannot fool. Everything else takes times as values.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

/// Reads the wall clock.
pub trait WallClock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A clock shared by all parts of a process.
pub type Clock = Arc<dyn WallClock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Measures by two clocks: the monotonic one stands still while a node is suspended, the wall clock can be set.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    monotonic: Instant,
    wall: Timestamp,
}

impl Stopwatch {
    /// Begins now.
    pub fn start(clock: &Clock) -> Self {
        Self { monotonic: Instant::now(), wall: clock.now() }
    }

    pub fn started_at(&self) -> Timestamp {
        self.wall
    }

    /// The larger of what the two clocks say.
    pub fn elapsed(&self, clock: &Clock) -> Duration {
        let wall = Duration::try_from(clock.now().duration_since(self.wall)).unwrap_or_default();
        self.monotonic.elapsed().max(wall)
    }
}
