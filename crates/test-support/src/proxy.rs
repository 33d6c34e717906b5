//! A proxy on a port of its own, and the folder that it reads: swapped as the kubelet does it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pleo_operator::{
    api::TokenState,
    clock::SystemClock,
    domain::{
        snapshot::published::{Access, Content},
        token::AccessToken,
    },
    proxy::{
        config::{Config, Listen},
        metrics::Metrics,
        run::Proxy,
        server::Listener,
    },
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A folder as a pod sees a mounted Secret; gone when dropped.
pub struct TokenFolder {
    path: PathBuf,
    versions: u64,
}

impl Default for TokenFolder {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pleo-tokens-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self { path, versions: 0 }
    }
}

impl TokenFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Swaps the link to a folder with this content.
    pub fn publish(&mut self, content: &Content) {
        self.versions += 1;
        let name = format!("..{}", self.versions);
        fs::create_dir(self.path.join(&name)).unwrap();
        for (key, value) in content.encode() {
            fs::write(self.path.join(&name).join(key), value).unwrap();
        }
        let (next, link) = (self.path.join("..data_tmp"), self.path.join("..data"));
        let before = fs::read_link(&link);
        symlink(&name, &next).unwrap();
        fs::rename(next, &link).unwrap();
        if let Ok(before) = before {
            fs::remove_dir_all(self.path.join(before)).unwrap();
        }
    }

    /// A usable token that is refreshed and ends so far from now.
    pub fn publish_token(&mut self, token: &str, refresh_in: Duration, lifetime: Duration) {
        let now = Timestamp::now();
        let access = Access {
            token: AccessToken::new(token),
            token_type: "Bearer".to_owned(),
            expires_at: now + lifetime,
            refresh_at: Some(now + refresh_in),
        };
        let rotation = self.versions + 1;
        self.publish(&Content { access: Some(access), rotation, state: TokenState::Ready });
    }

    /// No token, and why.
    pub fn publish_state(&mut self, state: TokenState) {
        self.publish(&Content::without_token(state, self.versions));
    }
}

impl Drop for TokenFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A proxy that runs until it is dropped.
pub struct RunningProxy {
    pub address: Listen,
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl RunningProxy {
    /// In front of this origin, trusting this CA. `change` is made to its other settings.
    pub async fn start(
        folder: &TokenFolder,
        upstream: &str,
        ca_pem: &str,
        listen: Listen,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            token_dir: folder.path().to_owned(),
            upstream: upstream.parse().unwrap(),
            upstream_ca: Some(ca_pem.as_bytes().to_vec()),
            max_hold: Duration::from_secs(30),
            allowed_hosts: Vec::new(),
            report_url: None,
            reconnect_url: None,
        };
        change(&mut config);
        let listener = Listener::open(&listen).await.unwrap();
        let address = listener.address(&listen).unwrap();
        let proxy = Proxy::new(config, listener, &address, Arc::new(SystemClock)).unwrap();
        let (metrics, stop) = (proxy.metrics(), CancellationToken::new());
        let running = tokio::spawn(proxy.run(stop.clone()));
        Self { address, metrics, stop, running }
    }

    /// Where it listens.
    pub fn tcp(&self) -> SocketAddr {
        match &self.address {
            Listen::Tcp(address) => *address,
            Listen::Unix(path) => panic!("it listens on {}", path.display()),
        }
    }

    /// As on SIGTERM: it ends when there are no more calls.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}
