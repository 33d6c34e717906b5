//! How a client authenticates to a server, as far as that is known (RFC 6749 section 2.3.1).

use serde::{Deserialize, Serialize};

use crate::domain::{spec::TokenUrl, token::Fingerprint};

/// A way to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// HTTP Basic: `client_secret_basic`.
    Basic,
    /// `client_id` and `client_secret` in the body: `client_secret_post`.
    Body,
}

impl Method {
    /// The one that is tried if this one is rejected.
    pub fn other(self) -> Self {
        match self {
            Self::Basic => Self::Body,
            Self::Body => Self::Basic,
        }
    }

    /// As the status has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Body => "Body",
        }
    }
}

/// What a server showed of a method, for one client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownMethod {
    pub server: TokenUrl,
    pub client_id: Fingerprint,
    pub method: Method,
    pub experience: Experience,
}

/// Whether a method works, or an introspection endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Experience {
    /// The server issued a pair to a client that authenticated so; or called the new token active.
    Works,
    /// The server may not have authenticated the client, and the other method was not tried; or the endpoint is not believed.
    Rejected,
}
