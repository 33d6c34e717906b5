//! The hostile server: one listener on loopback that follows a script on its first connection, byte by byte. Whoever
//! comes a second time finds a server as it should be, with another certificate, that hands out a pair: a temptation.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use rustls::{ServerConfig, ServerConnection};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime,
    sync::oneshot,
    time::{Duration, sleep},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{connections::certificates::Tls, support::hunt::PAIR};

/// No flood of ours goes on for longer, even if nobody ever hangs up.
const FLOOD: usize = 64 << 20;

type OnWire = Box<dyn for<'a> FnOnce(&'a mut Wire) -> LocalBoxFuture<'a, io::Result<()>> + Send>;
type OnSocket = Box<dyn for<'a> FnOnce(&'a mut Bare) -> LocalBoxFuture<'a, io::Result<()>> + Send>;

/// What the server does on its first connection.
pub enum Script {
    /// After the TLS handshake, and after what is said together with it.
    Wire(Arc<ServerConfig>, Vec<u8>, OnWire),
    /// On the bare socket.
    Socket(OnSocket),
}

impl Script {
    /// Speaks TLS as told, and then whatever the script says.
    pub fn wire(tls: Tls, script: impl AsyncFnOnce(&mut Wire) -> io::Result<()> + Send + 'static) -> Self {
        Self::early(tls, Vec::new(), script)
    }

    /// Says this as early as TLS 1.3 lets a server speak: before the client can have sent anything.
    pub fn early(
        tls: Tls,
        words: Vec<u8>,
        script: impl AsyncFnOnce(&mut Wire) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self::Wire(tls.config(), words, on_wire(move |wire| async move { script(wire).await }.boxed_local()))
    }

    /// Does not even speak TLS, unless the script does.
    pub fn socket(script: impl AsyncFnOnce(&mut Bare) -> io::Result<()> + Send + 'static) -> Self {
        Self::Socket(on_socket(move |bare| async move { script(bare).await }.boxed_local()))
    }
}

/// Says that a script is one for whatever wire it gets.
fn on_wire<F>(script: F) -> OnWire
where
    F: for<'a> FnOnce(&'a mut Wire) -> LocalBoxFuture<'a, io::Result<()>> + Send + 'static,
{
    Box::new(script)
}

fn on_socket<F>(script: F) -> OnSocket
where
    F: for<'a> FnOnce(&'a mut Bare) -> LocalBoxFuture<'a, io::Result<()>> + Send + 'static,
{
    Box::new(script)
}

/// What the server saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many connections were made.
    pub connections: usize,
    /// All that came over them, decrypted.
    pub received: Vec<u8>,
    /// How many bytes the server got rid of after the handshake.
    pub written: usize,
}

/// A server that runs on a thread of its own until it is told to finish.
pub struct Server {
    pub address: SocketAddr,
    over: CancellationToken,
    tally: oneshot::Receiver<Tally>,
}

impl Server {
    pub fn start(script: Script) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What waits here was not taken by anybody.
        socket.set_send_buffer_size(64 << 10).unwrap();
        // And what does not fit here waits with the client.
        socket.set_recv_buffer_size(2 << 10).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(16).and_then(TcpListener::into_std).unwrap();
        let address = listener.local_addr().unwrap();
        let (over, (told, tally)) = (CancellationToken::new(), oneshot::channel());
        let is_over = over.clone();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = told.send(runtime.block_on(serve(listener, script, is_over)));
        });
        Self { address, over, tally }
    }

    pub fn token_url(&self) -> String {
        format!("https://{}/oauth/token", self.address)
    }

    /// The exchange is over. Waits until every connection has ended, which is for the client to do.
    pub async fn finish(self) -> Tally {
        self.over.cancel();
        self.tally.await.expect("the hostile server ends in order")
    }
}

async fn serve(listener: std::net::TcpListener, script: Script, over: CancellationToken) -> Tally {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut script = Some(script);
    let (mut tally, mut open) = (Tally::default(), FuturesUnordered::new());
    while !over.is_cancelled() || !open.is_empty() {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted.unwrap();
                tally.connections += 1;
                open.push(attend(socket, script.take().unwrap_or_else(temptation)));
            }
            Some((received, written)) = open.next() => {
                tally.received.extend(received);
                tally.written += written;
            }
            () = over.cancelled(), if !over.is_cancelled() => {}
        }
    }
    let mut late = std::iter::from_fn(|| listener.accept().now_or_never());
    tally.connections += late.by_ref().take(10).count();
    tally
}

fn temptation() -> Script {
    Script::wire(Tls::new(), async |wire| {
        wire.request().await?;
        wire.say(reply("200 OK", "", PAIR)).await
    })
}

/// One connection, until the client has hung up: what came, and how much went.
async fn attend(socket: TcpStream, script: Script) -> (Vec<u8>, usize) {
    let _ = socket.set_nodelay(true);
    match script {
        Script::Socket(script) => {
            let mut bare = Bare { socket, received: Vec::new(), is_reset: false };
            // However it ends, what is left to do is to look at what came.
            let _ = script(&mut bare).await;
            if !bare.is_reset {
                drain(&mut bare.socket, &mut bare.received).await;
            }
            (bare.received, 0)
        }
        Script::Wire(config, words, script) => {
            let early = |tls: &mut ServerConnection| tls.writer().write_all(&words).expect("a few words");
            let accepting = TlsAcceptor::from(config).accept_with(socket, early);
            let Ok(stream) = accepting.await else { return Default::default() };
            let mut wire = Wire { stream, received: Vec::new(), written: 0, is_reset: false };
            let _ = script(&mut wire).await;
            if !wire.is_reset {
                drain(&mut wire.stream, &mut wire.received).await;
            }
            (wire.received, wire.written)
        }
    }
}

async fn drain(stream: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) {
    while stream.read_buf(received).await.is_ok_and(|read| read > 0) {}
}

/// A socket, from the server's side.
pub struct Bare {
    pub socket: TcpStream,
    /// What came, for a script that decrypts it.
    pub received: Vec<u8>,
    is_reset: bool,
}

impl Bare {
    pub fn reset(&mut self) -> io::Result<()> {
        self.is_reset = true;
        self.socket.set_zero_linger()
    }
}

/// A connection that TLS protects, from the server's side.
pub struct Wire {
    pub stream: TlsStream<TcpStream>,
    received: Vec<u8>,
    written: usize,
    is_reset: bool,
}

impl Wire {
    /// Waits for a whole HTTP/1.1 request.
    pub async fn request(&mut self) -> io::Result<()> {
        while !is_whole(&self.received) {
            self.read().await?;
        }
        Ok(())
    }

    /// All that came so far.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Waits for more to come.
    pub async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for piece in bytes.as_ref().chunks(16 << 10) {
            self.stream.write_all(piece).await?;
            self.stream.flush().await?;
            self.written += piece.len();
        }
        Ok(())
    }

    /// Says the same again and again, until the client hangs up.
    pub async fn flood(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        while self.written < FLOOD {
            self.say(&bytes).await?;
        }
        Ok(())
    }

    /// A byte now and then, until the client hangs up.
    pub async fn drip(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for byte in bytes.as_ref() {
            self.say([*byte]).await?;
            // Nothing else happens while a server dawdles.
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// The end, as it should be: TLS says so, and then the socket.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The socket ends, and TLS does not say so.
    pub async fn cut(&mut self) -> io::Result<()> {
        self.stream.get_mut().0.shutdown().await
    }

    /// The socket ends with a reset.
    pub fn reset(&mut self) -> io::Result<()> {
        self.is_reset = true;
        self.stream.get_ref().0.set_zero_linger()
    }
}

/// Whether a whole HTTP/1.1 request came.
pub fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.contains("\r\ntransfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    body.len() >= length.parse::<usize>().unwrap()
}

/// An answer in HTTP/1.1 that is honest about its length.
pub fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
