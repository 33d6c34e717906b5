//! The settings of the proxy, as its flags give them.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use hyper::http::uri::Authority;
use url::Url;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the token Secret is mounted.
    pub token_dir: PathBuf,
    pub upstream: Origin,
    /// PEM certificates that are trusted beside the system's.
    pub upstream_ca: Option<Vec<u8>>,
    /// How long a call waits for a token.
    pub max_hold: Duration,
    /// Names that the `Host` header may have beside those of the loopback address.
    pub allowed_hosts: Vec<String>,
    /// Where a token that the API rejects is reported; none: nowhere.
    pub report_url: Option<ReportUrl>,
    /// Where users authorize again, for the application's own messages.
    pub reconnect_url: Option<Url>,
}

/// Where calls are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// Whether other pods or machines can reach it.
    pub fn is_open_to_others(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("write unix:PATH, such as unix:/run/pleo/proxy.sock".to_owned()),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let help = "write an IP address and a port, such as 127.0.0.1:8089, or unix:PATH";
        text.parse().map(Self::Tcp).map_err(|_| help.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The operator's address for reports of one connection's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportUrl(Url);

impl ReportUrl {
    pub fn get(&self) -> &Url {
        &self.0
    }
}

impl FromStr for ReportUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let help = || {
            "write http://HOST/v1/connections/NAMESPACE/NAME/rejections, where HOST is the operator's Service for reports".to_owned()
        };
        let url = Url::parse(text).map_err(|_| help())?;
        let segments: Vec<&str> = url.path_segments().into_iter().flatten().collect();
        let is_whole = match segments.as_slice() {
            ["v1", "connections", namespace, name, "rejections"] => !namespace.is_empty() && !name.is_empty(),
            _ => false,
        };
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
        if is_whole && is_http { Ok(Self(url)) } else { Err(help()) }
    }
}

/// The API: scheme https, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Authority);

impl Origin {
    pub fn authority(&self) -> &Authority {
        &self.0
    }

    /// Whether a URL is of this origin.
    pub fn is_of(&self, url: &Url) -> bool {
        let port = self.0.port_u16().unwrap_or(443);
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(self.0.host()))
            && url.port_or_known_default() == Some(port)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let help =
            || "write https://HOST or https://HOST:PORT, without a path: the application's paths are added".to_owned();
        let url = Url::parse(text).map_err(|_| help())?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let has_user = !url.username().is_empty() || url.password().is_some();
        if url.scheme() != "https" || !is_bare || has_user {
            return Err(help());
        }
        let host = url.host_str().ok_or_else(help)?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        authority.parse().map(Self).map_err(|_| help())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0)
    }
}
