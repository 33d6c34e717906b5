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
}

impl Client {
    /// A client with a secret, or a public one without, that may authenticate in either way.
    #[must_use]
    pub fn new(secret: Option<String>) -> Self {
        Self { secret, authentications: every_authentication() }
    }

    /// Whether these credentials prove to be this client's.
    pub(super) fn accepts(&self, credentials: &Credentials) -> bool {
        // RFC 6749 lets a client with an empty secret omit it: empty and absent are the same.
        let expected = self.secret.as_deref().filter(|secret| !secret.is_empty());
        let presented = credentials.client_secret.as_deref().filter(|secret| !secret.is_empty());
        expected == presented && self.authentications.contains(&credentials.authentication)
    }
}

/// Shows everything but the secret.
impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("authentications", &self.authentications)
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
