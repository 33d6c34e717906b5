//! The operator's HTTP ports: plain HTTP/1.1 with limits, which axum's own server has not. Clients that open connections and send
//! nothing cost little, and keep no one else out for long.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

const MOST_CONNECTIONS: usize = 256;
/// From one head to the next as well: a connection that is idle for longer is closed.
const HEAD: Duration = Duration::from_secs(10);
/// In bytes.
const MAX_HEAD: usize = 16 * 1024;
/// After an error that has to do with the whole process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who sent a request, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Serves until `stop`; then requests that are being answered are still answered.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (room, graceful) = (Arc::new(Semaphore::new(MOST_CONNECTIONS)), GracefulShutdown::new());
    let accepting = async {
        // The semaphore is never closed. Without room, no connection is accepted.
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            match accept(&listener).await {
                Ok((stream, peer)) => {
                    let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
                    let serving = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
                    tokio::spawn(async move {
                        // What a client does wrong ends its connection, and is no one else's concern.
                        let _ = serving.await;
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
