//! One attempt, from the claim to its end, as changes of the grant. Each function says what is to be stored; the
//! writing is done elsewhere, by compare-and-swap.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    consents::Adopted,
    decide::Rotation,
    failure::{Failure, FailureKind, Issued, Misconfiguration, Outcome, Refusal},
    grant::{
        AttemptId, Attempts, Claim, FailureRecord, Grant, Halt, HaltReason, Holder, Live, LiveRecord, Refused,
        RefusedReason, Which,
    },
    link::{Code, CodeRecord, VisitEnd},
    retry::Failed,
    schedule::{MAX_BACKOFF, Pace, backoff},
    time::later,
    token::{Fingerprint, Presented, RefreshToken},
    wish::TokenUrl,
};

/// An attempt under way: all that is needed to write down how it ended, even if the grant Secret was deleted meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// Which token it sends.
    pub which: Which,
    /// That token's fingerprint.
    pub fingerprint: Fingerprint,
    /// Where it is sent.
    pub server: TokenUrl,
    /// The grant as it was stored with the claim.
    pub claimed: Grant,
    /// The conditions under which it is made.
    pub terms: Terms,
}

/// The conditions under which an attempt is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Who makes it.
    pub holder: Holder,
    /// The client's credentials, in case the server refuses them.
    pub client: Fingerprint,
    /// The client itself: what it is given belongs to it.
    pub client_id: Fingerprint,
    /// The generation of the spec, in case the server calls the request wrong.
    pub generation: i64,
    /// How long transient failures are retried.
    pub retry_timeout: Duration,
    /// How patient the operator is.
    pub pace: Pace,
}

/// The claim on a token: what to store, and the token itself, which is not sent unless that was stored.
#[derive(Debug)]
pub struct Claiming {
    /// To be stored first; holds the grant as it is with the claim.
    pub attempt: Attempt,
    /// To be sent once: whoever sends it gives it away. A code is nowhere else from here on.
    pub token: Presented,
}

/// Claims the token that was decided on. None if the grant does not hold it.
pub fn claim(grant: &Grant, rotation: &Rotation, id: AttemptId, now: Timestamp, terms: Terms) -> Option<Claiming> {
    let (token, fingerprint, server) = match rotation.which {
        Which::Candidate => {
            let held = grant.candidate.as_ref()?;
            let token = Presented::Refresh(held.token.clone());
            (token, held.record.fingerprint.clone(), held.record.server.clone())
        }
        Which::Live => {
            let held = grant.live.as_ref()?;
            let token = Presented::Refresh(held.refresh.clone());
            (token, held.record.fingerprint.clone(), held.record.server.clone())
        }
        Which::Code => {
            let Code { code, verifier, record } = grant.code.clone()?;
            let CodeRecord { fingerprint, server, redirect_uri, .. } = record;
            (Presented::Code { code, verifier, redirect_uri }, fingerprint, server)
        }
    };
    let mut claimed = grant.clone();
    if rotation.which == Which::Code {
        claimed.code = None;
    }
    if let Some(abandoned) = &grant.claim {
        claimed.end_visit(&abandoned.fingerprint, VisitEnd::Lost);
    }
    if let Some(abandoned) = grant.claim.as_ref().filter(|_| !rotation.claim_unused) {
        claimed.last_sent_at = claimed.last_sent_at.max(Some(abandoned.started_at));
        // Whoever made it may have sent its token, whichever of the two that was.
        let doubtful = claimed.holding(&abandoned.fingerprint);
        if let Some(attempts) = doubtful.and_then(|which| claimed.attempts_mut(which)) {
            attempts.in_doubt = true;
        }
        if let (Some(which), Some(client_id)) = (doubtful, &abandoned.client_id) {
            claimed.bind(which, client_id);
        }
    }
    if let Some(attempts) = claimed.attempts_mut(rotation.which).filter(|_| rotation.resumes) {
        *attempts = Attempts { in_doubt: attempts.in_doubt, ..Attempts::default() };
    }
    if rotation.request.is_some() {
        claimed.handled_request.clone_from(&rotation.request);
    }
    claimed.claim = Some(Claim {
        attempt: id.clone(),
        holder: terms.holder.clone(),
        started_at: now,
        ends_at: later(now, terms.pace.claim_length()),
        fingerprint: fingerprint.clone(),
        client_id: Some(terms.client_id.clone()),
    });
    let attempt = Attempt { id, which: rotation.which, fingerprint, server, claimed, terms };
    Some(Claiming { attempt, token })
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// What the server said, or did not say.
    pub outcome: Outcome,
    /// When the request was started: a token's life counts from here.
    pub started_at: Timestamp,
    /// When its first byte may have left: the next exchange keeps its distance from here.
    pub sent_at: Timestamp,
    /// When it was over.
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
    /// Nothing: somebody newer has won, or there is nothing left to say.
    Superseded,
}

/// The end of an attempt, against the grant as it stands now. Decided by token, never by rotation number.
pub fn settle(now_stored: &Grant, attempt: &Attempt, ending: &Ending) -> Settlement {
    let mut grant = now_stored.clone();
    let claim_was_ours = grant.claim.as_ref().is_some_and(|claim| claim.attempt == attempt.id);
    if claim_was_ours {
        grant.claim = None;
    }
    // A backup from before the claim, put back while the code was under way: it is spent.
    let is_spent = |code: &Code| attempt.which == Which::Code && code.record.fingerprint == attempt.fingerprint;
    let was_put_back = grant.code.take_if(|code| is_spent(code)).is_some();
    if ending.outcome.may_have_been_sent() {
        // A start that lies ahead is a clock's mistake, not a start.
        grant.last_sent_at = grant.last_sent_at.filter(|before| *before <= ending.ended_at).max(Some(ending.sent_at));
    }
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

enum Settled {
    Changed,
    StoredBefore,
    SomebodyElse,
}

fn commit(grant: &mut Grant, attempt: &Attempt, issued: &Issued, ending: &Ending) -> Settled {
    if grant.live.as_ref().is_some_and(|live| live.record.attempt == attempt.id) {
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
    grant.recall(&attempt.claimed, &attempt.fingerprint);
    grant.rotation = grant.rotation.saturating_add(1);
    grant.refused = None;
    if held == Some(Which::Candidate) {
        grant.candidate = None;
    } else if grant.candidate_is_older(&attempt.fingerprint, &attempt.server) {
        grant.drop_candidate(None);
    }
    grant.invitation = None;
    grant.end_visit(&attempt.fingerprint, VisitEnd::Connected);
    let rotation = grant.rotation;
    let sent = |old: &&mut Adopted| old.fingerprint == attempt.fingerprint && old.server == attempt.server;
    for old in grant.adopted.iter_mut().filter(sent) {
        (old.accepted_as, old.refused) = (Some(rotation), false);
    }
    let attempts = match issued.access {
        Some(_) => Attempts::default(),
        // The pair is kept, but pods have nothing to call with: try again, with the new token.
        None => without_access(grant, before.unwrap_or_default(), attempt, ending.ended_at),
    };
    grant.live = Some(Live {
        record: LiveRecord {
            fingerprint: refresh.fingerprint(),
            server: attempt.server.clone(),
            client_id: Some(attempt.terms.client_id.clone()),
            issued_at: ending.started_at,
            life_ms: u64::try_from(issued.life.as_millis()).unwrap_or(u64::MAX),
            token_type: issued.token_type.clone(),
            attempt: attempt.id.clone(),
            attempts,
        },
        refresh,
        access: issued.access.clone(),
    });
    Settled::Changed
}

/// Whether the pair in hand is to be stored. It is dropped only if somebody newer has won: a pair that was bought with the
/// token that we sent, or later, or with a consent that was adopted after ours (I2, I9). Where no pair was stored since our
/// claim nobody has won: one that was rejected replaces nothing.
fn is_newest(grant: &Grant, attempt: &Attempt, held: Option<Which>, refresh: &RefreshToken) -> bool {
    let (pair, claimed) = (refresh.fingerprint(), &attempt.claimed);
    // Stored by this attempt already, or the answer brought no new one, and rejected since (I3).
    let is_it = |old: &&Adopted| old.fingerprint == pair && old.server == attempt.server;
    let was_rejected = grant.adopted.iter().filter(is_it).any(|old| old.refused);
    let is_vacant = grant.live.is_none() && grant.rotation <= claimed.rotation;
    match (attempt.which, held) {
        (Which::Candidate | Which::Live | Which::Code, Some(_)) => true,
        (Which::Candidate | Which::Live | Which::Code, None) if was_rejected => false,
        // Wiped, because somebody else presented it after we had spent it; or the whole grant was deleted meanwhile.
        (Which::Live, None) => is_vacant,
        // Dropped or wiped. If it, or a consent after it, was accepted for somebody else, that pair is newer than ours.
        (Which::Candidate | Which::Code, None) => {
            is_vacant || !grant.has_newer(&attempt.fingerprint, &attempt.server, claimed)
        }
    }
}

/// The refresh token of the new pair; no new one means that the old one stays good (RFC 6749 section 6).
fn refresh_token(attempt: &Attempt, issued: &Issued) -> Option<RefreshToken> {
    let sent = || match attempt.which {
        Which::Candidate => attempt.claimed.candidate.as_ref().map(|held| held.token.clone()),
        Which::Live => attempt.claimed.live.as_ref().map(|held| held.refresh.clone()),
        Which::Code => None,
    };
    issued.refresh.clone().or_else(sent)
}

/// The row of failures goes on, with the new token, which nobody has sent yet.
fn without_access(grant: &mut Grant, before: Attempts, attempt: &Attempt, at: Timestamp) -> Attempts {
    let message = "the server's answer held a refresh token and no access token".to_owned();
    let failure = Failure::new(FailureKind::OutcomeUnknown, message);
    let Attempts { failures, failing_since, retry, .. } = before;
    let mut attempts = Attempts { failures, failing_since, retry, ..Attempts::default() };
    record_failure(grant, attempt, &failure, at);
    let wait = backoff(failures.saturating_add(1), &grant.connection, grant.rotation);
    try_again(&mut attempts, attempt, at, wait, Duration::ZERO);
    attempts
}

/// The failure, by the table of failures: what it means for the token decides what follows.
fn release(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) -> Settled {
    if attempt.which == Which::Code {
        return end_of_code(grant, attempt, failure, at);
    }
    let is_consent_refused = attempt.which == Which::Candidate && failure.is_rejection();
    let was_forgotten = is_consent_refused
        && grant.recall_as_refused(&attempt.fingerprint, &attempt.server, &attempt.terms.client_id, &attempt.claimed);
    // Read anew before a refusal is taken as final: if another token stands there, somebody newer won.
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

/// A newer consent has won. A human who waits is told.
fn replaced(grant: &mut Grant, attempt: &Attempt) -> Settled {
    let waits = grant.visit.as_ref().is_some_and(|visit| visit.code == attempt.fingerprint && visit.end.is_none());
    grant.end_visit(&attempt.fingerprint, VisitEnd::Replaced);
    if waits { Settled::Changed } else { Settled::SomebodyElse }
}

/// A code has one try. What became of it is told to the human, who can consent again.
fn end_of_code(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) -> Settled {
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

fn record_failure(grant: &mut Grant, attempt: &Attempt, failure: &Failure, at: Timestamp) {
    grant.last_failure = Some(FailureRecord {
        attempt: attempt.id.clone(),
        at,
        reason: failure.kind.reason(),
        message: failure.detail.clone(),
    });
}

fn try_again(attempts: &mut Attempts, attempt: &Attempt, at: Timestamp, wait: Duration, settle: Duration) {
    let failed = Failed { attempt: &attempt.id, at, wait, settle };
    if attempts.fails(&failed, attempt.terms.retry_timeout, attempt.terms.pace) {
        attempts.halt = Some(halt(HaltReason::RetriesExhausted, attempt));
    }
}

fn halt(reason: HaltReason, attempt: &Attempt) -> Halt {
    Halt { reason, client: attempt.terms.client.clone(), generation: attempt.terms.generation }
}
