//! The one request that is ever sent: a refresh token, or once a code, for a new pair (RFC 6749 sections 4.1.3 and 6).

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::domain::{
    failure::Outcome,
    ledger::authentication::Method,
    spec::Server,
    token::{AuthorizationGrant, ClientCredentials},
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
}
