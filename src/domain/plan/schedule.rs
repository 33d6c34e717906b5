//! When to refresh and when to retry. A rotation invalidates the token that pods have, so it happens as late as is safe; jitter
//! is a hash, so that it is the same in every reconciliation.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    ledger::held::{Issue, Retry},
    time::{earlier, later},
    token::fraction,
};

/// An instant of sending lies at most this long after its claim was begun.
pub const SEND_WITHIN: Duration = Duration::from_secs(10);
/// The life of an access token whose answer names none, or none that makes sense.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// No access token is trusted for longer.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest wait between two tries, asked for by the server or chosen by us.
pub const MAX_BACKOFF: Duration = Duration::from_secs(15 * 60);
/// How far apart the clocks of two nodes may be before a time that lies ahead means that a clock was wrong.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);

/// The longest wait between two probes of a token that is halted.
pub const MAX_PROBE: Duration = Duration::from_secs(3600);

const FIRST_PROBE: Duration = Duration::from_secs(60);
const MAX_SETTLE: Duration = Duration::from_secs(30);
const SPACING: Duration = Duration::from_secs(5);
const MIN_SPACING: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MIN_MARGIN: Duration = Duration::from_secs(30);
const MAX_MARGIN: Duration = Duration::from_secs(5 * 60);

/// How patient the operator is, from its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    pub request_timeout: Duration,
}

impl Pace {
    /// How long a server may still be at work on a request whose answer we did not get.
    pub fn settle_time(&self) -> Duration {
        MAX_SETTLE.min(self.request_timeout / 2)
    }

    /// From the beginning of a claim to its end.
    pub fn claim_length(&self) -> Duration {
        SEND_WITHIN + self.request_timeout
    }
}

/// When the current pair is due. Not before half its life, whatever `refresh_before` says.
pub fn refresh_due(issue: &Issue, refresh_before: Option<Duration>, uid: &str, rotation: u64) -> Timestamp {
    let lifetime = issue.lifetime();
    let margin = refresh_before.unwrap_or_else(|| (lifetime / 10).clamp(MIN_MARGIN, MAX_MARGIN));
    let jitter = margin.mul_f64(0.1 * fraction(&["refresh", uid, &rotation.to_string()]));
    earlier(issue.expires_at(), margin.saturating_add(jitter)).max(later(issue.issued_at, lifetime / 2))
}

/// How far apart the starts of two exchanges are, whatever `expires_in` says.
pub fn spacing(lifetime: Option<Duration>) -> Duration {
    lifetime.map_or(SPACING, |lifetime| (lifetime / 2).clamp(MIN_SPACING, SPACING))
}

/// The wait after this many failures in a row: doubled from 1 s to 15 min, less up to a quarter.
pub fn backoff(failures: u32, uid: &str, rotation: u64) -> Duration {
    let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACKOFF);
    doubled.mul_f64(1.0 - 0.25 * fraction(&["retry", uid, &rotation.to_string(), &failures.to_string()]))
}

/// The wait until a halted token is probed, after this many halts in a row: doubled from a minute to an hour, less up to a quarter.
pub fn probe_after(times: u32, uid: &str) -> Duration {
    let doubled = FIRST_PROBE.saturating_mul(1 << times.saturating_sub(1).min(6)).min(MAX_PROBE);
    doubled.mul_f64(1.0 - 0.25 * fraction(&["probe", uid, &times.to_string()]))
}

/// When a failed token may be tried again. `asked` skips the backoff, not the settle time. A failure that lies ahead
/// of our clock means that a clock was wrong: then the wait runs from when we first saw it. So does the settle time in any
/// case: the process that failed may have another clock, and its request may still be in flight.
pub fn retry_at(retry: &Retry, asked: bool, now: Timestamp, seen_for: Duration) -> Timestamp {
    let wait = Duration::from_millis(if asked { retry.settle_ms.min(retry.wait_ms) } else { retry.wait_ms });
    if lies_ahead(retry.failed_at, now) {
        return later(now, wait.saturating_sub(seen_for));
    }
    let settle = Duration::from_millis(retry.settle_ms).min(MAX_SETTLE);
    later(retry.failed_at, wait).max(later(now, settle.saturating_sub(seen_for)))
}

/// Whether a stored time cannot be true.
pub fn lies_ahead(stored: Timestamp, now: Timestamp) -> bool {
    stored > later(now, CLOCK_TOLERANCE)
}
