//! The operator's HTTP ports: plain HTTP/1.1 with limits, which axum's own server has not. Clients that open connections and send
//! nothing, or read nothing, cost little, and keep no one else out.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What one port allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a head may take, and how long a connection may be idle.
    pub head: Duration,
    /// In bytes.
    pub max_head: usize,
    /// How long a connection may last.
    pub lifetime: Duration,
    pub connections: usize,
    /// From one address. What is too much is closed at once.
    pub connections_of_a_peer: usize,
}

/// For probes, scrapers and programs within the cluster.
pub const INTERNAL: Limits = Limits {
    head: Duration::from_secs(10),
    max_head: 16 * 1024,
    lifetime: Duration::from_secs(30),
    connections: 512,
    connections_of_a_peer: 16,
};

/// For what terminates TLS before the authorization pages: it keeps connections, and meets a page that is gone if we close them first.
pub const BEHIND_A_GATEWAY: Limits = Limits {
    head: Duration::from_secs(620),
    max_head: 64 * 1024,
    lifetime: Duration::from_secs(24 * 3600),
    connections: 512,
    connections_of_a_peer: 512,
};

/// After an error that has to do with the whole process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who sent a request, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Serves until `stop`; then requests that are being answered are still answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let (open, graceful) = (Arc::new(Open::default()), GracefulShutdown::new());
    let accepting = async {
        loop {
            match accept(&listener).await {
                Ok((stream, peer)) => {
                    let Some(place) = open.enter(peer.0, limits) else { continue };
                    let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.max_head);
                    let serving = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
                    tokio::spawn(async move {
                        // What a client does wrong ends its connection, and is no one else's concern.
                        let _ = timeout(limits.lifetime, serving).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!("a connection could not be accepted: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, address) = listener.accept().await?;
    Ok((stream, Peer(address.ip().to_canonical())))
}

/// The connections that are open, by who opened them.
#[derive(Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    fn enter(self: &Arc<Self>, peer: IpAddr, limits: Limits) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, theirs) = (open.values().sum::<usize>(), open.get(&peer).copied().unwrap_or_default());
        if all >= limits.connections || theirs >= limits.connections_of_a_peer {
            return None;
        }
        open.insert(peer, theirs + 1);
        Some(Place { open: Arc::clone(self), peer })
    }
}

struct Place {
    open: Arc<Open>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.peer) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            Some(_) | None => drop(open.remove(&self.peer)),
        }
    }
}
