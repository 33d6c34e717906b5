//! Authorization by link: when links are made, how a code that a browser brought gets into the grant, and when it is too old. All
//! of it is stored in the grant Secret, so any replica can take any step, and a code is stored by the same compare-and-swap as
//! everything else (requirement X5; RFC 6749 section 4.1, RFC 7636).

use std::time::Duration;

use jiff::Timestamp;

use super::{adoption, users::reauth};
use crate::{
    api::{ConditionStatus, Reason},
    domain::{
        ledger::{
            authorization::{AuthorizationLink, Code, CodeRecord, Session, SessionEnd},
            grant::Grant,
            held::{HaltReason, StoredToken},
        },
        snapshot::{GrantSecret, Snapshot},
        spec::TokenUrl,
        time::{between, later},
        token::{AuthorizationCode, CodeVerifier, Fingerprint, LinkKey},
    },
};

/// How long a leader lets a code wait for its exchange. Servers let it live for ten minutes at most (RFC 6749 section 4.1.2).
pub const CODE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// By how much the clocks of two replicas may differ before a code counts as put back from a backup.
pub const CODE_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// A code as it comes with a callback whose state was checked.
pub struct AuthorizationResponse {
    /// As it is in `state`.
    pub id: String,
    /// Of what the browser's cookie holds.
    pub browser: Fingerprint,
    pub code: AuthorizationCode,
    pub verifier: CodeVerifier,
    /// The server that the user was sent to.
    pub server: TokenUrl,
    /// The client that the user was asked to authorize.
    pub client_id: Fingerprint,
    /// The one in the authorization request.
    pub redirect_uri: String,
}

/// Whether a link is to be created: a user must authorize, and there is none or it is too old.
pub fn is_due(snapshot: &Snapshot, now: Timestamp) -> bool {
    let stands = snapshot.grant.ours().and_then(|grant| grant.value.by_link.link.as_ref());
    is_wanted(snapshot, now) && stands.is_none_or(|link| link.ends_at() <= now)
}

/// When the link is to be replaced, or a code is too old.
pub fn next(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let grant = &snapshot.grant.ours()?.value;
    let links = grant.by_link.link.as_ref().filter(|_| is_wanted(snapshot, now)).map(AuthorizationLink::ends_at);
    let code =
        grant.by_link.code.as_ref().map(|_| later(now, CODE_LIFETIME.saturating_sub(snapshot.local.code_seen_for)));
    [links, code].into_iter().flatten().min()
}

/// Whether a user must authorize, and a link could help.
fn is_wanted(snapshot: &Snapshot, now: Timestamp) -> bool {
    let is_required = || reauth::reauth(snapshot).reason.status() == ConditionStatus::True;
    snapshot.can_have_link() && (is_required() || is_stopped(snapshot, now))
}

/// Whether the server rejects the client or the request, and pods have no token any more. Some servers say so of a token that has
/// expired: then an authorization helps.
fn is_stopped(snapshot: &Snapshot, now: Timestamp) -> bool {
    let Some(grant) = snapshot.grant.ours().map(|grant| &grant.value) else { return false };
    let held = grant.current.as_ref().map(|pair| &pair.refresh).into_iter().chain(&grant.candidate);
    let is_halted = |held: &StoredToken| {
        let reason = held.attempts.halt().map(|halt| halt.reason);
        matches!(reason, Some(HaltReason::InvalidClient | HaltReason::InvalidRequest))
    };
    let usable = snapshot.token.published().and_then(|published| published.usable(now));
    usable.is_none() && held.into_iter().any(is_halted)
}

/// The link of a connection that needs a user, as long as it is valid.
pub fn url(snapshot: &Snapshot, now: Timestamp) -> Option<String> {
    let base = snapshot.links.as_ref()?;
    let link = snapshot.grant.ours()?.value.by_link.link.as_ref()?;
    is_wanted(snapshot, now).then(|| link.link(base, &snapshot.spec, now))?
}

/// The grant with an invitation, and the version of the Secret to replace (none: create it). None where there is nothing
/// that it could be written to.
pub fn create(snapshot: &Snapshot, key: LinkKey, now: Timestamp) -> Option<(Grant, Option<String>)> {
    let (mut grant, replaces) = adoption::base(snapshot)?;
    grant.by_link.link = Some(AuthorizationLink { key, made_at: now });
    Some((grant, replaces))
}

/// The grant with a code that a browser brought. The links, and every state that was made from their key, are void from
/// here on: a callback counts once.
pub fn accept(grant: &Grant, arrival: AuthorizationResponse, now: Timestamp) -> Grant {
    let AuthorizationResponse { id, browser, code, verifier, server, client_id, redirect_uri } = arrival;
    let fingerprint = code.fingerprint();
    let mut grant = grant.clone();
    grant.by_link.link = None;
    // In the order of authorizations: the newest one that was accepted wins.
    grant.note_authorization(&fingerprint, &server);
    grant.by_link.session = Some(Session { id, browser, code: fingerprint.clone(), end: None });
    let client_id = Some(client_id);
    let record = CodeRecord { fingerprint, server, client_id, redirect_uri, received_at: now };
    grant.by_link.code = Some(Code { code, verifier, record });
    grant
}

/// How a visit ended between these two, if one did.
pub fn ended(before: &Grant, after: &Grant) -> Option<SessionEnd> {
    let waited = before.by_link.session.as_ref().filter(|session| session.end.is_none())?;
    after.by_link.session.as_ref().filter(|session| session.id == waited.id)?.end
}

/// The grant without a code that can no longer be used; none if there is no such code. Wall time shows only roughly how
/// long a code has waited: the replica that stored it may have another clock.
/// `abandoned`: the claim in the grant may be taken over.
pub fn forgotten(snapshot: &Snapshot, abandoned: bool, now: Timestamp) -> Option<Grant> {
    let GrantSecret::Ours(grant) = &snapshot.grant else { return None };
    let mut grant = grant.value.clone();
    let is_elsewhere = |code: &Code| snapshot.spec.token_url().is_some_and(|url| *url != code.record.server);
    let aged = snapshot.local.code_seen_for >= CODE_LIFETIME;
    let is_old = |code: &Code| {
        let received_at = code.record.received_at;
        between(received_at, now).max(between(now, received_at)) > CODE_TOLERANCE
    };
    let too_late = grant.by_link.code.as_ref().is_some_and(|code| aged || is_old(code) || is_elsewhere(code));
    if too_late {
        let code = grant.by_link.code.take()?;
        grant.end_session(&code.record.fingerprint, SessionEnd::TooLate);
        return Some(grant);
    }
    let claimed = grant.claim.as_ref().filter(|_| abandoned)?.fingerprint.clone();
    let is_open =
        grant.by_link.session.as_ref().is_some_and(|session| session.code == claimed && session.end.is_none());
    is_open.then(|| {
        let started = grant.claim.take().map(|claim| claim.started_at);
        grant.last_sent_at = grant.last_sent_at.max(started);
        grant.end_session(&claimed, SessionEnd::Lost);
        grant
    })
}
