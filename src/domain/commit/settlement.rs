//! The end of an attempt, as a change of the grant as it is stored then: decided by token, never by rotation number. It is
//! written elsewhere, by compare-and-swap.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    attempt::{Attempt, Claiming, Terms, claim},
    release::{Settled, end_of_code, record_failure, release, try_again},
};
use crate::domain::{
    failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
    ledger::{
        authentication::{Experience, KnownMethod, Method},
        authorization::{Code, SessionEnd},
        grant::{Grant, Which},
        held::{AttemptId, Attempts, Issue, Pair, StoredToken},
        known_token::{KnownToken, Verdict},
    },
    plan::{
        authentication::{Standing, may_be_the_method},
        next_refresh::Rotation,
        schedule::backoff,
    },
    token::RefreshToken,
};

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptResult {
    /// What the server said, or did not say.
    pub outcome: Outcome,
    /// How the client authenticated, the last time if it did so in two ways.
    pub method: Method,
    /// It was the second request: the server had not authenticated the client in the first.
    pub fell_back: bool,
    /// When the request was started: a token's life counts from here.
    pub started_at: Timestamp,
    /// When its first byte may have left: the next exchange keeps its distance from here.
    pub sent_at: Timestamp,
    pub ended_at: Timestamp,
}

/// What is to be stored at the end of an attempt.
#[must_use = "an ending that is not stored is lost"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// This.
    Write(Box<Grant>),
    /// Nothing: a write of this attempt, whose answer was lost, was stored after all.
    AlreadyStored,
    /// Nothing: a newer attempt has won, or there is nothing left to say.
    Superseded,
}

/// The end of an attempt, against the grant as it is stored now. Decided by token, never by rotation number.
pub fn settle(now_stored: &Grant, attempt: &Attempt, ending: &AttemptResult) -> Settlement {
    let mut grant = now_stored.clone();
    let claim_was_ours = grant.claim.as_ref().is_some_and(|claim| claim.attempt == attempt.id);
    if claim_was_ours {
        grant.claim = None;
    }
    // A backup from before the claim, restored while the code was in flight: it is used.
    let is_spent = |code: &Code| attempt.which == Which::Code && code.record.fingerprint == attempt.fingerprint;
    let was_put_back = grant.by_link.code.take_if(|code| is_spent(code)).is_some();
    if ending.outcome.may_have_been_sent() {
        // A start that lies ahead is a clock's mistake, not a start.
        grant.last_sent_at = grant.last_sent_at.filter(|before| *before <= ending.ended_at).max(Some(ending.sent_at));
    }
    note_rejected_method(&mut grant, attempt, ending);
    let settled = match &ending.outcome {
        Outcome::Issued(issued) => commit(&mut grant, attempt, issued, ending),
        Outcome::Failed(failure) => release(&mut grant, attempt, failure, ending.ended_at),
    };
    match settled {
        Settled::Changed => Settlement::Write(Box::new(grant)),
        // Only our own claim is left to remove, or our code.
        Settled::SomebodyElse if claim_was_ours => Settlement::Write(Box::new(grant)),
        Settled::StoredBefore | Settled::SomebodyElse if was_put_back => Settlement::Write(Box::new(grant)),
        Settled::StoredBefore => Settlement::AlreadyStored,
        Settled::SomebodyElse => Settlement::Superseded,
    }
}

/// The grant without a token that the server calls inactive, as if it had rejected it: an earlier attempt that comes late with a pair
/// still wins. It was not sent. None if the grant does not hold it.
pub fn reject_unsent(grant: &Grant, rotation: &Rotation, id: AttemptId, now: Timestamp, terms: Terms) -> Option<Grant> {
    let Claiming { mut attempt, .. } = claim(grant, rotation, id, now, terms)?;
    attempt.claimed.claim = None;
    let kind = FailureKind::Rejected(RejectionCode::InvalidGrant);
    let failure = Failure::new(kind, "the server calls the refresh token inactive (introspection); it was not sent");
    let mut rejected = attempt.claimed.clone();
    match release(&mut rejected, &attempt, &failure, now) {
        Settled::Changed => Some(rejected),
        Settled::StoredBefore | Settled::SomebodyElse => None,
    }
}

/// The server may not have authenticated the client, and the other method was not tried: the next attempt begins with that.
fn note_rejected_method(grant: &mut Grant, attempt: &Attempt, ending: &AttemptResult) {
    let Outcome::Failed(failure) = &ending.outcome else { return };
    let Terms { methods, client_id, .. } = &attempt.terms;
    let is_in_question = methods.standing != Standing::Proved && !ending.fell_back;
    if is_in_question && (may_be_the_method(failure) || failure.kind == FailureKind::UnknownRejection) {
        grant.authentication = Some(KnownMethod {
            server: attempt.server.clone(),
            client_id: client_id.clone(),
            method: ending.method,
            experience: Experience::Rejected,
        });
    }
}

fn commit(grant: &mut Grant, attempt: &Attempt, issued: &TokenResponse, ending: &AttemptResult) -> Settled {
    if grant.current.as_ref().is_some_and(|current| current.issue.attempt == attempt.id) {
        return Settled::StoredBefore;
    }
    if attempt.which == Which::Code && issued.refresh.is_none() {
        let what = "the server gave no refresh token for the code: the client must be allowed to have one";
        let failure = Failure::new(FailureKind::Misconfigured(Misconfiguration::Client), what);
        return end_of_code(grant, attempt, &failure, ending.ended_at);
    }
    let held = grant.holding(&attempt.fingerprint);
    let Some(refresh) = refresh_token(attempt, issued).filter(|refresh| is_newest(grant, attempt, held, refresh))
    else {
        return replaced(grant, attempt);
    };
    let before = held.and_then(|which| grant.attempts_mut(which)).map(|attempts| attempts.clone());
    grant.restore_history(&attempt.claimed, &attempt.fingerprint);
    grant.rotation = grant.rotation.saturating_add(1);
    grant.last_rejection = None;
    if held == Some(Which::Candidate) {
        grant.candidate = None;
    } else if grant.candidate_is_older(&attempt.fingerprint, &attempt.server) {
        grant.drop_candidate(None);
    }
    if attempt.which != Which::Current {
        // A new authorization: whether its tokens may be asked about is not known.
        grant.introspection = None;
    }
    grant.by_link.link = None;
    grant.end_session(&attempt.fingerprint, SessionEnd::Connected);
    let rotation = grant.rotation;
    let sent = |old: &&mut KnownToken| old.fingerprint == attempt.fingerprint && old.server == attempt.server;
    for old in grant.history.iter_mut().filter(sent) {
        old.verdict = Verdict::Accepted { rotation };
    }
    let attempts = match issued.access {
        Some(_) => Attempts::default(),
        // The pair is kept, but pods have nothing to call with: try again, with the new token.
        None => without_access(grant, before.unwrap_or_default(), attempt, ending.ended_at),
    };
    grant.authentication = Some(KnownMethod {
        server: attempt.server.clone(),
        client_id: attempt.terms.client_id.clone(),
        method: ending.method,
        experience: Experience::Works,
    });
    grant.current = Some(Pair {
        refresh: StoredToken {
            attempts,
            ..StoredToken::new(refresh, attempt.server.clone(), Some(attempt.terms.client_id.clone()))
        },
        access: issued.access.clone(),
        issue: Issue {
            issued_at: ending.started_at,
            lifetime_ms: u64::try_from(issued.lifetime.as_millis()).unwrap_or(u64::MAX),
            token_type: issued.token_type.clone(),
            attempt: attempt.id.clone(),
        },
    });
    Settled::Changed
}

/// Whether the pair that was received is to be stored. It is dropped only if a newer attempt has won: a pair that was issued for the
/// token that we sent, or later, or for an authorization that was adopted after ours (I2, I9). Where no pair was stored since our
/// claim none has won: one that was rejected replaces nothing.
fn is_newest(grant: &Grant, attempt: &Attempt, held: Option<Which>, refresh: &RefreshToken) -> bool {
    let (pair, claimed) = (refresh.fingerprint(), &attempt.claimed);
    // Stored by this attempt already, or the response had no new one, and rejected since (I3).
    let is_it = |old: &&KnownToken| old.fingerprint == pair && old.server == attempt.server;
    let was_rejected = grant.history.iter().filter(is_it).any(KnownToken::is_rejected);
    let is_vacant = grant.current.is_none() && grant.rotation <= claimed.rotation;
    match (attempt.which, held) {
        (Which::Candidate | Which::Current | Which::Code, Some(_)) => true,
        (Which::Candidate | Which::Current | Which::Code, None) if was_rejected => false,
        // Wiped, because another process presented it after us; or the whole grant was deleted meanwhile.
        (Which::Current, None) => is_vacant,
        // Dropped or wiped. If it, or a later authorization, was accepted for another process, that pair is newer than ours.
        (Which::Candidate | Which::Code, None) => {
            is_vacant || !grant.has_newer(&attempt.fingerprint, &attempt.server, claimed)
        }
    }
}

/// The refresh token of the new pair; no new one means that the old one stays good (RFC 6749 section 6).
fn refresh_token(attempt: &Attempt, issued: &TokenResponse) -> Option<RefreshToken> {
    let sent = || match attempt.which {
        Which::Candidate => attempt.claimed.candidate.as_ref().map(|held| held.token.clone()),
        Which::Current => attempt.claimed.current.as_ref().map(|pair| pair.refresh.token.clone()),
        Which::Code => None,
    };
    issued.refresh.clone().or_else(sent)
}

/// Consecutive failures are counted on, with the new token, which was not sent yet.
fn without_access(grant: &mut Grant, before: Attempts, attempt: &Attempt, at: Timestamp) -> Attempts {
    let message = "the server's answer held a refresh token and no access token".to_owned();
    let failure = Failure::new(FailureKind::OutcomeUnknown, message);
    let Attempts { failures, failing_since, ref next, .. } = before;
    let mut attempts = Attempts { failures, failing_since, next: next.clone(), ..Attempts::default() };
    record_failure(grant, attempt, &failure, at);
    let wait = backoff(failures.saturating_add(1), &grant.connection, grant.rotation);
    try_again(&mut attempts, attempt, at, wait, Duration::ZERO);
    attempts
}

/// A newer authorization has won. A user who waits for this one is shown that.
fn replaced(grant: &mut Grant, attempt: &Attempt) -> Settled {
    let waits =
        grant.by_link.session.as_ref().is_some_and(|visit| visit.code == attempt.fingerprint && visit.end.is_none());
    grant.end_session(&attempt.fingerprint, SessionEnd::Replaced);
    if waits { Settled::Changed } else { Settled::SomebodyElse }
}
