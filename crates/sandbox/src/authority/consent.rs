//! The authorization endpoint's rules (RFC 6749 section 4.1, RFC 7636): who may ask a user, and the code that a consent
//! brings. Pure.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Authority, Refusal, family::Kind};

/// How long a code may be exchanged: a minute.
pub const CODE_LIFE: Duration = Duration::from_secs(60);

/// What a client asks a user for. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: String,
    /// Where the user is sent back to; one of the client's own.
    pub redirect_uri: String,
    /// Given back as it is.
    pub state: Option<String>,
    /// The SHA-256 of the verifier, in base64url: `code_challenge_method=S256`.
    pub challenge: String,
}

/// Why a user is not asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationError {
    /// Nobody may be sent back: the client or the redirect URI is not to be trusted.
    Page(&'static str),
    /// The user is sent back with `error` and `error_description`.
    Redirect {
        /// Where to.
        redirect_uri: String,
        /// Given back as it is.
        state: Option<String>,
        /// `error`
        code: &'static str,
        /// `error_description`
        description: &'static str,
    },
}

impl AuthorizationRequest {
    /// Whether a code that was issued for this request may be exchanged so.
    pub(super) fn check(&self, redirect_uri: &str, verifier: &str) -> Result<(), Refusal> {
        if self.redirect_uri != redirect_uri {
            return Err(Refusal::WrongRedirectUri);
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
        if !is_verifier(verifier) || URL_SAFE_NO_PAD.encode(digest) != self.challenge {
            return Err(Refusal::WrongVerifier);
        }
        Ok(())
    }
}

impl Authority {
    /// Reads the parameters of an authorization request, strictly: only `code`, only `S256`.
    ///
    /// # Errors
    /// What is wrong, and whether the client may be told of it.
    pub fn authorization(
        &self,
        parameters: &BTreeMap<String, String>,
    ) -> Result<AuthorizationRequest, AuthorizationError> {
        let text = |name: &str| parameters.get(name).cloned();
        let client_id = text("client_id").ok_or(AuthorizationError::Page("client_id is missing"))?;
        let client = self.clients.get(&client_id).ok_or(AuthorizationError::Page("There is no such client"))?;
        let redirect_uri = text("redirect_uri").ok_or(AuthorizationError::Page("redirect_uri is missing"))?;
        if !client.may_send_users_to(&redirect_uri) {
            return Err(AuthorizationError::Page("The redirect_uri is not one that the client has registered"));
        }
        let state = text("state");
        let wrong = |code, description| {
            let (redirect_uri, state) = (redirect_uri.clone(), state.clone());
            Err(AuthorizationError::Redirect { redirect_uri, state, code, description })
        };
        match text("response_type").as_deref() {
            Some("code") => {}
            Some(_) => return wrong("unsupported_response_type", "Only response_type=code is known"),
            None => return wrong("invalid_request", "response_type is missing"),
        }
        if text("code_challenge_method").as_deref() != Some("S256") {
            return wrong("invalid_request", "code_challenge_method must be S256");
        }
        let Some(challenge) = text("code_challenge").filter(|text| is_challenge(text)) else {
            return wrong("invalid_request", "code_challenge must be a SHA-256 in base64url");
        };
        Ok(AuthorizationRequest { client_id, redirect_uri, state, challenge })
    }

    /// The user consents for a connection: a new family, whose first pair a code buys, once, within [`CODE_LIFE`].
    pub fn allow(&mut self, now: Duration, connection: &str, request: AuthorizationRequest) -> String {
        let id = self.begin_family(connection, Some(&request.client_id));
        let code = self.issue(Kind::Code, id, 0, now.saturating_add(CODE_LIFE));
        self.codes.insert(code.clone(), request);
        code
    }
}

/// 43 characters of base64url: 256 bits.
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// RFC 7636 section 4.1.
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
