//! What a judge must know of each request that left: who sent it, under which claim, what the server made of it and what
//! the sender heard.

use std::{collections::BTreeMap, time::Duration};

use pleo_operator::{
    api::names,
    domain::{
        ledger::authentication::Method,
        ledger::grant::{Claim, Holder},
        snapshot::GrantSecret,
        token::Fingerprint,
    },
    pleo::TokenRequest,
};
use pleo_sandbox::authority::{Authority, ExchangeId};

use crate::{
    apiserver::ApiServer,
    stage::{grants, pleo::STAGING_ACCOUNT},
};

/// One request that left.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it reached the server.
    pub at: Duration,
    pub process: Holder,
    pub token_url: String,
    /// The client that presented it.
    pub client_id: String,
    /// How it authenticated.
    pub method: Method,
    /// The refresh token in it.
    pub token: Fingerprint,
    /// The claims that stood in all grants at that moment, by connection.
    pub claims: Vec<(String, Claim)>,
    /// As the server knows it; none if the token was not for this server.
    pub exchange: Option<ExchangeId>,
    /// The refresh token of the pair that the server made of it.
    pub issued: Option<Fingerprint>,
    /// What the sender heard, if it still listened.
    pub heard: Option<Heard>,
}

/// An answer that reached its sender.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Duration,
    /// As the metric has it: `success`, `unknown`, `refused`, …
    pub outcome: &'static str,
}

impl Sent {
    pub fn new(process: &Holder, exchange: &TokenRequest) -> Self {
        Self {
            at: Duration::ZERO,
            process: process.clone(),
            token_url: exchange.server.token_url.as_str().to_owned(),
            client_id: exchange.client.id.clone(),
            method: exchange.method,
            token: exchange.presented.fingerprint(),
            claims: Vec::new(),
            exchange: None,
            issued: None,
            heard: None,
        }
    }

    /// Whether the token was issued by the server that it was sent to, or by nobody.
    pub fn is_at_home(&self, authority: &Authority, refresh_token: &str) -> bool {
        let account = authority.account_of(refresh_token);
        account.is_none_or(|account| account.ends_with(STAGING_ACCOUNT) == self.token_url.contains("staging"))
    }

    /// The connection in whose name it was sent.
    pub fn connection(&self) -> Option<&str> {
        let ours = |(_, claim): &&(String, Claim)| claim.fingerprint == self.token && claim.holder == self.process;
        self.claims.iter().find(ours).map(|(connection, _)| connection.as_str())
    }
}

/// The claims that stand in all grants, by connection: of each grant, the version that was read last, and its claim.
#[derive(Default)]
pub struct Claims(BTreeMap<String, (String, Option<Claim>)>);

impl Claims {
    /// Those that stand now.
    pub fn held(&mut self, server: &ApiServer) -> Vec<(String, Claim)> {
        let mut now = BTreeMap::new();
        for secret in server.all("secrets") {
            let text = |key: &str| secret["metadata"][key].as_str().unwrap_or_default();
            let Some(connection) = text("name").strip_prefix(names::GRANT_SECRET_PREFIX) else { continue };
            let known = self.0.remove(connection).filter(|(version, _)| version == text("resourceVersion"));
            let read = || {
                let GrantSecret::Ours(grant) = grants::read(&secret) else { return None };
                grant.value.claim
            };
            let known = known.unwrap_or_else(|| (text("resourceVersion").to_owned(), read()));
            now.insert(connection.to_owned(), known);
        }
        self.0 = now;
        let claimed = self.0.iter().filter_map(|(connection, (_, claim))| Some((connection.clone(), claim.clone()?)));
        claimed.collect()
    }
}
