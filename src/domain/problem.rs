//! What is wrong with a connection, in words that name the way back: a chain of checks, in the order in which the
//! reasons are documented.

use super::{
    adoption,
    grant::{Attempts, Grant, HaltReason},
    link,
    observed::{Claimant, ClientSecretState, GrantSecret, InitialGrant, InitialToken, Observed, Sharing, TokenSecret},
    projection::whole_seconds,
    wish::{Server, SpecProblem, TokenUrl, Wish},
};
use crate::api::{ReadyReason, ReauthReason, names};

/// Something that is wrong, or not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As `Ready` names it.
    pub reason: ReadyReason,
    /// What it is and what to do, in words.
    pub message: String,
}

/// Whether a human must consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// As `ReauthRequired` names it.
    pub reason: ReauthReason,
    /// What it is and what to do, in words.
    pub message: String,
}

/// All that is wrong, the first reason first. `refused_by_storage`: what the API server said to a write of this pass.
pub fn problems(observed: &Observed, refused_by_storage: Option<&str>) -> Vec<Problem> {
    let checks = [
        spec(observed),
        secret_conflict(observed),
        grant_unreadable(observed),
        refused_by_storage.or_else(|| unchecked(observed)).map(storage_refused),
        client_secret_missing(observed),
        reauth_required(observed),
        initial_grant(observed),
        halted(observed),
        suspended(observed),
        in_doubt(observed),
        progressing(observed),
        failing(observed),
    ];
    checks.into_iter().flatten().collect()
}

/// Whether a human must consent (again), and why.
pub fn consent(observed: &Observed) -> Consent {
    let news = new_token(observed).is_some();
    match &observed.grant {
        GrantSecret::Ours(grant) => consent_of_grant(&grant.value, observed, news),
        GrantSecret::Predecessor(_) if news => not_tried(),
        GrantSecret::Predecessor(_) => Consent {
            reason: ReauthReason::GrantRestored,
            message: format!(
                "the Secret {} is older than this connection (restored from a backup, or a deleted namesake's); an old token presented now could kill a living authorisation: {}",
                names::grant_secret(&observed.wish.name),
                way_back(observed)
            ),
        },
        GrantSecret::Absent if news => not_tried(),
        GrantSecret::Absent => not_authorized(observed),
        GrantSecret::Foreign | GrantSecret::Unreadable(_) => Consent {
            reason: ReauthReason::NotTried,
            message: "the grant cannot be read; see the condition Ready".to_owned(),
        },
    }
}

fn consent_of_grant(grant: &Grant, observed: &Observed, news: bool) -> Consent {
    let wanted = observed.wish.token_url();
    let live = grant.live.as_ref().map(|live| &live.record.server);
    let candidate = grant.candidate.as_ref().map(|candidate| &candidate.record.server);
    let fits = |server: &TokenUrl| wanted.is_none_or(|url| url == server);
    if live.is_some_and(fits) {
        let message = "the server accepted the grant when it was last asked".to_owned();
        return Consent { reason: ReauthReason::GrantValid, message };
    }
    let code = grant.code.as_ref().map(|code| &code.record.server);
    let waits = grant.visit.as_ref().is_some_and(|visit| visit.end.is_none());
    if candidate.is_some_and(fits) || code.is_some_and(fits) || waits || news {
        return not_tried();
    }
    if let Some(other) = live.or(candidate) {
        let message = format!(
            "the grant belongs to {}, and the spec names another server; it is kept: change the spec back, or {}",
            other.as_str(),
            way_back(observed)
        );
        return Consent { reason: ReauthReason::ServerChanged, message };
    }
    match &grant.refused {
        Some(refused) => {
            let what = match refused.reason.reauth() {
                ReauthReason::RotationLost => {
                    "the server refused the refresh token after an attempt whose answer was lost on the way: the new pair was lost with it, which is not your doing"
                }
                ReauthReason::TokenInvalid => "the server called the refresh token invalid (invalid_token)",
                ReauthReason::GrantRefused
                | ReauthReason::GrantValid
                | ReauthReason::NotTried
                | ReauthReason::NotAuthorized
                | ReauthReason::ServerChanged
                | ReauthReason::GrantRestored => "the server refused the grant as expired or revoked (invalid_grant)",
            };
            let message = format!("{what}; it was wiped and is not sent again: {}", way_back(observed));
            Consent { reason: refused.reason.reauth(), message }
        }
        None => not_authorized(observed),
    }
}

fn not_tried() -> Consent {
    let message = "a refresh token is there that no server has accepted or refused yet".to_owned();
    Consent { reason: ReauthReason::NotTried, message }
}

fn not_authorized(observed: &Observed) -> Consent {
    let message = match &observed.initial {
        InitialGrant::Missing(why) => match in_a_browser(observed) {
            Ok(browser) => format!("{why}; or {}", browser.trim_end_matches(',')),
            Err(Some(no_link)) => format!("{why} (there is no link: {no_link})"),
            Err(None) => why.clone(),
        },
        InitialGrant::Invalid(why) => why.clone(),
        InitialGrant::Present(_) => format!("there is no grant of this connection's own: {}", way_back(observed)),
    };
    Consent { reason: ReauthReason::NotAuthorized, message }
}

/// What brings a connection back whose grant is gone.
fn way_back(observed: &Observed) -> String {
    let wish = &observed.wish;
    let whose = match news(observed).map(|token| &token.sharing) {
        Some(Sharing::With(other)) => format!(" (the one that stands there is the connection {other}'s)"),
        Some(Sharing::Alone | Sharing::Unchecked(_)) | None => String::new(),
    };
    let by_hand = match &wish.initial_grant {
        Some(initial) => {
            format!("put a new refresh token into the Secret {}, key {}{whose}", initial.secret, initial.key)
        }
        None => "put a new refresh token into a Secret and name it in spec.initialGrant.secretRef".to_owned(),
    };
    match in_a_browser(observed) {
        Ok(browser) => format!("{browser} or {by_hand}"),
        Err(Some(why)) => format!("{by_hand} (there is no link: {why})"),
        Err(None) => by_hand,
    }
}

/// How to consent without a token in hand; or why there is no link, where others have one.
fn in_a_browser(observed: &Observed) -> Result<String, Option<&str>> {
    let Wish { namespace, name, server, .. } = &observed.wish;
    match server {
        Ok(Server { authorization_url: Ok(_), .. }) => {
            let is_called = consent_is_due(observed);
            let has_link = is_called && link::is_possible(observed);
            let link = if has_link { "open the link in status.authorizationURL, " } else { "" };
            Ok(format!("{link}run `kubectl pleo connect {name} -n {namespace}`,"))
        }
        Ok(Server { authorization_url: Err(why), .. }) => Err(observed.links.as_ref().map(|_| why.as_str())),
        Err(_) => Err(None),
    }
}

/// There is a link only where no grant lives.
fn consent_is_due(observed: &Observed) -> bool {
    let fits = |server: &TokenUrl| observed.wish.token_url() == Some(server);
    let live = observed.grant.ours().and_then(|grant| grant.value.live.as_ref());
    live.is_none_or(|live| !fits(&live.record.server))
}

/// The token in the initial grant that is about to be adopted.
fn new_token(observed: &Observed) -> Option<&InitialToken> {
    news(observed).filter(|token| token.sharing == Sharing::Alone)
}

/// The token in the initial grant, where it is news; for a spec without a usable server, where it was never adopted.
fn news(observed: &Observed) -> Option<&InitialToken> {
    if let Some(server) = observed.wish.token_url() {
        return adoption::news(&observed.initial, &observed.grant, server);
    }
    let InitialGrant::Present(token) = &observed.initial else { return None };
    let known = match &observed.grant {
        GrantSecret::Absent => false,
        GrantSecret::Ours(grant) | GrantSecret::Predecessor(grant) => grant.value.remembers(&token.fingerprint),
        GrantSecret::Foreign | GrantSecret::Unreadable(_) => true,
    };
    (!known).then_some(token)
}

fn problem(reason: ReadyReason, message: impl Into<String>) -> Option<Problem> {
    Some(Problem { reason, message: message.into() })
}

fn spec(observed: &Observed) -> Option<Problem> {
    let reason = match observed.wish.server.as_ref().err()? {
        SpecProblem::Invalid(_) => ReadyReason::InvalidSpec,
        SpecProblem::NotAllowed(_) => ReadyReason::ServerNotAllowed,
    };
    problem(reason, observed.wish.server.as_ref().err()?.to_string())
}

fn secret_conflict(observed: &Observed) -> Option<Problem> {
    let conflict = |name: &str, remedy: &str| {
        problem(
            ReadyReason::SecretConflict,
            format!(
                "a Secret {name} is there that is not this connection's; it is not touched and nothing is sent: {remedy}"
            ),
        )
    };
    if observed.token == TokenSecret::Foreign {
        return conflict(&observed.wish.secret_name, "set spec.secretName to another name, or remove that Secret");
    }
    match observed.grant {
        GrantSecret::Foreign => {
            conflict(&names::grant_secret(&observed.wish.name), "remove that Secret, or rename the connection")
        }
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Predecessor(_) | GrantSecret::Unreadable(_) => None,
    }
}

fn grant_unreadable(observed: &Observed) -> Option<Problem> {
    match &observed.grant {
        GrantSecret::Unreadable(why) => problem(
            ReadyReason::GrantUnreadable,
            format!(
                "the Secret {} cannot be used: {why}. It is left alone: restore it, upgrade the operator, or delete it and consent anew",
                names::grant_secret(&observed.wish.name)
            ),
        ),
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Predecessor(_) | GrantSecret::Foreign => None,
    }
}

/// Why it could not be found out whether another connection has the same grant.
fn unchecked(observed: &Observed) -> Option<&str> {
    match news(observed).map(|token| &token.sharing) {
        Some(Sharing::Unchecked(why)) => Some(why),
        Some(Sharing::Alone | Sharing::With(_)) | None => None,
    }
}

/// What the API server refuses to store.
pub fn storage_refused(why: &str) -> Problem {
    let message = format!(
        "the API server refuses to store our Secrets: {why}. Nothing was spent: mend rights, admission policy or quota; it is tried again by itself"
    );
    Problem { reason: ReadyReason::StorageRefused, message }
}

fn client_secret_missing(observed: &Observed) -> Option<Problem> {
    match &observed.client {
        ClientSecretState::Missing(why) => problem(ReadyReason::ClientSecretMissing, why),
        ClientSecretState::Present(_) => None,
    }
}

fn reauth_required(observed: &Observed) -> Option<Problem> {
    let consent = consent(observed);
    let required = consent.reason.status() == "True" && consent.reason != ReauthReason::NotAuthorized;
    required.then_some(Problem { reason: ReadyReason::ReauthRequired, message: consent.message })
}

fn initial_grant(observed: &Observed) -> Option<Problem> {
    if let Some(Sharing::With(other)) = news(observed).map(|token| &token.sharing) {
        return problem(
            ReadyReason::GrantShared,
            format!(
                "the connection {other} adopted this very refresh token; it is not sent: give this one a consent of its own"
            ),
        );
    }
    match &observed.initial {
        InitialGrant::Invalid(why) => problem(ReadyReason::InitialGrantInvalid, why),
        InitialGrant::Missing(_) => {
            let Consent { reason, message } = consent(observed);
            let is_missed = reason == ReauthReason::NotAuthorized;
            is_missed.then_some(Problem { reason: ReadyReason::InitialGrantMissing, message })
        }
        InitialGrant::Present(_) => None,
    }
}

/// What was tried with the tokens that fit the spec's server, the candidate first.
fn attempts(observed: &Observed) -> impl Iterator<Item = &Attempts> {
    let fits = |server: &TokenUrl| observed.wish.token_url().is_none_or(|wanted| wanted == server);
    let grant = observed.grant.ours().map(|grant| &grant.value);
    let candidate = grant.and_then(|grant| grant.candidate.as_ref()).map(|held| &held.record);
    let live = grant.and_then(|grant| grant.live.as_ref()).map(|held| &held.record);
    let candidate = candidate.filter(|held| fits(&held.server)).map(|held| &held.attempts);
    candidate.into_iter().chain(live.filter(|held| fits(&held.server)).map(|held| &held.attempts))
}

fn halted(observed: &Observed) -> Option<Problem> {
    let halts = attempts(observed).filter_map(|attempts| attempts.halt.as_ref());
    let problems = halts.map(|halt| halt_problem(halt.reason, observed));
    problems.min_by_key(|problem| problem.reason)
}

fn halt_problem(halt: HaltReason, observed: &Observed) -> Problem {
    let (reason, message) = match halt {
        HaltReason::InvalidClient => (
            ReadyReason::InvalidClient,
            format!(
                "the server refuses the client; the grant is kept: mend the Secret {} or spec.client",
                observed.wish.client_secret_name
            ),
        ),
        HaltReason::InvalidRequest => (
            ReadyReason::InvalidRequest,
            format!(
                "the server calls the request wrong; the grant is kept: mend the spec or the Secret {}",
                observed.wish.client_secret_name
            ),
        ),
        HaltReason::RetriesExhausted => (
            ReadyReason::RetriesExhausted,
            format!(
                "spec.retryTimeout is over and every try failed; the grant is kept: set the annotation {} to a new value, or change the spec, the client Secret or the initial grant",
                names::REFRESH_REQUESTED_ANNOTATION
            ),
        ),
    };
    Problem { reason, message }
}

fn suspended(observed: &Observed) -> Option<Problem> {
    let suspended = observed.wish.suspend;
    suspended.then(|| Problem {
        reason: ReadyReason::Suspended,
        message: "spec.suspend is true and nothing is refreshed: unset it".to_owned(),
    })
}

fn in_doubt(observed: &Observed) -> Option<Problem> {
    let claimed = observed.grant.ours().is_some_and(|grant| grant.value.claim.is_some())
        && observed.sighting.claimant != Some(Claimant::UnderWayHere)
        && observed.sighting.claimant != Some(Claimant::NeverSentHere);
    let doubtful = attempts(observed).any(|attempts| attempts.in_doubt && attempts.halt.is_none());
    let message =
        "an exchange may have spent the refresh token; it is being found out by itself, with one more exchange";
    if claimed || doubtful { problem(ReadyReason::RefreshInDoubt, message) } else { None }
}

fn progressing(observed: &Observed) -> Option<Problem> {
    let candidate = observed.grant.ours().and_then(|grant| grant.value.candidate.as_ref());
    let fits = |server: &TokenUrl| observed.wish.token_url().is_none_or(|wanted| wanted == server);
    let fresh = candidate.is_some_and(|held| held.record.attempts.failures == 0 && fits(&held.record.server));
    if !fresh && new_token(observed).is_none() {
        return None;
    }
    problem(ReadyReason::Progressing, "the first exchange with a new refresh token is under way")
}

fn failing(observed: &Observed) -> Option<Problem> {
    let failures = attempts(observed).find(|attempts| attempts.failures > 0 && attempts.halt.is_none())?.failures;
    let last = observed.grant.ours().and_then(|grant| grant.value.last_failure.as_ref());
    let last = last.map_or_else(String::new, |last| format!(": {} ({})", last.message, last.reason));
    let row = match failures {
        1 => "an exchange has failed".to_owned(),
        more => format!("{more} exchanges in a row have failed"),
    };
    problem(ReadyReason::RefreshFailing, format!("{row}{last}; tried again by itself"))
}

/// A new consent that was refused beside a living grant: nothing is lost, but somebody should know.
pub fn refused_beside_living(observed: &Observed) -> Option<String> {
    let grant = &observed.grant.ours()?.value;
    let refused = grant.refused.as_ref().filter(|_| grant.live.is_some())?;
    let at = whole_seconds(refused.at);
    Some(format!(
        "the new consent that was tried at {at} was refused, and the living grant is used on: {}",
        way_back(observed)
    ))
}
