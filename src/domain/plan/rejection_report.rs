//! What follows from a client's report that the API rejects the access token: at most an earlier refresh. A client may be wrong, or lie,
//! and each refresh risks a lost response: so there is one for each rotation, and not often.

use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{lies_ahead, refresh_due};
use crate::domain::{
    ledger::{grant::Grant, rejection_report::RejectionReport},
    possession::is_proof,
    spec::ResolvedSpec,
    time::{between, later},
};

/// A token that was issued less long ago is not refreshed for a report.
const MIN_AGE: Duration = Duration::from_secs(60);
/// So shortly before a planned refresh, a report changes nothing.
const DUE_SOON: Duration = Duration::from_secs(10);
/// From one report that moves a refresh to the next, at least; or half a token's lifetime.
const MIN_INTERVAL: Duration = Duration::from_secs(600);

/// Why a report changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// This token was reported before.
    Repeated,
    TooNew,
    /// It is refreshed in a moment anyway.
    DueSoon,
    TooFrequent,
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
    if let Some(before) = &grant.rejection_report {
        if before.rotation == grant.rotation {
            return Err(Ignored::Repeated);
        }
        let interval = MIN_INTERVAL.max(current.issue.lifetime() / 2);
        if !lies_ahead(before.at, now) && between(before.at, now) < interval {
            return Err(Ignored::TooFrequent);
        }
    }
    let due = refresh_due(&current.issue, spec.refresh_before, &spec.uid, grant.rotation);
    if grant.claim.is_some() || due <= later(now, DUE_SOON) {
        return Err(Ignored::DueSoon);
    }
    if between(current.issue.issued_at, now) < MIN_AGE {
        return Err(Ignored::TooNew);
    }
    let report = RejectionReport { rotation: grant.rotation, at: now, is_refuted: false };
    Ok(Grant { rejection_report: Some(report), ..grant.clone() })
}

/// Whether the current token was reported, and nothing speaks against it.
pub fn is_open(grant: &Grant) -> bool {
    grant.rejection_report.as_ref().is_some_and(|report| report.rotation == grant.rotation && !report.is_refuted)
}

/// The grant, once the introspection endpoint has called the reported token active.
pub fn refuted(grant: &Grant) -> Grant {
    let report = grant.rejection_report.clone().map(|report| RejectionReport { is_refuted: true, ..report });
    Grant { rejection_report: report, ..grant.clone() }
}
