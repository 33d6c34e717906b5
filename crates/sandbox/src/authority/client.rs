//! Clients, and how they prove who they are. Pure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A registered client.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its secret; a public client has none.
    #[serde(default)]
    pub secret: Option<String>,
    /// The ways to authenticate that the server accepts from it; all of them by default.
    #[serde(default = "every_authentication")]
    pub authentications: Vec<Authentication>,
    /// Where its users may be sent back to, each to the letter.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
}

impl Client {
    /// A client with a secret, or a public one without, that may authenticate in either way.
    #[must_use]
    pub fn new(secret: Option<String>) -> Self {
        Self { secret, authentications: every_authentication(), redirect_uris: Vec::new() }
    }

    /// Whether its users may be sent back there: to the letter, but for the port of a loopback address (RFC 8252
    /// section 7.3), which a program on the user's machine cannot choose beforehand.
    pub(super) fn may_send_users_to(&self, redirect_uri: &str) -> bool {
        let any_port = |uri: &str| {
            let rest = uri.strip_prefix("http://127.0.0.1:").or_else(|| uri.strip_prefix("http://[::1]:"))?;
            let (port, path) = rest.split_at(rest.find('/')?);
            port.parse::<u16>().ok().map(|_| path.to_owned())
        };
        self.redirect_uris.iter().any(|registered| {
            let both_loopback = any_port(registered).zip(any_port(redirect_uri));
            registered == redirect_uri || both_loopback.is_some_and(|(registered, asked)| registered == asked)
        })
    }

    /// Whether these credentials prove to be this client's, at the token endpoint.
    pub(super) fn accepts(&self, credentials: &Credentials) -> bool {
        self.has_secret(credentials) && self.authentications.contains(&credentials.authentication)
    }

    pub(super) fn has_secret(&self, credentials: &Credentials) -> bool {
        // RFC 6749 lets a client with an empty secret omit it: empty and absent are the same.
        let expected = self.secret.as_deref().filter(|secret| !secret.is_empty());
        let presented = credentials.client_secret.as_deref().filter(|secret| !secret.is_empty());
        expected == presented
    }
}

/// Shows everything but the secret.
impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("authentications", &self.authentications)
            .field("redirect_uris", &self.redirect_uris)
            .finish()
    }
}

fn every_authentication() -> Vec<Authentication> {
    vec![Authentication::Body, Authentication::Basic]
}

/// How a client authenticates itself at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// `client_id` and `client_secret` in the body.
    Body,
    /// The header `Authorization: Basic …`.
    Basic,
}

/// What a request says about its client.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The client's id as presented.
    pub client_id: String,
    /// The client's secret as presented.
    pub client_secret: Option<String>,
    /// Where in the request the two stood.
    pub authentication: Authentication,
}

/// Shows everything but the secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("authentication", &self.authentication)
            .finish_non_exhaustive()
    }
}
