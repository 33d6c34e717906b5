//! A token request that failed: what that means for the token decides what is stored (requirement F5).

use std::time::Duration;

use jiff::Timestamp;

use super::{attempt::Attempt, retry::Failed};
use crate::domain::{
    failure::{Failure, FailureKind, Misconfiguration, RejectionCode},
    ledger::{
        authorization::SessionEnd,
        grant::{FailureRecord, Grant, Rejection, RejectionReason, Which},
        held::{Attempts, Halt, HaltReason, NextAttempt, Retry},
        known_token::{KnownToken, Verdict},
    },
    plan::{
        authentication::Standing,
        schedule::{MAX_BACKOFF, MAX_PROBE, backoff, probe_after},
    },
};

/// What became of the grant.
pub(super) enum Settled {
    /// It is to be stored.
    Changed,
    /// This attempt stored its end before.
    StoredBefore,
    /// Another attempt, or another token, has taken its place.
    SomebodyElse,
}

/// The failure, by the table of failures (docs/design.md): what it means for the token decides what follows.
pub(super) fn release(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) -> Settled {
    if attempt.which == Which::Code {
        return end_of_code(grant, attempt, failure, at);
    }
    let is_candidate_rejected = attempt.which == Which::Candidate && failure.is_rejection();
    let was_forgotten = is_candidate_rejected
        && grant.restore_as_rejected(&attempt.fingerprint, &attempt.server, &attempt.terms.client_id, &attempt.claimed);
    // The grant was read again before a rejection is taken as final: if it has another token, a newer attempt has won.
    let Some(which) = grant.holding(&attempt.fingerprint) else {
        return if was_forgotten { Settled::Changed } else { Settled::SomebodyElse };
    };
    if grant.last_failure.as_ref().is_some_and(|last| last.attempt == attempt.id) {
        return Settled::StoredBefore;
    }
    record_failure(grant, attempt, failure, at);
    let (uid, rotation) = (grant.connection.clone(), grant.rotation);
    let Some(attempts) = grant.attempts_mut(which) else { return Settled::SomebodyElse };
    let pace = attempt.terms.pace;
    let wait = backoff(attempts.failures.saturating_add(1), &uid, rotation);
    let asked_for = failure.retry_after.unwrap_or_default().min(MAX_BACKOFF);
    match failure.kind {
        FailureKind::NotSent => try_again(attempts, attempt, at, wait, Duration::ZERO),
        FailureKind::Throttled => match failure.retry_after {
            Some(_) => try_again(attempts, attempt, at, wait.max(asked_for), asked_for),
            None => try_again(attempts, attempt, at, wait, Duration::ZERO),
        },
        FailureKind::OutcomeUnknown => {
            attempts.outcome_unknown = true;
            let settle = pace.settle_time();
            try_again(attempts, attempt, at, wait.max(asked_for).max(settle), settle);
            if which == Which::Candidate {
                grant.bind(which, &attempt.terms.client_id);
            }
        }
        FailureKind::UnknownRejection => {
            rejected_by_unknown_code(attempts, attempt, failure, at, wait.max(asked_for).max(pace.settle_time()));
            if which == Which::Candidate && attempt.terms.methods.standing == Standing::Proved {
                grant.bind(which, &attempt.terms.client_id);
            }
        }
        FailureKind::Misconfigured(whose) => misconfigured(attempts, whose, attempt, at, &uid),
        FailureKind::Rejected(how) => {
            let reason = match (attempts.outcome_unknown, how) {
                (true, _) => RejectionReason::RotationLost,
                (false, RejectionCode::InvalidGrant) => RejectionReason::GrantRefused,
                (false, RejectionCode::InvalidToken) => RejectionReason::TokenInvalid,
            };
            wipe(grant, which, attempt, Rejection { fingerprint: attempt.fingerprint.clone(), reason, at });
        }
    }
    Settled::Changed
}

/// A code is sent once. The user sees the result, and can authorize again.
pub(super) fn end_of_code(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) -> Settled {
    if grant.last_failure.as_ref().is_some_and(|last| last.attempt == attempt.id) {
        return Settled::StoredBefore;
    }
    record_failure(grant, attempt, failure, at);
    let end = match failure.kind {
        FailureKind::Rejected(_) => SessionEnd::Rejected,
        FailureKind::Misconfigured(_) => SessionEnd::Misconfigured,
        FailureKind::NotSent | FailureKind::Throttled | FailureKind::OutcomeUnknown | FailureKind::UnknownRejection => {
            SessionEnd::Failed
        }
    };
    for old in grant.history.iter_mut().filter(|old| old.fingerprint == attempt.fingerprint) {
        match failure.kind {
            FailureKind::Rejected(_) => old.note(Verdict::RejectedForAll),
            FailureKind::OutcomeUnknown | FailureKind::UnknownRejection => old.note(Verdict::OutcomeUnknown),
            FailureKind::Misconfigured(_) | FailureKind::NotSent | FailureKind::Throttled => {}
        }
    }
    grant.end_session(&attempt.fingerprint, end);
    Settled::Changed
}

fn wipe(grant: &mut Grant, which: Which, attempt: &Attempt, rejection: Rejection) {
    match which {
        // Never held while it is under way.
        Which::Code => {}
        Which::Candidate => grant.drop_candidate(Some(&attempt.terms.client_id)),
        Which::Current => {
            // Remembered: a copy of it must never be taken for a new one.
            let rejected = grant.current.take().map(|pair| KnownToken {
                verdict: Verdict::RejectedAfterUse,
                ..KnownToken::new(pair.refresh.fingerprint, pair.refresh.server)
            });
            grant.history.extend(rejected);
        }
    }
    grant.last_rejection = Some(rejection);
}

pub(super) fn record_failure(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) {
    grant.last_failure = Some(FailureRecord {
        attempt: attempt.id.clone(),
        at,
        reason: failure.kind.reason(),
        message: failure.detail.clone(),
    });
}

pub(super) fn try_again(attempts: &mut Attempts, attempt: &Attempt, at: Timestamp, wait: Duration, settle: Duration) {
    let failed = Failed { attempt: &attempt.id, at, wait, settle };
    if attempts.fails(&failed, attempt.terms.retry_timeout, attempt.terms.pace) {
        let retry = attempts.retry().cloned();
        attempts.next = NextAttempt::Halted(halted(HaltReason::RetriesExhausted, attempt, retry, 1));
    }
}

/// The token may be meant, or the client: a user is asked once the same code came three times, and not before both methods were tried.
fn rejected_by_unknown_code(
    attempts: &mut Attempts,
    attempt: &Attempt,
    failure: &Failure,
    at: Timestamp,
    wait: Duration,
) {
    attempts.outcome_unknown = true;
    if attempt.terms.methods.standing != Standing::Untried {
        attempts.reject_unknown(failure.code.as_ref());
    }
    match attempts.is_rejected_by_unknown_code() {
        true => halt(attempts, HaltReason::UnknownRejection, attempt, at, MAX_PROBE),
        false => try_again(attempts, attempt, at, wait, attempt.terms.pace.settle_time()),
    }
}

/// The client or the request is wrong. Whose fault that is may change without a trace, so the token is probed.
fn misconfigured(attempts: &mut Attempts, whose: Misconfiguration, attempt: &Attempt, at: Timestamp, uid: &str) {
    let reason = match whose {
        Misconfiguration::Client => HaltReason::InvalidClient,
        Misconfiguration::Request => HaltReason::InvalidRequest,
    };
    let times = attempts.halt().filter(|halt| halt.reason == reason).map_or(0, |halt| halt.times);
    halt(attempts, reason, attempt, at, probe_after(times.saturating_add(1), uid));
}

/// The token is not tried any more, but for a probe after this wait.
fn halt(attempts: &mut Attempts, reason: HaltReason, attempt: &Attempt, at: Timestamp, wait: Duration) {
    let times = attempts.halt().filter(|halt| halt.reason == reason).map_or(0, |halt| halt.times);
    attempts.failures = attempts.failures.saturating_add(1);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let retry = Retry { attempt: attempt.id.clone(), failed_at: at, wait_ms, settle_ms: 0 };
    attempts.next = NextAttempt::Halted(halted(reason, attempt, Some(retry), times.saturating_add(1)));
}

fn halted(reason: HaltReason, attempt: &Attempt, retry: Option<Retry>, times: u32) -> Halt {
    Halt { reason, client: attempt.terms.client.clone(), generation: attempt.terms.generation, retry, times }
}
