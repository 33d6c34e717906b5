//! Under which address users reach this operator, and to which sites they may return.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// The operator's own address, such as `https://pleo.example.com`: redirect URIs are made from it, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    base: String,
    path: String,
    is_secure: bool,
}

impl PublicUrl {
    /// Where the authorization server sends people back to. It must be registered there exactly so.
    pub fn callback(&self) -> String {
        format!("{}/callback", self.base)
    }

    /// What links begin with: no slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The path that all pages are below; empty, or with a slash at its beginning and none at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is https. Plain http is for loopback addresses only, where no cookie is `Secure`.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let help = "write the https URL under which people reach the operator, such as https://pleo.example.com";
        let url = Url::parse(text).map_err(|error| format!("{error}: {help}"))?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !is_plain || url.password().is_some() || !(url.scheme() == "https" || is_loopback(&url)) {
            return Err(help.to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let base = format!("{}{path}", url.origin().ascii_serialization());
        Ok(Self { base, path, is_secure: url.scheme() == "https" })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

/// RFC 8252 section 7.3: no other machine is reached there.
fn is_loopback(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
}

/// Scheme, host and port of a site that people may be led on to when all is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnSite(String);

impl ReturnSite {
    /// The URL, if it is one of the site's: as a browser would read it, and with nothing else in it.
    pub fn admit(&self, text: &str) -> Option<String> {
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.has_host();
        (is_plain && url.origin().ascii_serialization() == self.0).then(|| url.into())
    }
}

impl FromStr for ReturnSite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let help = "write scheme, host and port of an https site, such as https://app.example.com";
        let url = Url::parse(text).map_err(|error| format!("{error}: {help}"))?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !is_bare || !url.username().is_empty() || !(url.scheme() == "https" || is_loopback(&url)) {
            return Err(help.to_owned());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}
