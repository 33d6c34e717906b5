//! When to ask whether a token is active (RFC 7662), and what follows from the answer. A token that may be used is better asked
//! about than sent: a server may revoke the whole authorization for a used one (RFC 9700 section 4.14.2).

use std::time::Duration;

use jiff::Timestamp;

use super::{ownership::Ownership, schedule::Pace};
use crate::domain::{
    introspection::Introspected,
    ledger::{
        authentication::Experience,
        grant::{Grant, Which},
        held::{Attempts, Pair},
        introspection::KnownIntrospection,
    },
    snapshot::{ClientSecretState, LocalObservations, Snapshot},
    spec::IntrospectionUrl,
    time::{between, earlier, later},
    token::ClientCredentials,
};

/// How long a token counts as just issued.
const NEW: Duration = Duration::from_secs(60);
/// How long after an answer a token in doubt is asked about again.
const AGAIN: Duration = Duration::from_secs(60);
/// No request is in flight for longer.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Whether the endpoint is to be asked about the token that was just issued: a server that knows it has to call it active. Once for
/// each authorization; where no answer came, after the next refresh.
pub fn is_proof_due(snapshot: &Snapshot, now: Timestamp) -> bool {
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return false;
    };
    let (Some(url), Some(current)) = (&server.introspection_url, &grant.value.current) else { return false };
    // So that the connections of a fleet do not ask all at once when the operator starts.
    let is_new = between(current.issue.issued_at, now) < NEW;
    is_new
        && current.refresh.attempts == Attempts::default()
        && client.secret.is_some()
        && !snapshot.spec.suspend
        && grant.value.claim.is_none()
        && Ownership::of_current(current, snapshot) == Ownership::Ours
        && snapshot.local.introspected.is_none()
        && experience(&grant.value, url, client).is_none()
}

/// The grant with what the answer about a new token shows; none if it shows nothing.
pub fn proved(
    grant: &Grant,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    answer: Introspected,
) -> Option<Grant> {
    let experience = match answer {
        Introspected::Active => Experience::Works,
        Introspected::Inactive | Introspected::Refused => Experience::Rejected,
        Introspected::NoAnswer => return None,
    };
    let known = KnownIntrospection { url: url.clone(), client_id: client.id_fingerprint(), experience };
    Some(Grant { introspection: Some(known), ..grant.clone() })
}

/// Whether to ask before this token is sent: an earlier request may have used it, and the endpoint is proved.
pub fn is_in_doubt(
    grant: &Grant,
    which: Which,
    claim_unused: bool,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
) -> bool {
    let Some(current) = grant.current.as_ref().filter(|_| which == Which::Current) else { return false };
    let is_claimed = grant.claim.as_ref().is_some_and(|claim| claim.fingerprint == current.refresh.fingerprint);
    let may_be_used = current.refresh.attempts.outcome_unknown || is_claimed && !claim_unused;
    may_be_used && is_believed(grant, url, client)
}

/// Whether the endpoint was proved, for this client.
pub fn is_believed(grant: &Grant, url: &IntrospectionUrl, client: &ClientCredentials) -> bool {
    client.secret.is_some() && experience(grant, url, client) == Some(Experience::Works)
}

/// Whether the token is to count as rejected: it was called inactive twice, a settle time apart. A server that fails may say so once
/// of a good token.
pub fn is_inactive(before: Option<(Introspected, Duration)>, answer: Introspected, pace: Pace) -> bool {
    let was_inactive =
        before.is_some_and(|(before, ago)| before == Introspected::Inactive && ago >= pace.settle_time());
    answer == Introspected::Inactive && was_inactive
}

/// Until when a token in doubt is not sent after this answer: called active, because a request that is in flight may still use it, as
/// long as its access token is good; called inactive, until the endpoint is asked again. None: the next step is due now.
pub fn wait_until(
    current: &Pair,
    local: &LocalObservations,
    (answer, asked_ago): (Introspected, Duration),
    now: Timestamp,
    pace: Pace,
) -> Option<Timestamp> {
    match answer {
        Introspected::Active => wait_while_active(current, local, asked_ago, now, pace),
        Introspected::Inactive => {
            pace.settle_time().checked_sub(asked_ago).filter(|left| !left.is_zero()).map(|left| later(now, left))
        }
        Introspected::Refused | Introspected::NoAnswer => None,
    }
}

fn wait_while_active(
    current: &Pair,
    local: &LocalObservations,
    asked_ago: Duration,
    now: Timestamp,
    pace: Pace,
) -> Option<Timestamp> {
    let last = earlier(current.issue.expires_at(), pace.request_timeout.saturating_add(pace.settle_time()));
    let in_doubt_for = local.claim_seen_for.max(local.current_failure_seen_for);
    let wait = AGAIN.saturating_sub(asked_ago).min(LONGEST.saturating_sub(in_doubt_for));
    let until = later(now, wait).min(last);
    (current.access.is_some() && now < until).then_some(until)
}

fn experience(grant: &Grant, url: &IntrospectionUrl, client: &ClientCredentials) -> Option<Experience> {
    let known = grant.introspection.as_ref()?;
    (known.url == *url && known.client_id == client.id_fingerprint()).then_some(known.experience)
}
