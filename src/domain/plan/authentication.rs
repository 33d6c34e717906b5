//! Which authentication method a token request uses. Servers' documentation is not to be relied on: the method that worked is
//! used, and before any has, a response that certainly means "this client is not authenticated" leads to the other one.

use crate::{
    api::Authentication,
    domain::{
        failure::{Failure, FailureKind, Misconfiguration},
        ledger::{
            authentication::{Experience, Method},
            grant::{Grant, Which},
        },
        spec::TokenUrl,
        token::{ClientCredentials, ErrorCode},
    },
};

/// The methods of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Methods {
    pub first: Method,
    /// Used in a second request, if the first one certainly was not authenticated.
    pub fallback: Option<Method>,
    pub standing: Standing,
}

/// What is known of the first method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    Untried,
    /// It was not tried yet, or not since the other one was rejected.
    OtherRejected,
    /// It worked before, or there is no other: what the server says then is about the token.
    Proved,
}

impl Methods {
    fn unproved(first: Method, standing: Standing) -> Self {
        Self { first, fallback: Some(first.other()), standing }
    }

    fn only(first: Method) -> Self {
        Self { first, fallback: None, standing: Standing::Proved }
    }
}

/// The methods for this server and client. `is_probe`: the server rejected the client before, so the other method is tried even if
/// one has worked.
pub fn methods(
    wanted: Authentication,
    client: &ClientCredentials,
    server: &TokenUrl,
    grant: &Grant,
    is_probe: bool,
) -> Methods {
    match wanted {
        // A public client has nothing to authenticate with; its id is in the body (RFC 6749 section 3.2.1).
        _ if client.secret.is_none() => Methods::only(Method::Body),
        Authentication::Basic => Methods::only(Method::Basic),
        Authentication::Body => Methods::only(Method::Body),
        Authentication::Auto => match experience(client, server, grant) {
            Some((method, Experience::Works)) if is_probe => {
                Methods { fallback: Some(method.other()), ..Methods::only(method) }
            }
            Some((method, Experience::Works)) => Methods::only(method),
            Some((method, Experience::Rejected)) => Methods::unproved(method.other(), Standing::OtherRejected),
            None => Methods::unproved(Method::Basic, Standing::Untried),
        },
    }
}

/// The method that works for this server and client; none: it is not known, or there is nothing to choose.
pub fn proved(client: &ClientCredentials, server: &TokenUrl, grant: &Grant) -> Option<Method> {
    match experience(client, server, grant) {
        Some((method, Experience::Works)) => Some(method),
        Some((_, Experience::Rejected)) | None => None,
    }
}

fn experience(client: &ClientCredentials, server: &TokenUrl, grant: &Grant) -> Option<(Method, Experience)> {
    let client_id = client.id_fingerprint();
    let known = grant.authentication.as_ref().filter(|known| known.server == *server && known.client_id == client_id);
    // Operators that did not note the method sent the credentials in the body.
    let is_its = |owner: &Option<_>| owner.as_ref().is_none_or(|owner| *owner == client_id);
    let pair = grant
        .current
        .as_ref()
        .map(|pair| &pair.refresh)
        .filter(|held| held.server == *server && is_its(&held.client_id));
    let old = pair.filter(|_| grant.authentication.is_none()).map(|_| (Method::Body, Experience::Works));
    known.map(|known| (known.method, known.experience)).or(old)
}

/// Whether a response certainly means that the client was not authenticated, so that the token was not looked at and is sent again
/// by the other method. A code, and a token beside a method that has worked, only where nothing else can be meant.
pub fn is_unauthenticated(failure: &Failure, which: Which, standing: Standing) -> bool {
    match (failure.kind, which, standing) {
        (FailureKind::Misconfigured(Misconfiguration::Client), Which::Code, _)
        | (FailureKind::Misconfigured(Misconfiguration::Client), _, Standing::Proved) => {
            matches!(failure.code.as_ref().map(ErrorCode::expose), None | Some("invalid_client"))
        }
        (_, Which::Code, _) | (_, _, Standing::Proved) => false,
        (_, Which::Candidate | Which::Current, Standing::Untried | Standing::OtherRejected) => {
            may_be_the_method(failure)
        }
    }
}

/// Whether the method may be why a request failed: until one has worked, the next attempt begins with the other.
pub fn may_be_the_method(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Misconfigured(Misconfiguration::Client) => true,
        FailureKind::Misconfigured(Misconfiguration::Request) => {
            failure.code.as_ref().map(ErrorCode::expose) == Some("invalid_request")
        }
        FailureKind::NotSent
        | FailureKind::Throttled
        | FailureKind::OutcomeUnknown
        | FailureKind::UnknownRejection
        | FailureKind::Rejected(_) => false,
    }
}
