//! Families and tokens as the authority keeps them, and what can be read of them. Pure.

use super::{Authority, Client, Counters, ExchangeId, ExchangeRecord, FamilyId, FamilyState, Life, Lifetimes};
use std::time::Duration;

/// One authorization.
#[derive(Clone)]
pub(super) struct Family {
    pub(super) connection: String,
    pub(super) client_id: String,
    pub(super) life: Life,
    pub(super) token_number: u64,
    pub(super) refresh: String,
    pub(super) access: Option<String>,
    pub(super) under_way: u64,
}

impl Family {
    pub(super) fn new(connection: &str, client_id: String) -> Self {
        Self {
            connection: connection.to_owned(),
            client_id,
            life: Life::Alive,
            token_number: 0,
            refresh: String::new(),
            access: None,
            under_way: 0,
        }
    }
}

/// A token that was issued. It is never forgotten.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) family: FamilyId,
    pub(super) number: u64,
    pub(super) expires_at: Duration,
    pub(super) spent: bool,
    pub(super) presented: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
    Code,
}

/// What can be read.
impl Authority {
    /// The names of all connections: those that had a consent, or lifetimes of their own.
    pub fn connections(&self) -> impl Iterator<Item = &str> {
        self.connections.keys().map(String::as_str)
    }

    /// All registered clients.
    pub fn clients(&self) -> impl Iterator<Item = (&str, &Client)> {
        self.clients.iter().map(|(id, client)| (id.as_str(), client))
    }

    /// The lives of tokens that are issued to a connection now.
    #[must_use]
    pub fn lifetimes(&self, connection: &str) -> Lifetimes {
        self.connections.get(connection).and_then(|connection| connection.lifetimes).unwrap_or(self.lifetimes)
    }

    /// What was counted for a connection; all zero for one that nobody has consented to.
    #[must_use]
    pub fn counters(&self, connection: &str) -> Counters {
        self.connections.get(connection).map(|connection| connection.counters.clone()).unwrap_or_default()
    }

    /// All exchanges in the order of their beginning.
    #[must_use]
    pub fn exchanges(&self) -> &[ExchangeRecord] {
        &self.exchanges
    }

    /// One exchange.
    #[must_use]
    pub fn exchange(&self, id: ExchangeId) -> Option<&ExchangeRecord> {
        self.exchanges.get(id.0)
    }

    /// How many exchanges of a connection are finished.
    #[must_use]
    pub fn finished(&self, connection: &str) -> usize {
        self.exchanges
            .iter()
            .filter(|record| record.finished_at.is_some() && record.connection.as_deref() == Some(connection))
            .count()
    }

    /// Every token ever issued, of either kind, in order: what a leak hunt looks for.
    #[must_use]
    pub fn issued_tokens(&self) -> &[String] {
        &self.issued
    }

    /// Requests to the token endpoint that were too malformed to be exchanges.
    #[must_use]
    pub fn malformed_requests(&self) -> u64 {
        self.malformed
    }

    /// How the families of a connection stand, the oldest first.
    #[must_use]
    pub fn families(&self, connection: &str) -> Vec<FamilyState> {
        self.family_ids(connection)
            .into_iter()
            .filter_map(|id| self.families.get(&id).map(|family| self.family_state(id, family)))
            .collect()
    }

    fn family_state(&self, id: FamilyId, family: &Family) -> FamilyState {
        let expires_at = |token: &String| self.tokens.get(token).map(|token| token.expires_at);
        FamilyState {
            id,
            client_id: family.client_id.clone(),
            life: family.life,
            token_number: family.token_number,
            refresh_expires_at: expires_at(&family.refresh).unwrap_or_default(),
            access_expires_at: family.access.as_ref().and_then(expires_at),
            exchanges_under_way: family.under_way,
        }
    }

    /// The newest refresh and access token of a connection's newest family, dead or alive. A family whose code was not
    /// exchanged has none.
    #[must_use]
    pub fn newest_tokens(&self, connection: &str) -> Option<(String, Option<String>)> {
        let id = self.family_ids(connection).pop()?;
        let family = self.families.get(&id).filter(|family| family.token_number > 0)?;
        Some((family.refresh.clone(), family.access.clone()))
    }
}
