//! The HTTPS listener: TLS, HTTP/1.1 and HTTP/2, outages on demand, connections cut on demand.
//! Touches sockets only.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{Request, Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Mutex, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    http::{self, Cut},
    shared::Shared,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Listens on one address, now and then.
pub(crate) struct Listener {
    address: SocketAddr,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to listen. Port 0 means any, which is then kept.
    pub(crate) async fn start(address: SocketAddr, config: Arc<ServerConfig>, shared: Arc<Shared>) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let acceptor = TlsAcceptor::from(config);
        let listener = Self { address, acceptor, shared, running: Mutex::new(None) };
        *listener.running.lock().await = Some(listener.serve(socket));
        Ok(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scheme, host and port of the server, as clients on this machine reach it.
    pub(crate) fn origin(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        format!("https://{address}")
    }

    /// Begins to listen again; nothing happens if it does.
    pub(crate) async fn resume(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            *running = Some(self.serve(TcpListener::bind(self.address).await?));
        }
        Ok(())
    }

    /// Closes the listener and every connection. Exchanges under way go on: the server's work is
    /// not undone, only its answer is lost.
    pub(crate) async fn pause(&self) {
        if let Some(running) = self.running.lock().await.take() {
            let _ = running.stop.send(());
            let _ = running.task.await;
        }
    }

    fn serve(&self, socket: TcpListener) -> Running {
        let (stop, mut stopped) = oneshot::channel();
        let (acceptor, shared) = (self.acceptor.clone(), self.shared.clone());
        let origin: Arc<str> = self.origin().into();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    accepted = socket.accept() => match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(connection(stream, acceptor.clone(), shared.clone(), origin.clone()));
                        }
                        // Out of file descriptors, most likely: give connections time to end.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
            drop(socket);
            connections.shutdown().await;
        });
        Running { stop, task }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, origin: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(AtomicBool::new(false));
    let stream = Cuttable { stream, cut: cut.clone() };
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, origin, cut) = (shared.clone(), origin.clone(), cut.clone());
        async move {
            let version = request.version();
            let response = http::handle(shared, &origin, request).await;
            // HTTP/2 resets the stream alone: other connections of the tester may share the socket.
            if matches!(response, Err(Cut)) && version != Version::HTTP_2 {
                cut.store(true, Ordering::Relaxed);
            }
            response
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    // A script may hold very many exchanges of one client at a time.
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(10_000);
    // How a connection ends is of no interest: the authority has recorded what happened in it.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A stream that, once it is marked, ends with a reset instead of a farewell.
struct Cuttable {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
}

impl Drop for Cuttable {
    fn drop(&mut self) {
        if self.cut.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
