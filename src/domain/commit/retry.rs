//! Retries of one token: when the next attempt is, and when there are no more (requirement F5). `spec.retryTimeout` counts the
//! time in which attempts were made, not the time in which none was possible.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    ledger::{
        held::AttemptId,
        held::{Attempts, NextAttempt, Retry},
    },
    plan::schedule::Pace,
    time::{between, later},
};

/// A try that failed, and how long to wait after it.
pub struct Failed<'a> {
    pub attempt: &'a AttemptId,
    pub at: Timestamp,
    pub wait: Duration,
    /// The part of it that not even a refresh request skips: the server may still be at work.
    pub settle: Duration,
}

impl Attempts {
    /// Plans the next try after one that failed; the last one is made when the time for retries is over. Whether it is.
    #[must_use = "a token whose time for retries is over is halted"]
    pub fn fails(&mut self, failed: &Failed<'_>, retry_timeout: Duration, pace: Pace) -> bool {
        let Failed { attempt, at, wait, settle } = *failed;
        // A row that began in the future began by a wrong clock.
        let since = later(self.failing_since.unwrap_or(at), self.untried(at, pace)).min(at);
        let deadline = later(since, retry_timeout);
        let wait = wait.min(between(at, deadline)).max(settle);
        self.failing_since = Some(since);
        self.failures = self.failures.saturating_add(1);
        self.next = NextAttempt::Retry(Retry {
            attempt: attempt.clone(),
            failed_at: at,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            settle_ms: u64::try_from(settle.as_millis()).unwrap_or(u64::MAX),
        });
        at >= deadline
    }

    /// For how long nothing was tried since the last failure: suspended, without an operator, or by a clock that jumped. A
    /// try that comes in time is there after its wait and an attempt; twice as long counts as trying.
    fn untried(&self, at: Timestamp, pace: Pace) -> Duration {
        let Some(last) = self.retry() else { return Duration::ZERO };
        let planned = Duration::from_millis(last.wait_ms).max(pace.claim_length());
        between(last.failed_at, at).saturating_sub(planned.saturating_mul(2))
    }
}
