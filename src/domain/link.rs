//! Consent by link: what the ledger knows of it. A key, from which links, states and verifiers are made; the code that a
//! browser brought; and what became of it. All of it stands in the grant Secret, so any replica can take any step, and a
//! code is taken in by the same compare-and-swap as everything else (requirement X5; RFC 6749 section 4.1, RFC 7636).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::Url;

use super::{
    adoption,
    grant::Grant,
    observed::{GrantSecret, Observed},
    reauth,
    time::{between, later},
    token::{AuthorizationCode, ClientCredentials, CodeVerifier, Fingerprint, LinkKey},
    wish::{Server, TokenUrl, Wish},
};

/// How long a link is good.
pub const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a human may take at the authorisation server.
pub const VISIT_LIFE: Duration = Duration::from_secs(15 * 60);
/// How long a leader lets a code wait for its exchange. Servers let it live for ten minutes at most (RFC 6749 section 4.1.2).
pub const CODE_LIFE: Duration = Duration::from_secs(5 * 60);
/// By how much the clocks of two replicas may differ before a code counts as put back from a backup.
pub const CODE_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// While a human is needed: what links are made from. Without it they are void.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Invitation {
    /// 244 random bits or more.
    pub key: LinkKey,
    /// All about it that is no secret.
    pub record: InvitationRecord,
}

/// All about an invitation that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationRecord {
    /// When its key was made.
    pub made_at: Timestamp,
}

/// A code that a browser brought. Whoever claims it takes it out: it is sent once or never.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// What the first pair is bought with.
    pub code: AuthorizationCode,
    /// What proves that we asked for it.
    pub verifier: CodeVerifier,
    /// All about it that is no secret.
    pub record: CodeRecord,
}

/// All about a code that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeRecord {
    /// Of the code.
    pub fingerprint: Fingerprint,
    /// The server that the human was sent to.
    pub server: TokenUrl,
    /// The client that the user was asked to authorise; none: by an operator that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
    /// As the human was sent there with.
    pub redirect_uri: String,
    /// When the browser brought it.
    pub received_at: Timestamp,
}

/// The last human who came back with a code, and what became of it: for the page that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Visit {
    /// As it stands in the state.
    pub id: String,
    /// Of what the browser's cookie holds: nobody else is shown the page.
    pub browser: Fingerprint,
    /// Of the code.
    pub code: Fingerprint,
    /// None as long as it waits or is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<VisitEnd>,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VisitEnd {
    /// The code brought a pair, and it is stored.
    Connected,
    /// The server refused the code.
    Refused,
    /// The server refused the client, or called the request wrong.
    Misconfigured,
    /// The server could not be reached, was too busy, or gave no answer that says what became of the code.
    Failed,
    /// The process that exchanged it died; nobody knows what became of it.
    Lost,
    /// A newer consent was proved first.
    Replaced,
    /// It was not exchanged in time: the connection was suspended, names another server now, or has no client Secret, or one of
    /// another client.
    TooLate,
}

impl VisitEnd {
    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Misconfigured => "misconfigured",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::TooLate => "too_late",
        }
    }

    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Connected, Self::Refused, Self::Misconfigured, Self::Failed, Self::Lost, Self::Replaced, Self::TooLate];

    /// What became of the consent and what to do, in words; none where nothing is to be done.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Connected | Self::Replaced => None,
            Self::Refused => Some("the server refused the code that the browser brought: open the link once more"),
            Self::Misconfigured => Some(
                "the server refuses the client or the redirect URI, see status.lastFailure: mend that, and open the link once more",
            ),
            Self::Failed => Some(
                "the server could not be reached, or its answer was lost, see status.lastFailure: open the link once more",
            ),
            Self::Lost => Some("the operator was ended while the code was exchanged: open the link once more"),
            Self::TooLate => Some(
                "the code was not exchanged in time: the connection was suspended or changed, or its client Secret is missing or has another client_id than the link; fix that, and open the link once more",
            ),
        }
    }
}

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

impl Invitation {
    /// When its links end.
    pub fn ends_at(&self) -> Timestamp {
        later(self.record.made_at, LINK_LIFE)
    }

    /// The part of a link that nobody can guess.
    pub fn ticket(&self, uid: &str) -> String {
        self.seal(&["ticket", uid])
    }

    /// Whether this is the ticket of a link that is still good.
    pub fn admits(&self, ticket: &str, uid: &str, now: Timestamp) -> bool {
        now < self.ends_at() && is_equal(&self.ticket(uid), ticket)
    }

    /// The link below this address, as long as it is good.
    pub fn link(&self, base: &str, wish: &Wish, now: Timestamp) -> Option<String> {
        let Wish { namespace, name, uid, .. } = wish;
        let ticket = self.ticket(uid);
        (now < self.ends_at()).then(|| format!("{base}/authorize/{namespace}/{name}?ticket={ticket}"))
    }

    /// Where a human is sent to consent (RFC 6749 section 4.1.1, RFC 7636 section 4.3); none if that is no address.
    pub fn question(
        &self,
        page: &str,
        client_id: &str,
        redirect_uri: &str,
        scopes: &[String],
        way: &Way<'_>,
    ) -> Option<String> {
        let (state, challenge, scopes) = (self.state(way), challenge(&self.verifier(way)), scopes.join(" "));
        let asking = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let scope = (!scopes.is_empty()).then_some(("scope", scopes.as_str()));
        Url::parse_with_params(page, asking.into_iter().chain(scope)).ok().map(String::from)
    }

    /// What ties a human's way to the server and back together.
    pub fn state(&self, way: &Way<'_>) -> String {
        let VisitId { id, ends_at, client_id } = way.visit;
        format!("{id}.{ends_at:x}.{client_id}.{}", self.mac("state", way))
    }

    /// Whether this state was made by us, for this way.
    pub fn knows(&self, state: &str, way: &Way<'_>) -> bool {
        is_equal(&self.state(way), state)
    }

    /// RFC 7636 section 4.1: 43 characters.
    pub fn verifier(&self, way: &Way<'_>) -> CodeVerifier {
        CodeVerifier::new(self.mac("verifier", way))
    }

    fn mac(&self, what: &str, way: &Way<'_>) -> String {
        let Way { uid, visit, browser, server } = way;
        let VisitId { id, ends_at, client_id } = visit;
        self.seal(&[what, uid, id, &ends_at.to_string(), client_id.as_str(), browser, server.as_str()])
    }

    /// HMAC-SHA256 over the parts and their lengths, in base64url.
    fn seal(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.key.expose().as_bytes()));
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        URL_SAFE_NO_PAD.encode(context.sign())
    }
}

/// A human's way to the server and back: for one connection, in one browser, to one server (I8).
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The connection's.
    pub uid: &'a str,
    /// The visit.
    pub visit: &'a VisitId,
    /// What the browser's cookie holds.
    pub browser: &'a str,
    /// Where the code will be exchanged.
    pub server: &'a TokenUrl,
}

fn is_equal(ours: &str, theirs: &str) -> bool {
    ours.as_bytes().ct_eq(theirs.as_bytes()).into()
}

/// The challenge of a verifier (RFC 7636 section 4.2, S256).
pub fn challenge(verifier: &CodeVerifier) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()))
}

/// Names one human's way to the server and back, and says until when, and for which client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisitId {
    /// Random letters and digits.
    pub id: String,
    /// Seconds since 1970.
    pub ends_at: i64,
    /// The client whose name is in the link: the code is issued to it, whatever the client Secret says later.
    pub client_id: Fingerprint,
}

impl VisitId {
    /// A visit that begins now, for this client. `id` is random.
    pub fn new(id: String, client: &ClientCredentials, now: Timestamp) -> Self {
        Self { id, ends_at: later(now, VISIT_LIFE).as_second(), client_id: client.id_fingerprint() }
    }

    /// From a state that may be anybody's.
    pub fn read(state: &str) -> Option<Self> {
        let (id, rest) = state.split_once('.')?;
        let (ends_at, rest) = rest.split_once('.')?;
        let (client_id, _mac) = rest.split_once('.')?;
        let is_ours = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (ends_at, client_id) = (i64::from_str_radix(ends_at, 16).ok()?, Fingerprint::read(client_id)?);
        is_ours.then(|| Self { id: id.to_owned(), ends_at, client_id })
    }

    /// Whether the human took too long.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at <= now.as_second()
    }
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
    is_possible(observed) && reauth::consent(observed).reason.status() == "True"
}

/// Whether a link could help if a human were needed. What may be a backup is not written over for that: somebody may still
/// put the right one in its place.
pub fn is_possible(observed: &Observed) -> bool {
    let can = |server: &Server| server.authorization_url.is_ok();
    let may_be_written = match &observed.grant {
        GrantSecret::Absent | GrantSecret::Ours(_) => true,
        GrantSecret::Predecessor(_) | GrantSecret::Foreign | GrantSecret::Unreadable(_) => false,
    };
    let wish = &observed.wish;
    observed.links.is_some() && may_be_written && wish.server.as_ref().is_ok_and(can) && !wish.suspend && !wish.deleting
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
