//! What could be an attack: a grant that is rejected long before its end, Secrets that another program wrote, one grant in two
//! connections. It is counted and reported; what it means, people must find out (requirement O2).

use jiff::Timestamp;

use crate::{
    api::{PleoConnectionStatus, ReadyReason, ReauthReason, SecuritySignal, names},
    domain::{
        ledger::record::Unreadable,
        plan::{
            projection::whole_seconds,
            users::aging::{FIRST_WARNING, end_of_life},
        },
        snapshot::{GrantSecret, InitialGrant, InitialToken, Sharing, Snapshot},
        time::earlier,
    },
};

/// Something that people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    pub kind: SecuritySignal,
    /// In words, with what to do.
    pub message: String,
}

/// Who wrote into a Secret of ours, as the API server notes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edit {
    /// The Secret.
    pub secret: String,
    /// The field manager: the program that did it.
    pub by: String,
    pub at: Option<Timestamp>,
}

/// What a step from one status to the next shows, and what others wrote since. Each is reported once, where the
/// caller sees to it that an edit is, and that a shared grant is.
pub fn signals(
    snapshot: &Snapshot,
    before: &PleoConnectionStatus,
    after: &PleoConnectionStatus,
    now: Timestamp,
    edits: &[Edit],
) -> Vec<Signal> {
    // Where it is known who did it, once is enough.
    let damaged = damaged(snapshot, before, after).filter(|_| edits.is_empty());
    let steps = [rejected_early(snapshot, before, after, now), damaged, shared(snapshot, before)];
    steps.into_iter().flatten().chain(edits.iter().map(edited)).collect()
}

fn edited(edit: &Edit) -> Signal {
    let Edit { secret, by, at } = edit;
    let when = at.map_or_else(String::new, |at| format!(" at {}", whole_seconds(at)));
    // The name is the client's own choice.
    let by: String = by.chars().filter(|char| !char.is_control()).take(64).collect();
    Signal {
        kind: SecuritySignal::SecretEdited,
        message: format!(
            "{by} wrote into the Secret {secret}{when}; only the operator should: find out who did, and who else may"
        ),
    }
}

/// The working grant was rejected although it was young. A rejection after a lost response is our own loss.
fn rejected_early(
    snapshot: &Snapshot,
    before: &PleoConnectionStatus,
    after: &PleoConnectionStatus,
    now: Timestamp,
) -> Option<Signal> {
    let is_news = after.rejected_rotation.is_some() && after.rejected_rotation != before.rejected_rotation;
    let issued_at = after.last_refresh_time.as_ref()?.0;
    let is_young = now < earlier(end_of_life(issued_at), FIRST_WARNING);
    let refused = snapshot.grant.ours().and_then(|grant| grant.value.last_rejection.as_ref());
    let by_the_server = refused.is_some_and(|refused| refused.reason.reauth() != ReauthReason::RotationLost);
    (is_news && is_young && by_the_server).then(|| Signal {
        kind: SecuritySignal::RejectedEarly,
        message: format!(
            "the server refused a refresh token of {}, and they live for 60 days: if no one revoked it, someone else presented an old one: find out who has it",
            whole_seconds(issued_at)
        ),
    })
}

/// The grant Secret was changed so that it cannot be used: edited, or put back from a backup.
fn damaged(snapshot: &Snapshot, before: &PleoConnectionStatus, after: &PleoConnectionStatus) -> Option<Signal> {
    let (reason, what) = match &snapshot.grant {
        GrantSecret::Unreadable(Unreadable::Damaged(why)) => (ReadyReason::GrantUnreadable.as_str(), *why),
        GrantSecret::Stale(grant) if grant.value.connection == snapshot.spec.uid => {
            (ReauthReason::GrantRestored.as_str(), "an older one was put in its place")
        }
        GrantSecret::Unreadable(Unreadable::Newer(_))
        | GrantSecret::Stale(_)
        | GrantSecret::Absent
        | GrantSecret::Ours(_)
        | GrantSecret::NotOwned => return None,
    };
    let secret = names::grant_secret(&snapshot.spec.name);
    (after.has_reason(reason) && !before.has_reason(reason)).then(|| Signal {
        kind: SecuritySignal::SecretEdited,
        message: format!(
            "another program wrote to the Secret {secret}: {what}; only the operator should: find out which one, and who else may"
        ),
    })
}

/// A token that another connection adopted is in the initial grant, whatever else is reported of this one.
fn shared(snapshot: &Snapshot, before: &PleoConnectionStatus) -> Option<Signal> {
    let InitialGrant::Present(InitialToken { sharing: Sharing::With(other), .. }) = &snapshot.initial else {
        return None;
    };
    let is_news = !before.has_reason(ReadyReason::GrantShared.as_str());
    is_news.then(|| Signal {
        kind: SecuritySignal::GrantShared,
        message: format!(
            "the refresh token in the initial grant is one that the connection {other} adopted; it is not sent: find out who put it there"
        ),
    })
}
