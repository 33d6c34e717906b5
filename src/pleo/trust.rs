//! One TLS configuration for each CA bundle: to read the system's authorities for every request costs more than the request.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::{ClientConfig, client::Resumption};
use tokio::time::Instant;

use crate::{
    domain::{spec::Server, token::Fingerprint},
    tls::{self, TlsError},
};

/// After this long, the system's authorities are read again: they may have been updated.
const FRESH: Duration = Duration::from_secs(600);
const MOST: usize = 64;

/// What was read, by the fingerprint of the bundle; none: without one.
#[derive(Default)]
pub(super) struct Trust(Mutex<BTreeMap<Option<Fingerprint>, (ClientConfig, Instant)>>);

impl Trust {
    /// What is trusted for this server.
    ///
    /// # Errors
    /// If nothing can be.
    pub(super) fn of(&self, server: &Server) -> Result<ClientConfig, TlsError> {
        let key = key(server);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((config, _)) = known.get(&key).filter(|(_, read_at)| read_at.elapsed() < FRESH) {
            return Ok(config.clone());
        }
        let mut config = tls::config(server.ca_bundle.as_ref().map(String::as_bytes))?;
        // Each token request is a connection of its own, which nothing binds to another.
        config.resumption = Resumption::disabled();
        // A server that does not speak it gets no token.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if known.len() >= MOST && !known.contains_key(&key) {
            let oldest = known.iter().min_by_key(|(_, (_, read_at))| *read_at).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(key, (config.clone(), Instant::now()));
        Ok(config)
    }

    /// A certificate was not trusted: what was read may be old.
    pub(super) fn forget(&self, server: &Server) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(server));
    }
}

fn key(server: &Server) -> Option<Fingerprint> {
    server.ca_bundle.as_ref().map(|bundle| Fingerprint::of(&["ca", bundle]))
}
