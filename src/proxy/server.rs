//! Accepts connections, with limits: how many, how long a head may take, and how large it is.

use std::{convert::Infallible, io, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::sleep,
};
use tracing::warn;

use super::{
    config::Listen,
    forward::Forward,
    heads::{Answering, Heads, Watched},
};

const MOST_CONNECTIONS: usize = 1024;
const MAX_HEAD: usize = 64 * 1024;
/// After an error that has to do with the whole process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// An open port.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Opens it. A Unix socket is for the user and the group of this process; one that an earlier process left is replaced.
    ///
    /// # Errors
    /// If it is taken, or not to be had.
    pub async fn open(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                let left = tokio::net::UnixStream::connect(path).await;
                if left.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Where it really listens: the flag may leave the port open.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self, wanted: &Listen) -> io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_) => Ok(wanted.clone()),
        }
    }

    /// Serves for as long as the process runs.
    pub async fn serve(self, forward: Arc<Forward>) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            // The semaphore is never closed. Without room, no connection is accepted.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    let _ = stream.set_nodelay(true);
                    let forward = Arc::clone(&forward);
                    tokio::spawn(async move {
                        connection(stream, forward).await;
                        drop(place);
                    });
                }),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    let forward = Arc::clone(&forward);
                    tokio::spawn(async move {
                        connection(stream, forward).await;
                        drop(place);
                    });
                }),
            };
            if let Err(error) = accepted {
                warn!("a connection could not be accepted: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, forward: Arc<Forward>) {
    let heads = Arc::new(Heads::default());
    let stream = Watched::new(stream, Arc::clone(&heads));
    let noted = Arc::clone(&heads);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (forward, heads) = (Arc::clone(&forward), Arc::clone(&noted));
        heads.call();
        // Until its response has ended.
        let answering = Answering(heads);
        async move { Ok::<_, Infallible>(forward.call(request, Box::new(answering)).await) }
    });
    let serving = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // What a client does wrong ends its connection, and is no one else's concern.
    tokio::select! {
        _ = serving => {}
        () = heads.too_slow() => {}
    }
}
