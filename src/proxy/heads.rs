//! How long the head of a request may take. An idle connection is another matter: a server that closes one meets, now and then, a
//! client that is just sending its next call on it, and that call fails.
//!
//! Calls only note where their connection is, because a wake-up for each of them would cost as much as the rest of a call.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

/// From its first byte to its last.
const HEAD: Duration = Duration::from_secs(10);
/// A connection without a call is closed after this long.
const IDLE: Duration = Duration::from_secs(600);

/// Where a connection is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between two calls, since then.
    Idle(Instant),
    /// The head of a request began to arrive then.
    Head(Instant),
    /// A call is being answered.
    Call,
}

/// What the stream of a connection and its service know together.
pub struct Heads {
    phase: Mutex<Phase>,
}

impl Default for Heads {
    fn default() -> Self {
        Self { phase: Mutex::new(Phase::Idle(Instant::now())) }
    }
}

/// A call is being answered for as long as this exists.
pub struct Answering(pub Arc<Heads>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Phase::Idle(Instant::now()));
    }
}

impl Heads {
    /// The head has arrived.
    pub fn call(&self) {
        self.set(Phase::Call);
    }

    fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// Returns when a head took too long, or no call came for long. It looks often enough to see each head in time.
    pub async fn too_slow(&self) {
        loop {
            let now = Instant::now();
            let end = match self.phase() {
                Phase::Idle(since) => since + IDLE,
                Phase::Head(began) => began + HEAD,
                Phase::Call => now + HEAD,
            };
            if end <= now {
                return;
            }
            sleep_until(end.min(now + HEAD)).await;
        }
    }
}

/// A stream that notes when a head begins.
pub struct Watched<Stream> {
    stream: Stream,
    heads: Arc<Heads>,
}

impl<Stream> Watched<Stream> {
    pub fn new(stream: Stream, heads: Arc<Heads>) -> Self {
        Self { stream, heads }
    }
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Watched<Stream> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if before < buffer.filled().len()
            && let Phase::Idle(_) = self.heads.phase()
        {
            self.heads.set(Phase::Head(Instant::now()));
        }
        read
    }
}

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Watched<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The next request waits for the rest of this response.
        if let Phase::Head(_) = self.heads.phase() {
            self.heads.set(Phase::Head(Instant::now()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Phase::Head(_) = self.heads.phase() {
            self.heads.set(Phase::Head(Instant::now()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_and_an_idle_connection_ten_minutes() {
        let heads = Arc::new(Heads::default());
        let begun = Instant::now();
        heads.too_slow().await;
        assert_eq!(begun.elapsed(), IDLE);

        let (mut client, server) = duplex(64);
        let mut watched = Watched::new(server, Arc::clone(&heads));
        client.write_all(b"GET /").await.unwrap();
        watched.read_u8().await.unwrap();
        let begun = Instant::now();
        heads.too_slow().await;
        assert_eq!(begun.elapsed(), HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_may_take_as_long_as_it_takes() {
        let heads = Arc::new(Heads::default());
        heads.call();
        assert!(timeout(IDLE * 2, heads.too_slow()).await.is_err());
        drop(Answering(Arc::clone(&heads)));
        let begun = Instant::now();
        heads.too_slow().await;
        assert_eq!(begun.elapsed(), IDLE);
    }
}
