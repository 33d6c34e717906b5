//! An authorization in progress, as the ledger stores it: a key, from which links, states and verifiers are derived; the code that
//! a browser brought; and its result (requirement X5; RFC 6749 section 4.1, RFC 7636).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use url::Url;

use crate::domain::{
    spec::{ResolvedSpec, TokenUrl},
    time::later,
    token::{AuthorizationCode, ClientCredentials, CodeVerifier, Fingerprint, LinkKey},
};

/// How long a link is good.
pub const LINK_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a user may take at the authorization server.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// An authorization by link: its steps follow each other, and the result of the last one stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LinkAuthorization {
    /// While a user must authorize: what links are derived from.
    pub link: Option<AuthorizationLink>,
    /// A code that a browser brought and no process has claimed yet.
    pub code: Option<Code>,
    /// The last user who returned with a code.
    pub session: Option<Session>,
}

/// What links are derived from. Without it they are invalid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthorizationLink {
    /// 244 random bits or more.
    pub key: LinkKey,
    pub made_at: Timestamp,
}

/// A code that a browser brought. A claim removes it: it is sent once or never.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// Exchanged for the first pair.
    pub code: AuthorizationCode,
    /// What proves that we asked for it.
    pub verifier: CodeVerifier,
    pub record: CodeRecord,
}

/// All about a code that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeRecord {
    /// The fingerprint of the code.
    pub fingerprint: Fingerprint,
    /// The server that the user was sent to.
    pub server: TokenUrl,
    /// The client that the user was asked to authorize; none: by an operator that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
    /// The one in the authorization request.
    pub redirect_uri: String,
    pub received_at: Timestamp,
}

/// The last user who returned with a code, and the result: for the page that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// As it is in `state`.
    pub id: String,
    /// Of what the browser's cookie holds: no other browser is shown the page.
    pub browser: Fingerprint,
    /// The fingerprint of the code.
    pub code: Fingerprint,
    /// None as long as it waits or is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<SessionEnd>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionEnd {
    /// The code brought a pair, and it is stored.
    Connected,
    Rejected,
    /// The server refused the client, or called the request wrong.
    Misconfigured,
    /// The server could not be reached, was too busy, or gave no answer that says what became of the code.
    Failed,
    /// The process that sent it ended; the outcome is unknown.
    Lost,
    /// A newer authorization was accepted first.
    Replaced,
    /// It was not exchanged in time: the connection was suspended, names another server now, or has no client Secret, or one of
    /// another client.
    TooLate,
}

impl SessionEnd {
    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Rejected => "rejected",
            Self::Misconfigured => "misconfigured",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::TooLate => "too_late",
        }
    }

    pub const ALL: [Self; 7] =
        [Self::Connected, Self::Rejected, Self::Misconfigured, Self::Failed, Self::Lost, Self::Replaced, Self::TooLate];

    /// What became of the authorization and what to do, in words; none where nothing is to be done.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Connected | Self::Replaced => None,
            Self::Rejected => Some("the server rejected the authorization code: open the link again"),
            Self::Misconfigured => Some(
                "the server rejects the client or the redirect URI, see status.lastFailure: fix that, and open the link again",
            ),
            Self::Failed => Some(
                "the server could not be reached, or its response was lost, see status.lastFailure: open the link again",
            ),
            Self::Lost => Some("the operator was stopped while it used the authorization code: open the link again"),
            Self::TooLate => Some(
                "the authorization code was not used in time: the connection was suspended or changed, or its client Secret is missing or has another client_id than the link; fix that, and open the link again",
            ),
        }
    }
}

impl AuthorizationLink {
    pub fn ends_at(&self) -> Timestamp {
        later(self.made_at, LINK_LIFETIME)
    }

    /// The part of a link that cannot be guessed.
    pub fn ticket(&self, uid: &str) -> String {
        self.seal(&["ticket", uid])
    }

    /// Whether this is the ticket of a link that is still good.
    pub fn admits(&self, ticket: &str, uid: &str, now: Timestamp) -> bool {
        now < self.ends_at() && is_equal(&self.ticket(uid), ticket)
    }

    /// The link below this address, as long as it is good.
    pub fn link(&self, base: &str, spec: &ResolvedSpec, now: Timestamp) -> Option<String> {
        let ResolvedSpec { namespace, name, uid, .. } = spec;
        let ticket = self.ticket(uid);
        (now < self.ends_at()).then(|| format!("{base}/authorize/{namespace}/{name}?ticket={ticket}"))
    }

    /// The authorization request (RFC 6749 section 4.1.1, RFC 7636 section 4.3); none if the page is not a URL.
    pub fn authorization_request(
        &self,
        page: &str,
        client_id: &str,
        redirect_uri: &str,
        scopes: &[String],
        session: &AuthorizationSession<'_>,
    ) -> Option<String> {
        let (state, challenge, scopes) = (self.state(session), challenge(&self.verifier(session)), scopes.join(" "));
        let parameters = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let scope = (!scopes.is_empty()).then_some(("scope", scopes.as_str()));
        Url::parse_with_params(page, parameters.into_iter().chain(scope)).ok().map(String::from)
    }

    /// `state`: what binds the response to the request.
    pub fn state(&self, session: &AuthorizationSession<'_>) -> String {
        let SessionId { id, ends_at, client_id } = session.session_id;
        format!("{id}.{ends_at:x}.{client_id}.{}", self.mac("state", session))
    }

    /// Whether this state was made by us, for this way.
    pub fn knows(&self, state: &str, session: &AuthorizationSession<'_>) -> bool {
        is_equal(&self.state(session), state)
    }

    /// RFC 7636 section 4.1: 43 characters.
    pub fn verifier(&self, session: &AuthorizationSession<'_>) -> CodeVerifier {
        CodeVerifier::new(self.mac("verifier", session))
    }

    fn mac(&self, what: &str, session: &AuthorizationSession<'_>) -> String {
        let AuthorizationSession { uid, session_id, browser, server } = session;
        let SessionId { id, ends_at, client_id } = session_id;
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

/// A user's session at the server: for one connection, in one browser, at one server (I8).
#[derive(Clone, Copy, Debug)]
pub struct AuthorizationSession<'a> {
    /// The connection's.
    pub uid: &'a str,
    pub session_id: &'a SessionId,
    /// What the browser's cookie holds.
    pub browser: &'a str,
    pub server: &'a TokenUrl,
}

fn is_equal(ours: &str, theirs: &str) -> bool {
    ours.as_bytes().ct_eq(theirs.as_bytes()).into()
}

/// The challenge of a verifier (RFC 7636 section 4.2, S256).
pub fn challenge(verifier: &CodeVerifier) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()))
}

/// Names one session, with its end and its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// Random letters and digits.
    pub id: String,
    /// Seconds since 1970.
    pub ends_at: i64,
    /// The client whose name is in the link: the code is issued to it, whatever the client Secret says later.
    pub client_id: Fingerprint,
}

impl SessionId {
    /// A visit that begins now, for this client. `id` is random.
    pub fn new(id: String, client: &ClientCredentials, now: Timestamp) -> Self {
        Self { id, ends_at: later(now, SESSION_LIFETIME).as_second(), client_id: client.id_fingerprint() }
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

    /// Whether the user took too long.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at <= now.as_second()
    }
}
