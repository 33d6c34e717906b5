//! The status: conditions, times, and an event for each transition. The same state always gives the same status, and nothing is
//! written while nothing changes (I6).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::problem::{self, Problem};
use crate::{
    api::{ConditionType, LastFailure, PleoConnectionStatus, ReadyReason, ReauthReason},
    domain::{
        plan::{
            aging::{Aging, aging, aging_unseen},
            decide::{NextRefresh, turn},
            link,
            projection::{self, whole_seconds},
            reauth::{self, Consent},
            schedule::Pace,
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
    let next = match turn(snapshot, now, pace) {
        // What the API server refuses has no time of its own.
        NextRefresh::Now(_) | NextRefresh::At(..) if refused_by_storage.is_some() => None,
        // Nor has an attempt that is under way: its end is looked for again and again.
        NextRefresh::At(..) if snapshot.sighting.claim_owner == Some(ClaimOwner::UnderWayHere) => None,
        NextRefresh::Now(_) => Some(now),
        NextRefresh::At(time, _) => Some(time),
        NextRefresh::Never => None,
    };
    let consent = consent(snapshot, previous);
    let (ready, message) = ready(snapshot, &problems, next, now);
    let mut conditions = vec![
        Finding { kind: ConditionType::Ready, status: ready.ready_status(), reason: ready.as_str(), message },
        Finding {
            kind: ConditionType::ReauthRequired,
            status: consent.reason.status(),
            reason: consent.reason.as_str(),
            message: consent.message,
        },
    ];
    if let Some(stalling) = problems.iter().find(|problem| problem::stalls(problem, snapshot)) {
        conditions.push(Finding {
            kind: ConditionType::Stalled,
            status: "True",
            reason: stalling.reason.as_str(),
            message: stalling.message.clone(),
        });
    }
    conditions.extend(aging(snapshot, now).map(Finding::from));
    let generation = snapshot.spec.generation;
    PleoConnectionStatus {
        observed_generation: Some(generation),
        conditions: conditions.into_iter().map(|finding| finding.condition(previous, generation, now)).collect(),
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
fn consent(snapshot: &Snapshot, previous: &PleoConnectionStatus) -> Consent {
    let (kind, changed) = (ConditionType::ReauthRequired.as_str(), ReauthReason::ClientChanged);
    let reported =
        previous.conditions.iter().find(|reported| reported.type_ == kind && reported.reason == changed.as_str());
    match (&snapshot.client, reported) {
        (ClientSecretState::Missing(_), Some(reported)) if snapshot.grant.ours().is_some() => {
            Consent { reason: changed, message: reported.message.clone() }
        }
        (ClientSecretState::Missing(_) | ClientSecretState::Present(_), _) => reauth::consent(snapshot),
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
    let ready = match usable {
        Some(end) => {
            let message = format!("the token is usable until {}; {}", whole_seconds(end.0), refused.message);
            Finding { kind: ConditionType::Ready, status: "True", reason: ReadyReason::Refreshed.as_str(), message }
        }
        None => Finding {
            kind: ConditionType::Ready,
            status: refused.reason.ready_status(),
            reason: refused.reason.as_str(),
            message: refused.message.clone(),
        },
    };
    let stalled = Finding {
        kind: ConditionType::Stalled,
        status: "True",
        reason: refused.reason.as_str(),
        message: refused.message,
    };
    let before = previous.conditions.iter().find(|before| before.type_ == ConditionType::ReauthRequired.as_str());
    let unknown = Finding {
        kind: ConditionType::ReauthRequired,
        status: ReauthReason::NotTried.status(),
        reason: ReauthReason::NotTried.as_str(),
        message: "the grant cannot be read; see the condition Ready".to_owned(),
    };
    let reauth = before.cloned().unwrap_or_else(|| unknown.condition(previous, generation, now));
    let mut conditions = vec![
        ready.condition(previous, generation, now),
        Condition { observed_generation: Some(generation), ..reauth },
        stalled.condition(previous, generation, now),
    ];
    let aging = aging_unseen(previous, now).map(Finding::from);
    conditions.extend(aging.map(|finding| finding.condition(previous, generation, now)));
    PleoConnectionStatus {
        observed_generation: Some(generation),
        conditions,
        next_refresh_time: None,
        ..previous.clone()
    }
}

/// Whether a status says that the API server refuses our Secrets.
pub fn tells_of_refused_storage(status: &PleoConnectionStatus) -> bool {
    status.conditions.iter().any(|condition| condition.reason == ReadyReason::StorageRefused.as_str())
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
    let live = grant.live.as_ref().map(|live| &live.record);
    let attempts = grant.candidate.as_ref().map(|held| &held.record.attempts).or(live.map(|live| &live.attempts));
    PleoConnectionStatus {
        rotation: Some(reported),
        rejected_rotation,
        last_refresh_time: live.map(|live| time(live.issued_at)).or_else(|| previous.last_refresh_time.clone()),
        failures: Some(attempts.map_or(0, |attempts| i32::try_from(attempts.failures).unwrap_or(i32::MAX))),
        last_failure: grant.last_failure.as_ref().map(|failure| LastFailure {
            time: time(failure.at),
            reason: failure.reason.to_string(),
            message: failure.message.clone(),
        }),
        last_handled_refresh_request: grant.handled_request.clone(),
        ..PleoConnectionStatus::default()
    }
}

/// True as long as there is a usable token, whatever else is wrong; otherwise the first reason that applies.
fn ready(snapshot: &Snapshot, problems: &[Problem], next: Option<Timestamp>, now: Timestamp) -> (ReadyReason, String) {
    let is_ours = projection::contested(snapshot, now).is_none();
    let usable = snapshot.token.published().and_then(|published| published.usable(now)).filter(|_| is_ours);
    let Some(access) = usable else {
        let nothing_yet = || (ReadyReason::Progressing, "the next refresh is about to start".to_owned());
        return problems.first().map_or_else(nothing_yet, |first| (first.reason, first.message.clone()));
    };
    let due = next.map_or_else(
        || "no refresh is planned".to_owned(),
        |next| format!("the next refresh is due at {}", whole_seconds(next)),
    );
    let but = problems.first().map(|first| first.message.clone());
    let but = but.or_else(|| problem::refused_beside_living(snapshot)).or_else(|| snapshot.deferred.restarts.clone());
    let but = but.map_or_else(String::new, |but| format!("; {but}"));
    (ReadyReason::Refreshed, format!("the token is usable until {}; {due}{but}", access.expires_at))
}

struct Finding {
    kind: ConditionType,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl From<Aging> for Finding {
    fn from(Aging { reason, message }: Aging) -> Self {
        Self { kind: ConditionType::GrantExpiring, status: "True", reason: reason.as_str(), message }
    }
}

impl Finding {
    /// The transition time moves only on a transition.
    fn condition(self, previous: &PleoConnectionStatus, generation: i64, now: Timestamp) -> Condition {
        let before = previous.conditions.iter().find(|before| before.type_ == self.kind.as_str());
        let since =
            before.filter(|before| before.status == self.status).map(|before| before.last_transition_time.clone());
        Condition {
            type_: self.kind.as_str().to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message,
            observed_generation: Some(generation),
            last_transition_time: since.unwrap_or_else(|| time(now)),
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
        // `Stalled` repeats what another condition says already; the two others have reasons of their own.
        let repeats = condition.type_ == ConditionType::Stalled.as_str()
            && transitions.iter().any(|reported| reported.message == condition.message);
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
    match condition.type_.as_str() {
        "Ready" => condition.status == "False",
        _ => condition.status == "True",
    }
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
