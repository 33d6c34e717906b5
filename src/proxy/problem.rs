//! What the proxy answers itself: problem documents (RFC 9457), with the header `Pleo-Proxy`. It never makes up a 401, and never
//! shows the token or a link that is one.

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{self, HeaderValue},
};
use serde_json::json;
use url::Url;

use super::body::{self, ProxyBody};
use crate::domain::{
    proxy::step::{State, Unavailable},
    snapshot::published::Content,
};

/// The header that names the code.
pub const HEADER: &str = "pleo-proxy";

/// Why the proxy answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    Unavailable(Unavailable),
    Overloaded,
    UpstreamUnreachable,
    UpstreamBroken,
    UpstreamTimeout,
    BadRequest(&'static str),
    MethodNotAllowed,
    Misdirected,
    FromBrowser,
    Loop,
}

/// What the proxy knows when it answers.
pub struct Circumstances<'a> {
    pub state: State,
    pub content: Option<&'a Content>,
    pub reconnect_url: Option<&'a Url>,
}

impl Problem {
    /// As `Pleo-Proxy`, the problem's type and metrics name it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unavailable(Unavailable::ReauthRequired) => "reauth-required",
            Self::Unavailable(Unavailable::NotReady) => "not-ready",
            Self::Unavailable(Unavailable::TokenExpired) => "token-expired",
            Self::Unavailable(Unavailable::TokenRejected) => "token-rejected",
            Self::Unavailable(Unavailable::NotReplayable) => "not-replayable",
            Self::Unavailable(Unavailable::Overloaded) | Self::Overloaded => "overloaded",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::UpstreamBroken => "upstream-broken",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::BadRequest(_) => "bad-request",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Misdirected => "misdirected",
            Self::FromBrowser => "from-browser",
            Self::Loop => "loop",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::Unavailable(Unavailable::ReauthRequired) => StatusCode::FAILED_DEPENDENCY,
            Self::Unavailable(_) | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamUnreachable | Self::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::FromBrowser => StatusCode::FORBIDDEN,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::Unavailable(Unavailable::ReauthRequired) => "a user must authorize again: stop calling until then",
            Self::Unavailable(Unavailable::NotReady) => {
                "there is no token yet, or the token folder cannot be read: see the connection's status"
            }
            Self::Unavailable(Unavailable::TokenExpired) => {
                "the token has expired, and there is no new one yet: see the connection's status"
            }
            Self::Unavailable(Unavailable::TokenRejected) => {
                "the API rejected the token, and there is no new one yet: see the connection's status"
            }
            Self::Unavailable(Unavailable::NotReplayable) => {
                "the API rejected the token, and the body is too large to be kept: send the call again"
            }
            Self::Unavailable(Unavailable::Overloaded) | Self::Overloaded => "too many calls at once: send it again",
            Self::UpstreamUnreachable => "there is no connection to the API",
            Self::UpstreamBroken => "the connection to the API broke before it answered",
            Self::UpstreamTimeout => "the API did not answer in time",
            Self::BadRequest(why) => why,
            Self::MethodNotAllowed => "TRACE is not forwarded: its response would hold the token",
            Self::Misdirected => {
                "the Host is none of this proxy's: use its address, or name the host with --allow-host"
            }
            Self::FromBrowser => "a web page must not use this proxy: call it from a server",
            Self::Loop => "the call came from this very proxy: --upstream leads back to it",
        }
    }

    /// Whether the API may have carried out the call.
    pub fn carried_out(self) -> &'static str {
        match self {
            Self::UpstreamBroken | Self::UpstreamTimeout => "unknown",
            Self::Unavailable(_)
            | Self::Overloaded
            | Self::UpstreamUnreachable
            | Self::BadRequest(_)
            | Self::MethodNotAllowed
            | Self::Misdirected
            | Self::FromBrowser
            | Self::Loop => "no",
        }
    }

    /// In seconds; none: to send it again would not help, or might repeat it.
    fn retry_after(self) -> Option<u32> {
        match self {
            Self::Unavailable(Unavailable::NotReplayable | Unavailable::Overloaded) | Self::Overloaded => Some(1),
            Self::Unavailable(Unavailable::NotReady | Unavailable::TokenExpired | Unavailable::TokenRejected) => {
                Some(5)
            }
            _ => None,
        }
    }

    /// The whole response.
    pub fn response(self, circumstances: &Circumstances<'_>) -> Response<ProxyBody> {
        let mut document = json!({
            "type": format!("tag:pleo.io,2026:proxy/{}", self.code()),
            "title": self.code(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "carried_out": self.carried_out(),
            "state": circumstances.state.as_str(),
        });
        if let Some(members) = document.as_object_mut() {
            members.extend(circumstances.content.map(|content| ("rotation".to_owned(), content.rotation.into())));
            let is_for_users = self == Self::Unavailable(Unavailable::ReauthRequired);
            let url = circumstances.reconnect_url.filter(|_| is_for_users);
            members.extend(url.map(|url| ("reconnect_url".to_owned(), url.as_str().into())));
        }
        let mut response = Response::new(body::whole(Bytes::from(document.to_string())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HEADER, HeaderValue::from_static(self.code()));
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
