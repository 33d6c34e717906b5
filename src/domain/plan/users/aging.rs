//! How old a refresh token may get. Each refresh renews it; a connection that is suspended or failing for weeks warns while
//! there is still time (requirement T3).

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    api::{AgingReason, PleoConnectionStatus, ReauthReason},
    domain::{
        finding::Finding,
        plan::projection::whole_seconds,
        snapshot::Snapshot,
        time::{earlier, later},
    },
};

/// Refresh tokens live for so long at least, unless they are revoked.
pub const GRANT_LIFETIME: Duration = Duration::from_secs(60 * 24 * 3600);
/// How long before that the first warning comes.
pub const FIRST_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long before that the last one comes.
pub const LAST_WARNING: Duration = Duration::from_secs(3 * 24 * 3600);

/// When a refresh token may end that was issued then.
pub fn end_of_life(issued_at: Timestamp) -> Timestamp {
    later(issued_at, GRANT_LIFETIME)
}

/// What is to be said of the age of the working grant; none: it is young, or there is none.
pub fn aging(snapshot: &Snapshot, now: Timestamp) -> Option<Finding<AgingReason>> {
    let what_to_do = match snapshot.spec.suspend {
        true => "unset spec.suspend",
        false => "fix what the other conditions report",
    };
    aged(issued_at(snapshot)?, what_to_do, now)
}

/// The same of a grant that cannot be read, by what was reported of it last.
pub fn aging_unseen(previous: &PleoConnectionStatus, now: Timestamp) -> Option<Finding<AgingReason>> {
    let is_valid = previous.has_reason(ReauthReason::GrantValid.as_str());
    let issued_at = previous.last_refresh_time.as_ref().filter(|_| is_valid)?.0;
    aged(issued_at, "fix what the other conditions report", now)
}

/// When there is something new to be said.
pub fn next(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    steps(issued_at(snapshot)?).into_iter().map(|(_, from)| from).find(|from| *from > now)
}

fn issued_at(snapshot: &Snapshot) -> Option<Timestamp> {
    Some(snapshot.grant.ours()?.value.current.as_ref()?.issue.issued_at)
}

fn aged(issued_at: Timestamp, what_to_do: &str, now: Timestamp) -> Option<Finding<AgingReason>> {
    let (reason, _) = steps(issued_at).into_iter().rev().find(|(_, from)| *from <= now)?;
    let (since, end) = (whole_seconds(issued_at), whole_seconds(end_of_life(issued_at)));
    let message = format!(
        "the refresh token is from {since}, and such tokens live for 60 days, until {end}; after that a user must authorize again: {what_to_do}, so that it is refreshed"
    );
    Some(Finding { reason, message })
}

/// What is said, and from when on.
fn steps(issued_at: Timestamp) -> [(AgingReason, Timestamp); 3] {
    let end = end_of_life(issued_at);
    [
        (AgingReason::ExpiresWithin14Days, earlier(end, FIRST_WARNING)),
        (AgingReason::ExpiresWithin3Days, earlier(end, LAST_WARNING)),
        (AgingReason::MayHaveExpired, end),
    ]
}
