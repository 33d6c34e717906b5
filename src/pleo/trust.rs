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
/// A server with a bad certificate must not have them read for each of its requests.
const RECENT: Duration = Duration::from_secs(60);
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

    /// A certificate was not trusted: what was read may be old, unless that was a moment ago.
    pub(super) fn forget(&self, server: &Server) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known, (_, read_at)| *known != key(server) || read_at.elapsed() < RECENT);
    }
}

fn key(server: &Server) -> Option<Fingerprint> {
    server.ca_bundle.as_ref().map(|bundle| Fingerprint::of(&["ca", bundle]))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::advance;

    use super::*;
    use crate::domain::spec::{AllowedServers, ResolvedSpec};

    /// A server of its own CA.
    fn server() -> Server {
        let key = KeyPair::generate().unwrap();
        let ca = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        let connection = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "acme", "namespace": "finance"},
            "spec": {
                "client": {"secretRef": {"name": "pleo-client"}},
                "server": {"tokenURL": "https://auth.example.com/token", "caBundle": ca},
            },
        }));
        ResolvedSpec::read(&connection.unwrap(), &AllowedServers::every()).server.unwrap()
    }

    /// What was read once has one provider.
    fn is_same(a: &ClientConfig, b: &ClientConfig) -> bool {
        std::sync::Arc::ptr_eq(a.crypto_provider(), b.crypto_provider())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bundle_is_read_once_in_ten_minutes() {
        let (trust, one, other) = (Trust::default(), server(), server());
        let first = trust.of(&one).unwrap();
        assert!(is_same(&first, &trust.of(&one).unwrap()));
        assert!(!is_same(&first, &trust.of(&other).unwrap()), "each has its own");
        advance(FRESH).await;
        assert!(!is_same(&first, &trust.of(&one).unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_certificate_has_it_read_again_but_not_each_time() {
        let (trust, server) = (Trust::default(), server());
        let first = trust.of(&server).unwrap();
        trust.forget(&server);
        assert!(is_same(&first, &trust.of(&server).unwrap()), "it was read a moment ago");
        advance(RECENT).await;
        trust.forget(&server);
        assert!(!is_same(&first, &trust.of(&server).unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_kept_as_there_is_room_for() {
        let trust = Trust::default();
        for _ in 0..MOST + 5 {
            trust.of(&server()).unwrap();
        }
        assert_eq!(trust.0.lock().unwrap().len(), MOST);
    }
}
