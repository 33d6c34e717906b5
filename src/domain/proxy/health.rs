//! What is believed of a token, and when a rejected one is tried again. A belief may be wrong, so it is tested by one call at a time.

use std::time::Duration;

use jiff::Timestamp;

use super::call::CallId;

/// The wait after a probe that said nothing.
const SOON: Duration = Duration::from_secs(1);
/// So many different calls may try a rejected token one after the other, before the waits begin.
const QUICK_PROBES: u32 = 2;
/// The wait between two probes of a rejected token, at first and at most.
pub const FIRST_PROBE: Duration = Duration::from_secs(15);
const MAX_PROBE: Duration = Duration::from_secs(120);

/// What is believed of the current token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// It was accepted after this refresh was planned.
    Checked {
        refresh_at: Option<Timestamp>,
    },
    Probing {
        by: CallId,
        since: Duration,
        /// The token was rejected before; none: its refresh was due.
        rejected: Option<Rejection>,
    },
    Rejected(Rejection),
}

/// A token that the server does not accept, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A success of a call that was sent later shows that it was a mistake.
    pub since: Duration,
    pub probe_at: Duration,
    /// The wait before the probe after that.
    pause: Duration,
    /// Probes that were answered 401.
    probes: u32,
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    Accepted,
    Rejected,
    Unknown,
}

impl Rejection {
    pub fn since(now: Duration, first: Duration) -> Self {
        Self { since: now, probe_at: now.saturating_add(first), pause: FIRST_PROBE, probes: 0 }
    }

    /// The same after a probe that showed nothing.
    pub fn untested(self, now: Duration) -> Self {
        Self { probe_at: now.saturating_add(SOON), ..self }
    }

    /// The same after another probe that was answered 401.
    pub fn probed(self, now: Duration) -> Self {
        let probes = self.probes.saturating_add(1);
        if probes < QUICK_PROBES {
            return Self { probe_at: now, probes, ..self };
        }
        let pause = self.pause;
        Self { probe_at: now.saturating_add(pause), pause: pause.saturating_mul(2).min(MAX_PROBE), probes, ..self }
    }
}
