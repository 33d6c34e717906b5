//! What judges may ask of the servers.

use crate::stage::sent::Sent;
use pleo_sandbox::authority::{Counters, ExchangeRecord};
use std::{sync::Arc, time::Duration};

use super::{Pleo, STAGING_ACCOUNT};

/// For judges.
impl Pleo {
    pub fn counters(&self, connection: &str) -> Counters {
        self.state().authority.counters(connection)
    }

    /// The exchanges of one connection in order.
    pub fn exchanges(&self, connection: &str) -> Vec<ExchangeRecord> {
        let state = self.state();
        let ours = |record: &&ExchangeRecord| record.connection.as_deref() == Some(connection);
        state.authority.exchanges().iter().filter(ours).cloned().collect()
    }

    /// All requests that left, in order, and what was heard of them.
    pub fn sent(&self) -> Vec<Arc<Sent>> {
        self.state().sent.clone()
    }

    /// How many requests have left.
    pub fn sent_count(&self) -> usize {
        self.state().sent.len()
    }

    pub fn record(&self, sent: &Sent) -> Option<ExchangeRecord> {
        sent.exchange.and_then(|id| self.state().authority.exchange(id).cloned())
    }

    /// Whether this refresh token would bring a pair at this moment.
    pub fn would_refresh(&self, refresh_token: &str) -> bool {
        self.state().authority.would_refresh(self.now(), refresh_token)
    }

    pub fn issued_tokens(&self) -> Vec<String> {
        self.state().authority.issued_tokens().to_vec()
    }

    /// How many exchanges there were, whoever's.
    pub fn exchanged(&self) -> usize {
        self.state().authority.exchanges().len()
    }

    /// When somebody tried to connect while the server was not reachable.
    pub fn turned_away(&self) -> Vec<Duration> {
        self.state().turned_away.clone()
    }

    /// Whether the access token is one that works at this moment, and whose it is.
    pub fn accepts(&self, access_token: &str) -> Option<String> {
        let state = self.state();
        let account = state.authority.check_access(self.now(), access_token).ok()?;
        Some(account.trim_end_matches(STAGING_ACCOUNT).to_owned())
    }
}
