//! A token request that failed: what that means for the token decides what is stored (requirement F5).

use std::time::Duration;

use jiff::Timestamp;

use super::{attempt::Attempt, retry::Failed};
use crate::domain::{
    failure::{Failure, FailureKind, Misconfiguration, Refusal},
    ledger::{
        adopted::Adopted,
        authorization::VisitEnd,
        grant::{Attempts, FailureRecord, Grant, Halt, HaltReason, Refused, RefusedReason, Which},
    },
    plan::schedule::{MAX_BACKOFF, backoff},
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

/// The failure, by the table of failures: what it means for the token decides what follows.
pub(super) fn release(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) -> Settled {
    if attempt.which == Which::Code {
        return end_of_code(grant, attempt, failure, at);
    }
    let is_consent_refused = attempt.which == Which::Candidate && failure.is_rejection();
    let was_forgotten = is_consent_refused
        && grant.recall_as_refused(&attempt.fingerprint, &attempt.server, &attempt.terms.client_id, &attempt.claimed);
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
            attempts.in_doubt = true;
            let settle = pace.settle_time();
            try_again(attempts, attempt, at, wait.max(asked_for).max(settle), settle);
            if which == Which::Candidate {
                grant.bind(which, &attempt.terms.client_id);
            }
        }
        FailureKind::Misconfigured(whose) => {
            attempts.failures = attempts.failures.saturating_add(1);
            attempts.retry = None;
            let reason = match whose {
                Misconfiguration::Client => HaltReason::InvalidClient,
                Misconfiguration::Request => HaltReason::InvalidRequest,
            };
            attempts.halt = Some(halt(reason, attempt));
        }
        FailureKind::Refused(how) => {
            let reason = match (attempts.in_doubt, how) {
                (true, _) => RefusedReason::RotationLost,
                (false, Refusal::InvalidGrant) => RefusedReason::GrantRefused,
                (false, Refusal::InvalidToken) => RefusedReason::TokenInvalid,
            };
            wipe(grant, which, attempt, Refused { fingerprint: attempt.fingerprint.clone(), reason, at });
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
    let (end, refused, in_doubt) = match failure.kind {
        FailureKind::Refused(_) => (VisitEnd::Refused, true, false),
        FailureKind::Misconfigured(_) => (VisitEnd::Misconfigured, false, false),
        FailureKind::NotSent | FailureKind::Throttled => (VisitEnd::Failed, false, false),
        FailureKind::OutcomeUnknown => (VisitEnd::Failed, false, true),
    };
    for old in grant.adopted.iter_mut().filter(|old| old.fingerprint == attempt.fingerprint) {
        (old.refused, old.in_doubt) = (refused, in_doubt);
    }
    grant.end_visit(&attempt.fingerprint, end);
    Settled::Changed
}

fn wipe(grant: &mut Grant, which: Which, attempt: &Attempt, refused: Refused) {
    match which {
        // Never held while it is under way.
        Which::Code => {}
        Which::Candidate => grant.drop_candidate(Some(&attempt.terms.client_id)),
        Which::Live => {
            // Remembered with the consents: a copy of it must never be taken for a new one.
            let dead = grant.live.take().map(|live| Adopted {
                fingerprint: live.record.fingerprint,
                server: live.record.server,
                accepted_as: Some(0),
                refused: true,
                refused_as: Vec::new(),
                in_doubt: false,
            });
            grant.adopted.extend(dead);
        }
    }
    grant.refused = Some(refused);
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
        attempts.halt = Some(halt(HaltReason::RetriesExhausted, attempt));
    }
}

fn halt(reason: HaltReason, attempt: &Attempt) -> Halt {
    Halt { reason, client: attempt.terms.client.clone(), generation: attempt.terms.generation }
}
