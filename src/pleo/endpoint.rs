//! The requests that are sent: a refresh token, or once a code, for a new pair (RFC 6749 sections 4.1.3 and 6); and the question
//! whether a token is active (RFC 7662).

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::domain::{
    failure::Outcome,
    introspection::Introspected,
    ledger::authentication::Method,
    spec::{IntrospectionUrl, Server},
    token::{AccessToken, AuthorizationGrant, ClientCredentials, Fingerprint, RefreshToken},
};

/// One token request. It cannot be cloned: sending it moves the token, so a used token cannot be sent.
pub struct TokenRequest {
    pub server: Server,
    pub method: Method,
    /// As whom.
    pub client: ClientCredentials,
    pub presented: AuthorizationGrant,
    /// Asked once more when the connection stands, right before the first byte of the request leaves.
    pub fence: Fence,
}

/// A question about a token, which does not use it (RFC 7662 section 2.1).
pub struct IntrospectionRequest {
    pub server: Server,
    pub url: IntrospectionUrl,
    /// As whom: only the client that the token was issued to may ask.
    pub client: ClientCredentials,
    pub token: QuestionedToken,
}

/// What is asked about.
#[derive(Clone, Debug)]
pub enum QuestionedToken {
    Refresh(RefreshToken),
    Access(AccessToken),
}

impl QuestionedToken {
    /// The token itself.
    pub fn expose(&self) -> &str {
        match self {
            Self::Refresh(token) => token.expose(),
            Self::Access(token) => token.expose(),
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Refresh(token) => token.fingerprint(),
            Self::Access(token) => token.fingerprint(),
        }
    }

    /// `token_type_hint`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refresh(_) => "refresh_token",
            Self::Access(_) => "access_token",
        }
    }
}

/// Whether sending is still allowed at this instant. Asked last when the connection stands: from then on the request may
/// leave at any moment.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> bool + Send + Sync>);

impl Fence {
    /// A fence that is asked by calling `open`.
    pub fn new(open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// Whether sending is still allowed.
    pub fn is_open(&self) -> bool {
        (self.0)()
    }
}

/// An authorization server. In the simulation it is one in memory.
pub trait TokenEndpoint: Send + Sync {
    /// Sends once. Every way in which it can go wrong is an [`Outcome`].
    fn exchange(&self, exchange: TokenRequest) -> BoxFuture<'static, Outcome>;

    /// Asks whether a token is active; for 5 s at most.
    fn introspect(&self, question: IntrospectionRequest) -> BoxFuture<'static, Introspected>;
}
