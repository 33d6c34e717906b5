//! Tokens by name: `b2` is the second pair that was bought with the consent `b0`. The rules see texts and fingerprints; the
//! books are kept in these.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use pleo_operator::domain::{
    ledger::grant::Grant,
    spec::{Server, TokenUrl},
    token::{AccessToken, ClientCredentials, ClientSecret, Fingerprint, RefreshToken},
};

/// Where a family lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Production,
    Staging,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Production => Self::Staging,
            Self::Staging => Self::Production,
        }
    }

    pub fn server(self) -> Server {
        let authorization_url = Ok(self.url().as_str().replace("/token", "/authorize"));
        Server { token_url: self.url(), authorization_url, introspection_url: None, issuer: None, ca_bundle: None }
    }

    pub fn url(self) -> TokenUrl {
        let url = match self {
            Self::Production => "https://auth.pleo.io/oauth/token",
            Self::Staging => "https://auth.staging.pleo.io/oauth/token",
        };
        serde_json::from_value(url.into()).unwrap()
    }

    pub fn of(url: &TokenUrl) -> Self {
        if url.as_str().contains("staging") { Self::Staging } else { Self::Production }
    }
}

/// A client that is registered with the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    Acme,
    Other,
}

impl Client {
    pub fn other(self) -> Self {
        match self {
            Self::Acme => Self::Other,
            Self::Other => Self::Acme,
        }
    }

    pub fn credentials(self) -> ClientCredentials {
        let id = match self {
            Self::Acme => "acme-client",
            Self::Other => "other-client",
        };
        ClientCredentials { id: id.into(), secret: Some(ClientSecret::new("client-secret")) }
    }

    pub fn named(client_id: &Fingerprint) -> Self {
        if *client_id == Self::Acme.credentials().id_fingerprint() { Self::Acme } else { Self::Other }
    }
}

/// A refresh token and the access token that came with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// The consent that it descends from.
    pub family: u8,
    /// 0: the consent's own.
    pub number: u8,
}

/// More than any scenario reaches.
const FAMILIES: u8 = 6;
const NUMBERS: u8 = 40;

static NAMES: LazyLock<BTreeMap<Fingerprint, Token>> = LazyLock::new(|| {
    let all = (0..FAMILIES).flat_map(|family| (0..NUMBERS).map(move |number| Token { family, number }));
    all.map(|token| (token.refresh().fingerprint(), token)).collect()
});

impl Token {
    /// The token that a human brings.
    pub fn consent(family: u8) -> Self {
        Self { family, number: 0 }
    }

    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    pub fn refresh(self) -> RefreshToken {
        RefreshToken::new(self.to_string())
    }

    pub fn access(self) -> AccessToken {
        AccessToken::new(self.to_string())
    }

    pub fn named(fingerprint: &Fingerprint) -> Self {
        NAMES[fingerprint]
    }

    /// The token whose text this is.
    pub fn read(text: &str) -> Self {
        let (family, number) = text.split_at(1);
        Self { family: family.as_bytes()[0] - b'a', number: number.parse().unwrap() }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", char::from(b'a' + self.family), self.number)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The current token of a grant.
pub fn current(grant: &Grant) -> Option<Token> {
    grant.current.as_ref().map(|current| Token::read(current.refresh.token.expose()))
}

/// The code that a browser brought.
pub fn code(grant: &Grant) -> Option<Token> {
    grant.by_link.code.as_ref().map(|held| Token::read(held.code.expose()))
}

/// The candidate of a grant.
pub fn candidate(grant: &Grant) -> Option<Token> {
    grant.candidate.as_ref().map(|held| Token::read(held.token.expose()))
}
