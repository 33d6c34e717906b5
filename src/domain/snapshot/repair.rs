//! Repairs: what this process restored after another program had changed it. A program that keeps undoing our writes is not
//! answered each time: after the first repair there are minutes between two, or both would write without end.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{time::later, token::Fingerprint};

const FIRST_PAUSE: Duration = Duration::from_secs(2 * 60);
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// What this process repaired, on its own monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Repairs {
    /// The adopted token that it removed from the initial grant last.
    pub removal: Option<Repaired>,
    /// What it wrote into the token Secret last.
    pub publication: Option<Repaired>,
}

/// Something that was repaired, perhaps more than once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repaired {
    /// What was written or removed: only the same again is a repair.
    pub what: Fingerprint,
    /// How often it was repaired so far.
    pub times: u32,
    pub ago: Duration,
}

impl Repaired {
    /// When the same may be repaired again, if another program undid it; none: now. No pause is longer than `longest`.
    pub fn again_at(&self, what: &Fingerprint, longest: Duration, now: Timestamp) -> Option<Timestamp> {
        if self.what != *what {
            return None;
        }
        let left = pause(self.times).min(longest).saturating_sub(self.ago);
        (!left.is_zero()).then(|| later(now, left))
    }
}

/// The pause after so many repairs: none before the first one, then doubled from two minutes to an hour.
fn pause(times: u32) -> Duration {
    match times.checked_sub(1) {
        None => Duration::ZERO,
        Some(more) => FIRST_PAUSE.saturating_mul(1 << more.min(5)).min(MAX_PAUSE),
    }
}

/// No pause is longer than this anyway.
pub const PATIENT: Duration = MAX_PAUSE;
/// Pods cannot start without the token Secret, and nothing is refreshed.
pub const URGENT: Duration = Duration::from_secs(15);
