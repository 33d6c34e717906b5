//! Consent by link: when links are made, how a code that a browser brought comes into the grant, and when it is too old. All of
//! it stands in the grant Secret, so any replica can take any step, and a code is taken in by the same compare-and-swap as
//! everything else (requirement X5; RFC 6749 section 4.1, RFC 7636).

use std::time::Duration;

use jiff::Timestamp;

use super::{adoption, reauth};
use crate::domain::{
    ledger::{
        authorization::{Code, CodeRecord, Invitation, InvitationRecord, Visit, VisitEnd},
        grant::Grant,
    },
    snapshot::observed::{GrantSecret, Observed},
    time::{between, later},
    token::{AuthorizationCode, CodeVerifier, Fingerprint, LinkKey},
    wish::TokenUrl,
};

/// How long a leader lets a code wait for its exchange. Servers let it live for ten minutes at most (RFC 6749 section 4.1.2).
pub const CODE_LIFE: Duration = Duration::from_secs(5 * 60);
/// By how much the clocks of two replicas may differ before a code counts as put back from a backup.
pub const CODE_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// A code as it comes with a callback whose state was checked.
pub struct Arrival {
    /// As it stands in the state.
    pub id: String,
    /// Of what the browser's cookie holds.
    pub browser: Fingerprint,
    /// The code.
    pub code: AuthorizationCode,
    /// The verifier of its challenge.
    pub verifier: CodeVerifier,
    /// The server that the human was sent to.
    pub server: TokenUrl,
    /// The client that the user was asked to authorise.
    pub client_id: Fingerprint,
    /// As the human was sent there with.
    pub redirect_uri: String,
}

/// Whether an invitation is to be written: a human is needed, and the links are none or too old.
pub fn is_due(observed: &Observed, now: Timestamp) -> bool {
    let stands = observed.grant.ours().and_then(|grant| grant.value.invitation.as_ref());
    is_wanted(observed) && stands.is_none_or(|invitation| invitation.ends_at() <= now)
}

/// When the links are to be made anew, or a code is too old.
pub fn next(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let grant = &observed.grant.ours()?.value;
    let links = grant.invitation.as_ref().filter(|_| is_wanted(observed)).map(Invitation::ends_at);
    let code = grant.code.as_ref().map(|_| later(now, CODE_LIFE.saturating_sub(observed.sighting.code_seen_for)));
    [links, code].into_iter().flatten().min()
}

/// Whether a human is needed, and a link could help.
fn is_wanted(observed: &Observed) -> bool {
    observed.can_have_link() && reauth::consent(observed).reason.status() == "True"
}

/// The link of a connection that needs a human, as long as it is good.
pub fn url(observed: &Observed, now: Timestamp) -> Option<String> {
    let base = observed.links.as_ref()?;
    let invitation = observed.grant.ours()?.value.invitation.as_ref()?;
    is_wanted(observed).then(|| invitation.link(base, &observed.wish, now))?
}

/// The grant with an invitation, and the version of the Secret to replace (none: create it). None where there is nothing
/// that it could be written to.
pub fn invite(observed: &Observed, key: LinkKey, now: Timestamp) -> Option<(Grant, Option<String>)> {
    let (mut grant, replaces) = adoption::base(observed)?;
    grant.invitation = Some(Invitation { key, record: InvitationRecord { made_at: now } });
    Some((grant, replaces))
}

/// The grant with a code that a browser brought. The links, and every state that was made from their key, are void from
/// here on: a callback counts once.
pub fn accept(grant: &Grant, arrival: Arrival, now: Timestamp) -> Grant {
    let Arrival { id, browser, code, verifier, server, client_id, redirect_uri } = arrival;
    let fingerprint = code.fingerprint();
    let mut grant = grant.clone();
    grant.invitation = None;
    // In the order of consents: the newest one that is proved wins.
    grant.note_consent(&fingerprint, &server);
    grant.visit = Some(Visit { id, browser, code: fingerprint.clone(), end: None });
    let client_id = Some(client_id);
    let record = CodeRecord { fingerprint, server, client_id, redirect_uri, received_at: now };
    grant.code = Some(Code { code, verifier, record });
    grant
}

/// How a visit ended between these two, if one did.
pub fn ended(before: &Grant, after: &Grant) -> Option<VisitEnd> {
    let waited = before.visit.as_ref().filter(|visit| visit.end.is_none())?;
    after.visit.as_ref().filter(|visit| visit.id == waited.id)?.end
}

/// The grant without a code that nobody may or can exchange any more; none if there is no such code. How long a code has
/// waited is told by times of day only roughly: the replica that took it in may have another clock.
/// `abandoned`: the claim that stands there may be taken over.
pub fn forgotten(observed: &Observed, abandoned: bool, now: Timestamp) -> Option<Grant> {
    let GrantSecret::Ours(grant) = &observed.grant else { return None };
    let mut grant = grant.value.clone();
    let is_elsewhere = |code: &Code| observed.wish.token_url().is_some_and(|url| *url != code.record.server);
    let aged = observed.sighting.code_seen_for >= CODE_LIFE;
    let is_old = |code: &Code| {
        let received_at = code.record.received_at;
        between(received_at, now).max(between(now, received_at)) > CODE_TOLERANCE
    };
    let too_late = grant.code.as_ref().is_some_and(|code| aged || is_old(code) || is_elsewhere(code));
    if too_late {
        let code = grant.code.take()?;
        grant.end_visit(&code.record.fingerprint, VisitEnd::TooLate);
        return Some(grant);
    }
    let claimed = grant.claim.as_ref().filter(|_| abandoned)?.fingerprint.clone();
    let is_open = grant.visit.as_ref().is_some_and(|visit| visit.code == claimed && visit.end.is_none());
    is_open.then(|| {
        let started = grant.claim.take().map(|claim| claim.started_at);
        grant.last_sent_at = grant.last_sent_at.max(started);
        grant.end_visit(&claimed, VisitEnd::Lost);
        grant
    })
}
