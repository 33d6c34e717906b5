//! The authorization server's own logic: a synchronous state machine. Pure: no clock, no I/O, no
//! async and no randomness but a seed. Time comes in as a value, counted from the server's start.
//!
//! An exchange has three steps, so that delays can lie between them and overlaps are seen:
//! [`Authority::begin`], [`Authority::rotate`] and [`Authority::finish`].

mod client;
mod consent;
mod exchange;
mod family;
mod introspection;
mod mint;
mod record;

pub use client::{Authentication, Client, Credentials};
pub use consent::{AuthorizationError, AuthorizationRequest, CODE_LIFE};
pub use record::{
    AccessRefusal, Counters, Delivery, ExchangeId, ExchangeRecord, FamilyId, FamilyState, GrantType, Life, Outcome,
    Refusal,
};

use crate::duration;
use family::{Family, Kind, Token};
use mint::Mint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// Of an access token.
    #[serde(with = "duration::text")]
    pub access: Duration,
    /// Of a refresh token.
    #[serde(with = "duration::text")]
    pub refresh: Duration,
}

impl Default for Lifetimes {
    /// A quarter of an hour, and 60 days.
    fn default() -> Self {
        Self { access: Duration::from_secs(15 * 60), refresh: Duration::from_secs(60 * 24 * 3600) }
    }
}

/// What a client sends to the token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// Who it says it is.
    pub credentials: Credentials,
    /// What is to be spent.
    pub presented: Presented,
}

/// What is presented at the token endpoint, to be spent.
#[derive(Clone, PartialEq, Eq)]
pub enum Presented {
    /// `grant_type=refresh_token`
    RefreshToken(String),
    /// `grant_type=authorization_code`
    Code {
        /// As it came with the redirect.
        code: String,
        /// The one of the authorization request, again.
        redirect_uri: String,
        /// What the challenge was made from (RFC 7636).
        verifier: String,
    },
}

impl Presented {
    /// The token or the code.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::RefreshToken(token) => token,
            Self::Code { code, .. } => code,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::RefreshToken(_) => Kind::Refresh,
            Self::Code { .. } => Kind::Code,
        }
    }
}

/// Shows everything but the token.
impl fmt::Debug for TokenRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenRequest").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

/// What a successful exchange issues.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The new access token.
    pub access_token: String,
    /// The new refresh token.
    pub refresh_token: String,
    /// The life of the access token.
    pub expires_in: Duration,
}

/// Shows everything but the tokens.
impl fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pair").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// The authorization server, without the server.
#[derive(Clone)]
pub struct Authority {
    lifetimes: Lifetimes,
    default_client: String,
    clients: BTreeMap<String, Client>,
    connections: BTreeMap<String, Connection>,
    families: BTreeMap<FamilyId, Family>,
    tokens: BTreeMap<String, Token>,
    /// What each code was issued for.
    codes: BTreeMap<String, AuthorizationRequest>,
    /// Presentations of tokens that were never issued, so that their repetition is seen as well.
    unknown: BTreeMap<String, u64>,
    issued: Vec<String>,
    exchanges: Vec<ExchangeRecord>,
    under_way: BTreeMap<ExchangeId, TokenRequest>,
    malformed: u64,
    mint: Mint,
}

#[derive(Clone, Default)]
struct Connection {
    lifetimes: Option<Lifetimes>,
    client: Option<String>,
    families: Vec<FamilyId>,
    counters: Counters,
}

/// Shows sizes only: everything else could hold a token.
impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("connections", &self.connections.len())
            .field("tokens", &self.tokens.len())
            .field("exchanges", &self.exchanges.len())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A server with one client and no connection. Equal seeds make equal tokens.
    #[must_use]
    pub fn new(seed: u64, lifetimes: Lifetimes, client_id: &str, client: Client) -> Self {
        Self {
            lifetimes,
            default_client: client_id.to_owned(),
            clients: BTreeMap::from([(client_id.to_owned(), client)]),
            connections: BTreeMap::new(),
            families: BTreeMap::new(),
            tokens: BTreeMap::new(),
            codes: BTreeMap::new(),
            unknown: BTreeMap::new(),
            issued: Vec::new(),
            exchanges: Vec::new(),
            under_way: BTreeMap::new(),
            malformed: 0,
            mint: Mint::new(seed),
        }
    }

    /// Registers a client, or replaces it: from now on it authenticates in this way only.
    pub fn set_client(&mut self, client_id: &str, client: Client) {
        self.clients.insert(client_id.to_owned(), client);
    }

    /// Users of this client may be sent back there from now on.
    pub fn allow_redirect(&mut self, client_id: &str, redirect_uri: &str) {
        if let Some(client) = self.clients.get_mut(client_id) {
            client.redirect_uris.push(redirect_uri.to_owned());
        }
    }

    /// Sets the lives of tokens that are issued to a connection from now on.
    pub fn set_lifetimes(&mut self, connection: &str, lifetimes: Lifetimes) {
        self.connections.entry(connection.to_owned()).or_default().lifetimes = Some(lifetimes);
    }

    /// Sets the lives of tokens of the connections that have none of their own.
    pub fn set_default_lifetimes(&mut self, lifetimes: Lifetimes) {
        self.lifetimes = lifetimes;
    }

    /// The user consents: a new family begins, beside the earlier ones of the connection. Without a
    /// client it belongs to the one of the connection's last consent, at first to the server's own.
    /// Returns the first refresh token.
    pub fn consent(&mut self, now: Duration, connection: &str, client_id: Option<&str>) -> String {
        let id = self.begin_family(connection, client_id);
        let lifetimes = self.lifetimes(connection);
        let refresh = self.issue(Kind::Refresh, id, 1, now.saturating_add(lifetimes.refresh));
        if let Some(family) = self.families.get_mut(&id) {
            family.refresh.clone_from(&refresh);
            family.token_number = 1;
        }
        refresh
    }

    /// A family without a token.
    fn begin_family(&mut self, connection: &str, client_id: Option<&str>) -> FamilyId {
        let default_client = self.default_client.clone();
        let id = FamilyId(u64::try_from(self.families.len()).unwrap_or(u64::MAX).saturating_add(1));
        let entry = self.connections.entry(connection.to_owned()).or_default();
        let client_id = client_id.map(str::to_owned).or_else(|| entry.client.clone()).unwrap_or(default_client);
        entry.client = Some(client_id.clone());
        entry.families.push(id);
        entry.counters.families += 1;
        self.families.insert(id, Family::new(connection, client_id));
        id
    }

    /// The user takes every consent of a connection back: all its tokens are dead at once.
    pub fn revoke(&mut self, connection: &str) {
        for id in self.family_ids(connection) {
            if let Some(family) = self.families.get_mut(&id)
                && family.life == Life::Alive
            {
                family.life = Life::Revoked;
            }
        }
    }

    /// Lets the newest refresh token of every family of a connection expire now, before its time.
    pub fn expire_refresh_tokens(&mut self, now: Duration, connection: &str) {
        for id in self.family_ids(connection) {
            let newest = self.families.get(&id).map(|family| family.refresh.clone());
            if let Some(token) = newest.and_then(|token| self.tokens.get_mut(&token)) {
                token.expires_at = token.expires_at.min(now);
            }
        }
    }

    /// The API forgets the access tokens of a connection before their time; a refresh brings another.
    pub fn reject_access_tokens(&mut self, now: Duration, connection: &str) {
        for id in self.family_ids(connection) {
            let newest = self.families.get(&id).and_then(|family| family.access.clone());
            if let Some(token) = newest.and_then(|token| self.tokens.get_mut(&token)) {
                token.expires_at = token.expires_at.min(now);
            }
        }
    }

    /// Counts a request to the token endpoint that was too malformed to be an exchange.
    pub fn note_malformed(&mut self) {
        self.malformed += 1;
    }

    /// Whose access token this is.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn check_access(&self, now: Duration, access_token: &str) -> Result<&str, AccessRefusal> {
        let token =
            self.tokens.get(access_token).filter(|token| token.kind == Kind::Access).ok_or(AccessRefusal::Unknown)?;
        let family = self.families.get(&token.family).ok_or(AccessRefusal::Unknown)?;
        if family.life != Life::Alive {
            Err(AccessRefusal::DeadFamily)
        } else if family.access.as_deref() != Some(access_token) {
            Err(AccessRefusal::Superseded)
        } else if token.expires_at <= now {
            Err(AccessRefusal::Expired)
        } else {
            Ok(&family.connection)
        }
    }

    /// The connection that a refresh token was issued to, dead or alive.
    #[must_use]
    pub fn account_of(&self, refresh_token: &str) -> Option<&str> {
        let token = self.tokens.get(refresh_token).filter(|token| token.kind == Kind::Refresh)?;
        self.families.get(&token.family).map(|family| family.connection.as_str())
    }

    /// Whether a refresh token would bring a new pair at this moment.
    #[must_use]
    pub fn would_refresh(&self, now: Duration, refresh_token: &str) -> bool {
        self.tokens.get(refresh_token).is_some_and(|token| {
            let alive = self.families.get(&token.family).is_some_and(|family| family.life == Life::Alive);
            token.kind == Kind::Refresh && !token.spent && now < token.expires_at && alive
        })
    }

    fn issue(&mut self, kind: Kind, family: FamilyId, number: u64, expires_at: Duration) -> String {
        let mut text = self.mint.next();
        while self.tokens.contains_key(&text) {
            text = self.mint.next();
        }
        self.tokens.insert(text.clone(), Token { kind, family, number, expires_at, spent: false, presented: 0 });
        self.issued.push(text.clone());
        text
    }

    fn family_ids(&self, connection: &str) -> Vec<FamilyId> {
        self.connections.get(connection).map(|connection| connection.families.clone()).unwrap_or_default()
    }
}
