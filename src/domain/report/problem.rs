//! What is wrong with a connection, and the remediation: a chain of checks, in the order in which the reasons are documented.

use jiff::Timestamp;

use crate::{
    api::{ConditionStatus, ReadyReason, Reason, ReauthReason, names},
    domain::{
        finding::Finding,
        governor::ServerState,
        ledger::held::{Attempts, HaltReason, StoredToken},
        plan::{
            ownership::Ownership,
            projection::{self, whole_seconds},
            users::reauth::{new_token, news, reauth, way_back},
        },
        snapshot::{ClaimOwner, ClientSecretState, GrantSecret, InitialGrant, Sharing, Snapshot, TokenSecret},
        spec::SpecProblem,
    },
};

/// Something that is wrong, or not finished.
pub type Problem = Finding<ReadyReason>;

/// All that is wrong, the first reason first. `refused_by_storage`: what the API server said to a write of this pass.
pub fn problems(snapshot: &Snapshot, refused_by_storage: Option<&str>, now: Timestamp) -> Vec<Problem> {
    let checks = [
        spec(snapshot),
        secret_conflict(snapshot),
        contested(snapshot, now),
        grant_unreadable(snapshot),
        refused_by_storage.or_else(|| unchecked(snapshot)).map(storage_refused),
        client_secret_missing(snapshot),
        reauth_required(snapshot),
        initial_grant(snapshot),
        halted(snapshot),
        held(snapshot, now),
        suspended(snapshot),
        outcome_unknown(snapshot),
        progressing(snapshot),
        failing(snapshot),
    ];
    checks.into_iter().flatten().collect()
}

fn problem(reason: ReadyReason, message: impl Into<String>) -> Option<Problem> {
    Some(Problem::new(reason, message))
}

fn spec(snapshot: &Snapshot) -> Option<Problem> {
    let reason = match snapshot.spec.server.as_ref().err()? {
        SpecProblem::Invalid(_) => ReadyReason::InvalidSpec,
        SpecProblem::NotAllowed(_) => ReadyReason::ServerNotAllowed,
    };
    problem(reason, snapshot.spec.server.as_ref().err()?.to_string())
}

fn secret_conflict(snapshot: &Snapshot) -> Option<Problem> {
    let conflict = |name: &str, remedy: &str| {
        problem(
            ReadyReason::SecretConflict,
            format!(
                "a Secret {name} is there that is not this connection's; it is not touched and nothing is sent: {remedy}"
            ),
        )
    };
    if snapshot.token == TokenSecret::NotOwned {
        return conflict(&snapshot.spec.secret_name, "set spec.secretName to another name, or remove that Secret");
    }
    match snapshot.grant {
        GrantSecret::NotOwned => {
            conflict(&names::grant_secret(&snapshot.spec.name), "remove that Secret, or rename the connection")
        }
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Stale(_) | GrantSecret::Unreadable(_) => None,
    }
}

fn contested(snapshot: &Snapshot, now: Timestamp) -> Option<Problem> {
    let again = whole_seconds(projection::contested(snapshot, now)?);
    let (secret, verb) =
        (&snapshot.spec.secret_name, if snapshot.token.published().is_some() { "changing" } else { "deleting" });
    problem(
        ReadyReason::SecretConflict,
        format!(
            "another program keeps {verb} the Secret {secret}, which pods mount; it is written again at {again}: find that program, and stop it"
        ),
    )
}

fn grant_unreadable(snapshot: &Snapshot) -> Option<Problem> {
    match &snapshot.grant {
        GrantSecret::Unreadable(why) => problem(
            ReadyReason::GrantUnreadable,
            format!(
                "the Secret {} cannot be used: {why}. It is left untouched: restore it, upgrade the operator, or delete it and authorize again",
                names::grant_secret(&snapshot.spec.name)
            ),
        ),
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Stale(_) | GrantSecret::NotOwned => None,
    }
}

/// Why it could not be found out whether another connection has the same grant.
fn unchecked(snapshot: &Snapshot) -> Option<&str> {
    match news(snapshot).map(|token| &token.sharing) {
        Some(Sharing::Unchecked(why)) => Some(why),
        Some(Sharing::Alone | Sharing::With(_)) | None => None,
    }
}

/// Whether time alone will not fix it. A client Secret may come later than its connection; one that is gone stops the next
/// refresh, though the token that pods have still works.
pub fn stalls(problem: &Problem, snapshot: &Snapshot) -> bool {
    let has_grant = snapshot.grant.ours().is_some_and(|grant| grant.value.current.is_some());
    problem.reason.stalls() || problem.reason == ReadyReason::ClientSecretMissing && has_grant
}

/// What the API server refuses to store.
pub fn storage_refused(why: &str) -> Problem {
    let message = format!(
        "the API server rejects the operator's Secrets: {why}. No token was used: fix the rights, the admission policy or the quota; it is retried automatically"
    );
    Problem { reason: ReadyReason::StorageRefused, message }
}

fn client_secret_missing(snapshot: &Snapshot) -> Option<Problem> {
    match &snapshot.client {
        ClientSecretState::Missing(why) => problem(ReadyReason::ClientSecretMissing, why),
        ClientSecretState::Present(_) => None,
    }
}

fn reauth_required(snapshot: &Snapshot) -> Option<Problem> {
    let Finding { reason, message } = reauth(snapshot);
    // A token that is missing, wrong or shared has a reason of its own; one that is there may have been rejected before.
    let has_own_reason = match snapshot.initial {
        InitialGrant::Missing(_) | InitialGrant::Invalid(_) => true,
        InitialGrant::Present(_) => news(snapshot).is_some(),
    };
    let is_told_below = reason == ReauthReason::NotAuthorized && has_own_reason;
    let required = reason.status() == ConditionStatus::True && !is_told_below;
    required.then_some(Problem { reason: ReadyReason::ReauthRequired, message })
}

fn initial_grant(snapshot: &Snapshot) -> Option<Problem> {
    if let Some(Sharing::With(other)) = news(snapshot).map(|token| &token.sharing) {
        return problem(
            ReadyReason::GrantShared,
            format!(
                "the connection {other} adopted this very refresh token, so it is not sent: give this connection an authorization of its own"
            ),
        );
    }
    match &snapshot.initial {
        InitialGrant::Invalid(why) => problem(ReadyReason::InitialGrantInvalid, why),
        InitialGrant::Missing(_) => {
            let Finding { reason, message } = reauth(snapshot);
            let is_missed = reason == ReauthReason::NotAuthorized;
            is_missed.then_some(Problem { reason: ReadyReason::InitialGrantMissing, message })
        }
        InitialGrant::Present(_) => None,
    }
}

/// What was tried with the tokens that may be presented, the candidate first.
fn attempts(snapshot: &Snapshot) -> impl Iterator<Item = &Attempts> {
    let grant = snapshot.grant.ours().map(|grant| &grant.value);
    let candidate = grant.and_then(|grant| grant.candidate.as_ref());
    let candidate = candidate.filter(|held| Ownership::of_candidate(held, snapshot) == Ownership::Ours);
    let current = grant.and_then(|grant| grant.current.as_ref());
    let current = current.filter(|held| Ownership::of_current(held, snapshot) == Ownership::Ours);
    let (candidate, current) = (candidate.map(|held| &held.attempts), current.map(|pair| &pair.refresh.attempts));
    candidate.into_iter().chain(current)
}

fn halted(snapshot: &Snapshot) -> Option<Problem> {
    let halts = attempts(snapshot).filter_map(|attempts| attempts.halt());
    let problems = halts.filter_map(|halt| halt_problem(halt.reason, snapshot));
    problems.min_by_key(|problem| problem.reason)
}

fn halt_problem(halt: HaltReason, snapshot: &Snapshot) -> Option<Problem> {
    let (reason, message) = match halt {
        HaltReason::InvalidClient => (
            ReadyReason::InvalidClient,
            format!(
                "the server rejects the client; the grant is kept: fix the Secret {} or spec.client. It is tried again after a minute, and then ever more rarely, hourly at last",
                snapshot.spec.client_secret_name
            ),
        ),
        HaltReason::InvalidRequest => (
            ReadyReason::InvalidRequest,
            format!(
                "the server rejects the request as malformed; the grant is kept: fix the spec or the Secret {}. It is tried again after a minute, and then ever more rarely, hourly at last",
                snapshot.spec.client_secret_name
            ),
        ),
        // Said by `ReauthRequired`, and so by an earlier reason of `Ready`.
        HaltReason::UnknownRejection => return None,
        HaltReason::RetriesExhausted => (
            ReadyReason::RetriesExhausted,
            format!(
                "retries failed for spec.retryTimeout; the grant is kept: set the annotation {} to a new value, or change the spec, the client Secret or the initial grant",
                names::REFRESH_REQUESTED_ANNOTATION
            ),
        ),
    };
    Some(Problem { reason, message })
}

/// Said once pods have no usable token any more: until then nothing has changed for anyone.
fn held(snapshot: &Snapshot, now: Timestamp) -> Option<Problem> {
    let state = snapshot.local.held?;
    if snapshot.token.published().is_some_and(|published| published.usable(now).is_some()) {
        return None;
    }
    let waits = |why: &str| problem(ReadyReason::RefreshFailing, format!("{why}; retried automatically"));
    match state {
        ServerState::Refusing => problem(
            ReadyReason::ServerRefusing,
            format!(
                "the server rejects the tokens of many connections, so this one is not presented and not lost: do not authorize again, ask the provider what is wrong. One token at a time is tried until one is accepted; to try this one, set the annotation {} to a new value",
                names::REFRESH_REQUESTED_ANNOTATION
            ),
        ),
        ServerState::Failing => waits("the server does not answer any connection, so one token at a time is tried"),
        ServerState::Throttled => waits("the server throttles all connections, and each has its turn"),
        ServerState::Healthy => None,
    }
}

fn suspended(snapshot: &Snapshot) -> Option<Problem> {
    let suspended = snapshot.spec.suspend;
    suspended.then(|| Problem {
        reason: ReadyReason::Suspended,
        message: "spec.suspend is true and nothing is refreshed: unset it".to_owned(),
    })
}

fn outcome_unknown(snapshot: &Snapshot) -> Option<Problem> {
    let claimed = snapshot.grant.ours().is_some_and(|grant| grant.value.claim.is_some())
        && snapshot.local.claim_owner != Some(ClaimOwner::UnderWayHere)
        && snapshot.local.claim_owner != Some(ClaimOwner::NeverSentHere);
    let doubtful = attempts(snapshot).any(|attempts| attempts.outcome_unknown && attempts.halt().is_none());
    let message =
        "the outcome of the last refresh is unknown: it may have used the refresh token; it is retried automatically";
    if claimed || doubtful { problem(ReadyReason::RefreshInDoubt, message) } else { None }
}

fn progressing(snapshot: &Snapshot) -> Option<Problem> {
    let candidate = snapshot.grant.ours().and_then(|grant| grant.value.candidate.as_ref());
    let is_ours = |held: &&StoredToken| Ownership::of_candidate(held, snapshot) == Ownership::Ours;
    let fresh = candidate.filter(is_ours).is_some_and(|held| held.attempts.failures == 0);
    if !fresh && new_token(snapshot).is_none() {
        return None;
    }
    problem(ReadyReason::Progressing, "the first refresh with a new refresh token is in progress")
}

fn failing(snapshot: &Snapshot) -> Option<Problem> {
    let failures = attempts(snapshot).find(|attempts| attempts.failures > 0 && attempts.halt().is_none())?.failures;
    let last = snapshot.grant.ours().and_then(|grant| grant.value.last_failure.as_ref());
    let last = last.map_or_else(String::new, |last| format!(": {} ({})", last.message, last.reason));
    let row = match failures {
        1 => "a refresh failed".to_owned(),
        more => format!("{more} refreshes in a row failed"),
    };
    problem(ReadyReason::RefreshFailing, format!("{row}{last}; retried automatically"))
}

/// A new authorization that was rejected beside a working grant: nothing is lost, but users should know.
pub fn rejected_candidate_note(snapshot: &Snapshot) -> Option<String> {
    let grant = &snapshot.grant.ours()?.value;
    let refused = grant.last_rejection.as_ref().filter(|_| grant.current.is_some())?;
    let at = whole_seconds(refused.at);
    Some(format!(
        "the new authorization was rejected at {at}, and the working grant is still used: {}",
        way_back(snapshot)
    ))
}
