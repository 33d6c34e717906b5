//! Which workloads are to be restarted, so that programs which cannot read the file again get the new token. Once for
//! each rotation, by the ledger and not by the clock: a restart of the operator, or a tool that undoes our mark on the
//! workload, restarts nothing. Never twice in a minute.

use std::time::Duration;

use jiff::Timestamp;

use super::{projection, schedule::lies_ahead};
use crate::{
    api::RestartTarget,
    domain::{
        ledger::grant::{Grant, Restarted},
        snapshot::Snapshot,
        time::later,
    },
};

/// How far apart two restarts of one workload are.
const SPACING: Duration = Duration::from_secs(60);

/// Workloads to be restarted now, and what marks them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Restart {
    pub targets: Vec<RestartTarget>,
    /// What their pod templates contain since: the same for every try, so that a second one changes nothing.
    pub mark: String,
}

/// The workloads that are due, if some are.
pub fn due(snapshot: &Snapshot, now: Timestamp) -> Option<Restart> {
    let grant = usable_grant(snapshot, now)?;
    let is_due = |target: &&RestartTarget| at(grant, target, now).is_some_and(|at| at <= now);
    let targets: Vec<RestartTarget> = snapshot.spec.restart_targets.iter().filter(is_due).cloned().collect();
    (!targets.is_empty()).then(|| Restart { mark: mark(&snapshot.spec.name, grant), targets })
}

/// When the next workload is due.
pub fn next(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let grant = usable_grant(snapshot, now)?;
    snapshot.spec.restart_targets.iter().filter_map(|target| at(grant, target, now)).min()
}

/// What became of some restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tried {
    /// Restarted, or not there.
    pub done: Vec<RestartTarget>,
    /// No one knows. They are tried again, and count as restarted for the minute until then.
    pub perhaps: Vec<RestartTarget>,
}

impl Tried {
    /// Whether there is nothing to note.
    pub fn is_nothing(&self) -> bool {
        self.done.is_empty() && self.perhaps.is_empty()
    }
}

/// The grant with these restarts noted for its rotation. Workloads that are no longer listed are forgotten, but not
/// within a minute: one that comes and goes is not restarted each time.
pub fn note(snapshot: &Snapshot, tried: &Tried, now: Timestamp) -> Option<Grant> {
    let mut grant = snapshot.grant.ours()?.value.clone();
    let rotation_before = |target: &RestartTarget| last(&grant, target).map_or(0, |last| last.rotation);
    let done = tried.done.iter().map(|target| (target, grant.rotation));
    let perhaps = tried.perhaps.iter().map(|target| (target, rotation_before(target)));
    let noted = |(target, rotation): (&RestartTarget, u64)| Restarted { target: target.clone(), rotation, at: now };
    let noted: Vec<Restarted> = done.chain(perhaps).map(noted).collect();
    let wished = &snapshot.spec.restart_targets;
    let is_recent = |old: &Restarted| old.at <= now && now < later(old.at, SPACING);
    grant.restarts.retain(|old| {
        let is_noted = noted.iter().any(|new| new.target == old.target);
        !is_noted && (wished.contains(&old.target) || is_recent(old))
    });
    grant.restarts.extend(noted);
    Some(grant)
}

fn last<'a>(grant: &'a Grant, target: &RestartTarget) -> Option<&'a Restarted> {
    grant.restarts.iter().find(|last| last.target == *target)
}

/// The grant, if what pods would read after a restart is its newest token, and that is usable. Not while a token is in the
/// air: another write to the grant would only be in the way.
fn usable_grant(snapshot: &Snapshot, now: Timestamp) -> Option<&Grant> {
    let grant = &snapshot.grant.ours()?.value;
    let published = snapshot.token.published()?;
    let newest = published.content.as_ref().is_some_and(|content| content.rotation == grant.rotation);
    let tried = snapshot.deferred.restarts.is_some();
    let is_ours = projection::contested(snapshot, now).is_none();
    (newest && is_ours && grant.claim.is_none() && !tried && published.usable(now).is_some()).then_some(grant)
}

/// When this workload is to be restarted for the newest rotation; none if it was.
fn at(grant: &Grant, target: &RestartTarget, now: Timestamp) -> Option<Timestamp> {
    let Some(last) = last(grant, target) else { return Some(now) };
    if last.rotation >= grant.rotation {
        return None;
    }
    // A stored time that lies in the future means that a clock was wrong.
    Some(if lies_ahead(last.at, now) { now } else { later(last.at, SPACING) })
}

/// Names connection, rotation and the instant of its token: a namesake's rotation of the same number differs.
fn mark(connection: &str, grant: &Grant) -> String {
    let issued_at = grant.current.as_ref().map(|current| current.issue.issued_at).unwrap_or_default();
    format!("{connection} {} {issued_at}", grant.rotation)
}
