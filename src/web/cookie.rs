//! What ties a user's steps to one browser: a cookie for each session, which no script can read and no other site can set
//! (RFC 9700 section 4.7; the prefix `__Host-`). It has no token, and is worth nothing without the key in the grant Secret.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::address::PublicUrl;
use crate::domain::{
    ledger::authorization::{SESSION_LIFETIME, SessionId},
    token::Fingerprint,
};

/// No browser keeps a longer one.
const MAX_COOKIE: usize = 4096;

/// What a browser keeps of one visit.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct SessionCookie {
    /// The namespace of the connection.
    pub namespace: String,
    pub name: String,
    /// 244 random bits: who has them is this browser.
    pub browser: String,
    /// Where the user wants to go when all is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
}

impl SessionCookie {
    /// A name for the browser that can be stored.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&["browser", &self.browser])
    }

    /// The header `Set-Cookie`. It outlives the visit, so that its end can be shown.
    pub fn set(&self, visit: &SessionId, address: &PublicUrl) -> Option<String> {
        let value = URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).ok()?);
        let (name, secure) = (name(&visit.id, address), if address.is_secure() { "; Secure" } else { "" });
        let seconds = 2 * SESSION_LIFETIME.as_secs();
        let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        (cookie.len() <= MAX_COOKIE).then_some(cookie)
    }

    /// The one of this visit, from the headers `Cookie`. Two of one name are both ignored.
    pub fn read<'a>(cookies: impl Iterator<Item = &'a str>, visit: &str, address: &PublicUrl) -> Option<Self> {
        let name = name(visit, address);
        let mut found = cookies
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let (first, second) = (found.next()?, found.next());
        if second.is_some() || first.len() > MAX_COOKIE {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(first).ok()?).ok()
    }
}

fn name(visit: &str, address: &PublicUrl) -> String {
    let prefix = if address.is_secure() { "__Host-" } else { "" };
    format!("{prefix}pleo-{visit}")
}
