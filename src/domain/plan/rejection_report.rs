//! What follows from a client's report that the API rejects the access token: at most an earlier refresh. A client may be wrong, or lie,
//! and each refresh risks a lost response: so there is one for each rotation, and not often.

use std::time::Duration;

use jiff::Timestamp;

use super::schedule::refresh_due;
use crate::domain::{
    ledger::{grant::Grant, rejection_report::RejectionReport},
    possession::is_proof,
    spec::ResolvedSpec,
    time::later,
};

/// A token is not refreshed for a report before it is this old.
const MIN_AGE: Duration = Duration::from_secs(60);
/// So shortly before a planned refresh, a report changes nothing.
const DUE_SOON: Duration = Duration::from_secs(10);
/// From one refresh that a report moved forward to the next, at least; or half a token's lifetime, if that is longer.
const MIN_INTERVAL: Duration = Duration::from_secs(600);

/// Why a report changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// This token was reported before.
    Repeated,
    /// It is refreshed anyway before a report may have an effect, or in a moment.
    DueSoon,
    Suspended,
}

/// Whether it was made by one who has the current access token.
pub fn is_proved(grant: &Grant, proof: &str) -> bool {
    grant.current.as_ref().and_then(|current| current.access.as_ref()).is_some_and(|access| is_proof(proof, access))
}

/// The grant with a report of its current access token, whose proof was checked.
///
/// # Errors
/// Says why the report changes nothing.
pub fn note(grant: &Grant, spec: &ResolvedSpec, now: Timestamp) -> Result<Grant, Ignored> {
    let Some(current) = &grant.current else { return Err(Ignored::DueSoon) };
    if spec.suspend {
        return Err(Ignored::Suspended);
    }
    let interval = MIN_INTERVAL.max(current.issue.lifetime() / 2);
    // None lies further ahead than a token lives. A clock that was wrong must not silence clients for years.
    let latest = later(now, interval.saturating_mul(2));
    let before = grant.rejection_report.as_ref().filter(|before| before.due_at <= latest);
    // What the server contradicted may be true some time later.
    let is_old = |before: &RejectionReport| before.is_refuted && later(before.due_at, MIN_INTERVAL) <= now;
    if before.is_some_and(|before| before.rotation == grant.rotation && !is_old(before)) {
        return Err(Ignored::Repeated);
    }
    let earliest = before.filter(|before| !before.is_refuted).map(|before| later(before.due_at, interval));
    let due_at = now.max(later(current.issue.issued_at, MIN_AGE)).max(earliest.unwrap_or(now));
    let planned = refresh_due(&current.issue, spec.refresh_before, &spec.uid, grant.rotation);
    if grant.claim.is_some() || planned <= later(due_at, DUE_SOON) {
        return Err(Ignored::DueSoon);
    }
    let report = RejectionReport { rotation: grant.rotation, due_at, is_refuted: false };
    Ok(Grant { rejection_report: Some(report), ..grant.clone() })
}

/// When the current token is refreshed for a report; none: it was not reported, or something speaks against that.
pub fn due(grant: &Grant) -> Option<Timestamp> {
    let report = grant.rejection_report.as_ref()?;
    (report.rotation == grant.rotation && !report.is_refuted).then_some(report.due_at)
}

/// The grant, once the introspection endpoint has spoken against the report.
pub fn refuted(grant: &Grant) -> Grant {
    let report = grant.rejection_report.clone().map(|report| RejectionReport { is_refuted: true, ..report });
    Grant { rejection_report: report, ..grant.clone() }
}
