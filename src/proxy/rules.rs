//! Which requests are rejected, and which headers are forwarded. Pure.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use url::Url;

use super::{
    config::{Listen, Origin},
    problem::{self, Problem},
};
use crate::domain::snapshot::published::Access;

/// Hop-by-hop (RFC 9110 section 7.6.1), and what belongs to proxies.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// What the client may not say about itself, or must not decide.
const FROM_CLIENTS: [HeaderName; 4] =
    [header::AUTHORIZATION, header::FORWARDED, header::EXPECT, HeaderName::from_static("x-real-ip")];

/// The names by which the proxy is addressed.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Our port; none: a Unix socket, where every port is right.
    port: Option<u16>,
    /// In lower case, with or without a port.
    allowed: Vec<String>,
}

impl Hosts {
    /// `listen` is where it really listens.
    pub fn new(listen: &Listen, allowed: &[String]) -> Self {
        let port = match listen {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) => None,
        };
        Self { port, allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            Some(_) | None => (host.as_str(), None),
        };
        let is_our_port = match (self.port, port) {
            (None, _) => true,
            (Some(ours), Some(port)) => port.parse() == Ok(ours),
            (Some(ours), None) => ours == 80,
        };
        let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
        let is_loopback = name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        let is_allowed = |allowed: &String| *allowed == host || is_our_port && allowed == name;
        is_loopback && is_our_port || self.allowed.iter().any(is_allowed)
    }
}

/// Whether a request is one that is forwarded.
///
/// # Errors
/// Says what is wrong with it.
pub fn check<Body>(request: &Request<Body>, hosts: &Hosts, own_name: &str) -> Result<(), Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    if request.method() == Method::CONNECT || uri.scheme().is_some() || uri.authority().is_some() {
        return Err(Problem::BadRequest("this is no forward proxy: send requests for a path, such as GET /v1/…"));
    }
    if !uri.path().starts_with('/') {
        return Err(Problem::BadRequest("the path must begin with a slash"));
    }
    if request.method() == Method::TRACE {
        return Err(Problem::MethodNotAllowed);
    }
    let mut named = headers.get_all(header::HOST).iter();
    let (host, another) = (named.next().and_then(|host| host.to_str().ok()), named.next());
    if another.is_some() || !host.is_some_and(|host| hosts.has(host)) {
        return Err(Problem::Misdirected);
    }
    let is_own = |site: &HeaderValue| site.as_bytes() == b"none";
    if headers.contains_key(header::ORIGIN) || !headers.get_all("sec-fetch-site").iter().all(is_own) {
        return Err(Problem::FromBrowser);
    }
    if headers.get_all(header::VIA).iter().any(|via| via.to_str().is_ok_and(|via| via.contains(own_name))) {
        return Err(Problem::Loop);
    }
    Ok(())
}

/// Leaves the headers that are forwarded to the API.
pub fn clean_request(headers: &mut HeaderMap, own_name: &str) {
    remove_hop_by_hop(headers);
    let is_for_proxies = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded-") || name.starts_with("proxy-")
    };
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_for_proxies(name)).cloned().collect();
    for name in names.iter().chain(&FROM_CLIENTS).chain([&header::HOST, &header::CONTENT_LENGTH]) {
        headers.remove(name);
    }
    if let Ok(via) = HeaderValue::try_from(format!("1.1 {own_name}")) {
        headers.append(header::VIA, via);
    }
}

/// The value of `Authorization`; none: the token has a character that no header can carry.
pub fn authorization(access: &Access) -> Option<HeaderValue> {
    let scheme = if access.token_type.eq_ignore_ascii_case("bearer") { "Bearer" } else { &access.token_type };
    let mut value = HeaderValue::try_from(format!("{scheme} {}", access.token.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Leaves the headers of a response that the client gets; a redirect within the API stays behind the proxy.
pub fn clean_response(headers: &mut HeaderMap, upstream: &Origin) {
    remove_hop_by_hop(headers);
    headers.remove(header::ALT_SVC);
    headers.remove(problem::HEADER);
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).map(Url::parse);
    // A path that begins with two slashes would be another host.
    let is_ours = |url: &Url| upstream.is_of(url) && !url.path().starts_with("//");
    if let Some(Ok(location)) = location.filter(|url| url.as_ref().is_ok_and(is_ours)) {
        let query = location.query().map(|query| format!("?{query}")).unwrap_or_default();
        let fragment = location.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
        if let Ok(relative) = HeaderValue::try_from(format!("{}{query}{fragment}", location.path())) {
            headers.insert(header::LOCATION, relative);
        }
    }
}

/// Those, and all that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// `Prefer: wait=N` in seconds (RFC 7240 section 4.3).
pub fn patience(headers: &HeaderMap) -> Option<std::time::Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    let seconds = preferences.find_map(|text| {
        let (name, value) = text.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().parse().ok())?
    });
    seconds.map(std::time::Duration::from_secs)
}

/// Whether a 401 says plainly that the token is the reason (RFC 6750 section 3.1).
pub fn names_invalid_token(headers: &HeaderMap) -> bool {
    headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let value = value.to_ascii_lowercase();
        value.contains("error=\"invalid_token\"") || value.contains("error=invalid_token")
    })
}

/// Whether an API answers so only to a token that it accepts.
pub fn shows_that_the_token_is_good(status: StatusCode) -> bool {
    status.is_success() || matches!(status.as_u16(), 304 | 403 | 409 | 412 | 422)
}
