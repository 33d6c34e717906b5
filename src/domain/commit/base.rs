//! What is settled against, when the grant Secret changed while a request was in flight: it may have been deleted, edited, or
//! replaced by a backup, and a pair that was received exists nowhere else (I2).

use super::attempt::Attempt;
use crate::domain::{
    failure::Outcome,
    ledger::{grant::Grant, record::Unreadable},
    snapshot::{GrantSecret, Versioned},
};

/// What the end of an attempt is settled against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    Stored(Box<Versioned<Grant>>),
    /// The grant as it was claimed, in place of this version (empty: there is none).
    Claimed {
        version: String,
    },
    /// The same, if the connection still exists.
    ClaimedIfConnected {
        version: String,
    },
    /// The grant as it was claimed, in place of whichever version is stored: it is damaged.
    ClaimedOverDamaged,
    /// Nothing, until someone removes a Secret that is not the operator's, or not of a format that it knows.
    Blocked,
    /// Nothing: there is no connection any more.
    Nothing,
}

/// What a stored Secret means for an outcome that is to be stored.
pub fn base(stored: GrantSecret, attempt: &Attempt, outcome: &Outcome) -> Base {
    match (stored, outcome) {
        (GrantSecret::Ours(backup), Outcome::Issued(_)) if is_before(&backup.value, attempt) => {
            Base::Claimed { version: backup.version }
        }
        (GrantSecret::Ours(grant), _) => Base::Stored(Box::new(grant)),
        (GrantSecret::Stale(_) | GrantSecret::Absent, Outcome::Failed(_)) => Base::Nothing,
        (GrantSecret::Stale(backup), Outcome::Issued(_)) => Base::ClaimedIfConnected { version: backup.version },
        (GrantSecret::Absent, Outcome::Issued(_)) => Base::ClaimedIfConnected { version: String::new() },
        (GrantSecret::Unreadable(Unreadable::Damaged(_)), _) => Base::ClaimedOverDamaged,
        (GrantSecret::Unreadable(Unreadable::Newer(_)) | GrantSecret::NotOwned, _) => Base::Blocked,
    }
}

/// Whether a stored grant is a backup from before our claim: it knows of no authorization that we do not know.
fn is_before(stored: &Grant, attempt: &Attempt) -> bool {
    let claimed = &attempt.claimed;
    stored.rotation < claimed.rotation && stored.history.iter().all(|old| claimed.has_seen(&old.fingerprint))
}
