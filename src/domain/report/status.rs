//! The status: conditions, times, and an event for each transition. The same state always gives the same status, and nothing is
//! written while nothing changes (I6).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::problem::{self, Problem};
use crate::{
    api::{ConditionStatus, ConditionType, LastFailure, PleoConnectionStatus, ReadyReason, Reason, ReauthReason},
    domain::{
        finding::Finding,
        ledger::grant::Grant,
        plan::{
            authentication::proved,
            link,
            next_refresh::{NextRefresh, next_refresh},
            projection::{self, whole_seconds},
            schedule::Pace,
            users::{
                aging::{aging, aging_unseen},
                reauth,
            },
        },
        snapshot::{ClaimOwner, ClientSecretState, LastReported, Snapshot},
    },
};

/// A condition that changed, for an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The condition's reason.
    pub reason: String,
    /// The condition's message.
    pub message: String,
    /// Whether someone should look.
    pub warning: bool,
}

/// The status that follows from what was seen. `previous` gives the times of transitions that did not happen, and what
/// a grant that is gone cannot tell any more.
pub fn of(
    snapshot: &Snapshot,
    previous: &PleoConnectionStatus,
    refused_by_storage: Option<&str>,
    now: Timestamp,
    pace: Pace,
) -> PleoConnectionStatus {
    let problems = problem::problems(snapshot, refused_by_storage, now);
    let next = match next_refresh(snapshot, now, pace) {
        // What the API server refuses has no time of its own.
        NextRefresh::Now(_) | NextRefresh::At(..) if refused_by_storage.is_some() => None,
        // Nor has an attempt that is under way: its end is polled.
        NextRefresh::At(..) if snapshot.local.claim_owner == Some(ClaimOwner::UnderWayHere) => None,
        NextRefresh::Now(_) => Some(now),
        NextRefresh::At(time, _) => Some(time),
        // Not worth a write: it is due since then.
        NextRefresh::Held => previous.next_refresh_time.as_ref().map(|due| due.0),
        NextRefresh::Never => None,
    };
    let ready = ready(snapshot, &problems, next, now);
    let stalling = problems.iter().find(|problem| problem::stalls(problem, snapshot));
    let aging = aging(snapshot, now);
    let stamp = Stamp { previous, generation: snapshot.spec.generation, now };
    let conditions = [
        Some(stamp.condition(ConditionType::Ready, ready)),
        Some(stamp.condition(ConditionType::ReauthRequired, reauth(snapshot, previous))),
        stalling.map(|problem| stamp.stalled(problem.clone())),
        aging.map(|aging| stamp.condition(ConditionType::GrantExpiring, aging)),
    ];
    PleoConnectionStatus {
        observed_generation: Some(stamp.generation),
        conditions: conditions.into_iter().flatten().collect(),
        next_refresh_time: next.map(time),
        authorization_url: link::url(snapshot, now),
        secret_name: secret_name(snapshot, previous),
        expiration_time: snapshot
            .token
            .published()
            .and_then(|published| published.content.as_ref())
            .and_then(|content| content.access.as_ref())
            .filter(|_| projection::contested(snapshot, now).is_none())
            .map(|access| time(access.expires_at)),
        ..history(snapshot, previous)
    }
}

/// Whether a user must authorize again. Without a client Secret it is unknown whose the grant is: then what was last reported of
/// another client still holds.
fn reauth(snapshot: &Snapshot, previous: &PleoConnectionStatus) -> Finding<ReauthReason> {
    let changed = ReauthReason::ClientChanged;
    let reported = previous.condition(ConditionType::ReauthRequired);
    let reported = reported.filter(|reported| reported.reason == changed.as_str());
    match (&snapshot.client, reported) {
        (ClientSecretState::Missing(_), Some(reported)) if snapshot.grant.ours().is_some() => {
            Finding::new(changed, &reported.message)
        }
        (ClientSecretState::Missing(_) | ClientSecretState::Present(_), _) => reauth::reauth(snapshot),
    }
}

/// The status while the Secrets cannot be read: what was reported last is valid until the token expires.
pub fn without_secrets(
    previous: &PleoConnectionStatus,
    generation: i64,
    why: &str,
    now: Timestamp,
) -> PleoConnectionStatus {
    let refused = problem::storage_refused(why);
    let usable = previous.expiration_time.as_ref().filter(|end| now < end.0);
    let ready = usable.map(|end| {
        let message = format!("the token is usable until {}; {}", whole_seconds(end.0), refused.message);
        Finding::new(ReadyReason::Refreshed, message)
    });
    let unknown = Finding::new(ReauthReason::NotTried, "the grant cannot be read; see the condition Ready");
    let stamp = Stamp { previous, generation, now };
    let before = previous.condition(ConditionType::ReauthRequired).cloned();
    let reauth = before.unwrap_or_else(|| stamp.condition(ConditionType::ReauthRequired, unknown));
    let conditions = [
        Some(stamp.condition(ConditionType::Ready, ready.unwrap_or_else(|| refused.clone()))),
        Some(Condition { observed_generation: Some(generation), ..reauth }),
        Some(stamp.stalled(refused)),
        aging_unseen(previous, now).map(|aging| stamp.condition(ConditionType::GrantExpiring, aging)),
    ];
    PleoConnectionStatus {
        observed_generation: Some(generation),
        conditions: conditions.into_iter().flatten().collect(),
        next_refresh_time: None,
        ..previous.clone()
    }
}

/// When the server rejected a grant that worked, as far as the status says it.
pub fn rejected_at(status: &PleoConnectionStatus) -> Option<Timestamp> {
    // A first authorization that is rejected was never one that worked.
    status.rejected_rotation?;
    let reauth = status.condition(ConditionType::ReauthRequired)?;
    let reasons = [
        ReauthReason::GrantRefused,
        ReauthReason::TokenInvalid,
        ReauthReason::RotationLost,
        ReauthReason::UnknownRejection,
    ];
    let is_rejected = reasons.iter().any(|reason| reason.as_str() == reauth.reason);
    is_rejected.then_some(reauth.last_transition_time.0)
}

/// Whether a status says that the API server refuses our Secrets.
pub fn tells_of_refused_storage(status: &PleoConnectionStatus) -> bool {
    status.has_reason(ReadyReason::StorageRefused.as_str())
}

/// The Secret that pods mount; the earlier one as long as it stands, so that it is not forgotten.
fn secret_name(snapshot: &Snapshot, previous: &PleoConnectionStatus) -> Option<String> {
    if snapshot.retired.is_some() || snapshot.token.published().is_none() {
        return previous.secret_name.clone();
    }
    Some(snapshot.spec.secret_name.clone())
}

/// What the ledger records; what was reported last, where there is none.
fn history(snapshot: &Snapshot, previous: &PleoConnectionStatus) -> PleoConnectionStatus {
    let grant = snapshot.grant.ours().map(|grant| &grant.value);
    let LastReported { rotation, rejected_rotation } = snapshot.reported.next(grant);
    let number = |rotation| i64::try_from(rotation).unwrap_or(i64::MAX);
    let (reported, rejected_rotation) = (number(rotation), rejected_rotation.map(number));
    let Some(grant) = grant else {
        let rotation = Some(reported).filter(|reported| *reported > 0).or(previous.rotation);
        return PleoConnectionStatus { rotation, rejected_rotation, ..previous.clone() };
    };
    let current = grant.current.as_ref();
    let tried = grant.candidate.as_ref().or(current.map(|pair| &pair.refresh));
    PleoConnectionStatus {
        rotation: Some(reported),
        rejected_rotation,
        last_refresh_time: current
            .map(|pair| time(pair.issue.issued_at))
            .or_else(|| previous.last_refresh_time.clone()),
        failures: Some(tried.map_or(0, |held| i32::try_from(held.attempts.failures).unwrap_or(i32::MAX))),
        last_failure: grant.last_failure.as_ref().map(|failure| LastFailure {
            time: time(failure.at),
            reason: failure.reason.to_string(),
            message: failure.message.clone(),
        }),
        last_handled_refresh_request: grant.handled_request.clone(),
        client_authentication: authentication(snapshot, grant),
        ..PleoConnectionStatus::default()
    }
}

/// The method that worked last for this server and client.
fn authentication(snapshot: &Snapshot, grant: &Grant) -> Option<String> {
    let ClientSecretState::Present(client) = &snapshot.client else { return None };
    proved(client, snapshot.spec.token_url()?, grant).map(|method| method.as_str().to_owned())
}

/// True as long as there is a usable token, whatever else is wrong; otherwise the first reason that applies.
fn ready(snapshot: &Snapshot, problems: &[Problem], next: Option<Timestamp>, now: Timestamp) -> Problem {
    let is_ours = projection::contested(snapshot, now).is_none();
    let usable = snapshot.token.published().and_then(|published| published.usable(now)).filter(|_| is_ours);
    let Some(access) = usable else {
        let nothing_yet = || Problem::new(ReadyReason::Progressing, "the next refresh is about to start");
        return problems.first().cloned().unwrap_or_else(nothing_yet);
    };
    let due = next.map_or_else(
        || "no refresh is planned".to_owned(),
        |next| format!("the next refresh is due at {}", whole_seconds(next)),
    );
    let but = problems.first().map(|first| first.message.clone());
    let but = but.or_else(|| problem::rejected_candidate_note(snapshot)).or_else(|| snapshot.deferred.restarts.clone());
    let but = but.map_or_else(String::new, |but| format!("; {but}"));
    Problem::new(ReadyReason::Refreshed, format!("the token is usable until {}; {due}{but}", access.expires_at))
}

/// What all conditions of one status share.
struct Stamp<'a> {
    previous: &'a PleoConnectionStatus,
    generation: i64,
    now: Timestamp,
}

impl Stamp<'_> {
    fn condition(&self, kind: ConditionType, Finding { reason, message }: Finding<impl Reason>) -> Condition {
        self.stamped(kind, reason.status(), reason.name(), message)
    }

    /// `Stalled` has the reason of another condition.
    fn stalled(&self, Problem { reason, message }: Problem) -> Condition {
        self.stamped(ConditionType::Stalled, ConditionStatus::True, reason.as_str(), message)
    }

    /// The transition time moves only on a transition.
    fn stamped(&self, kind: ConditionType, status: ConditionStatus, reason: &str, message: String) -> Condition {
        let before = self.previous.condition(kind).filter(|before| before.status == status.as_str());
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_string(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.generation),
            last_transition_time: before.map_or_else(|| time(self.now), |before| before.last_transition_time.clone()),
        }
    }
}

/// The transitions between two statuses: a condition that came, or changed its status or its reason.
pub fn transitions(before: &PleoConnectionStatus, after: &PleoConnectionStatus) -> Vec<Transition> {
    let changed = |condition: &&Condition| {
        before
            .conditions
            .iter()
            .find(|old| old.type_ == condition.type_)
            .is_none_or(|old| old.status != condition.status || old.reason != condition.reason)
    };
    let mut transitions: Vec<Transition> = Vec::new();
    for condition in after.conditions.iter().filter(changed) {
        // `Stalled` repeats what another condition says already, and that no user is needed goes without saying once it is ready.
        let repeats = condition.type_ == ConditionType::Stalled.as_str()
            && transitions.iter().any(|reported| reported.message == condition.message)
            || condition.reason == ReauthReason::GrantValid.as_str()
                && transitions.iter().any(|reported| reported.reason == ReadyReason::Refreshed.as_str());
        if !repeats {
            transitions.push(Transition {
                reason: condition.reason.clone(),
                message: condition.message.clone(),
                warning: is_bad_news(condition),
            });
        }
    }
    transitions
}

fn is_bad_news(condition: &Condition) -> bool {
    let good =
        if condition.type_ == ConditionType::Ready.as_str() { ConditionStatus::True } else { ConditionStatus::False };
    let status = ConditionStatus::of(condition);
    status != good && status != ConditionStatus::Unknown
}

/// As the status keeps times: in whole seconds.
fn time(time: Timestamp) -> Time {
    Time(whole_seconds(time))
}

/// Whether two statuses tell the same, but for the words and the plan: then the second is not worth a write before an
/// exchange that is about to change both.
pub fn same_conditions(left: &PleoConnectionStatus, right: &PleoConnectionStatus) -> bool {
    let of = |status: &PleoConnectionStatus| {
        let reported = |condition: &Condition| {
            (condition.type_.clone(), condition.status.clone(), condition.reason.clone(), condition.observed_generation)
        };
        status.conditions.iter().map(reported).collect::<Vec<_>>()
    };
    of(left) == of(right)
}
