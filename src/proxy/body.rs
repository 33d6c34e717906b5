//! Bodies. That of a call is kept where it is small, so that the call can be sent again; a response is never held back, except a
//! small 401.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, timeout_at},
};

/// The bodies that the proxy sends, in both directions.
pub type ProxyBody = UnsyncBoxBody<Bytes, BoxError>;
/// What ends a body early.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The largest body that is kept, in bytes.
pub const MAX_KEPT: usize = 1024 * 1024;
/// The largest 401 that is kept, in bytes.
pub const MAX_UNAUTHORIZED: usize = 64 * 1024;
/// What all kept bodies may take together, in KiB.
pub const BUDGET: usize = 16 * MAX_KEPT / UNIT;
const UNIT: usize = 1024;
/// How long a body of unknown length is collected before it is streamed.
const COLLECT: Duration = Duration::from_secs(1);
/// No body pauses for longer.
const SILENCE: Duration = Duration::from_secs(60);

/// The client did not send what it announced, or paused for 60 s.
#[derive(Clone, Copy, Debug)]
pub struct EndedEarly;

/// The body of a call.
pub enum Upload {
    /// Whole, so it can be sent again.
    Kept { bytes: Bytes, _budget: Option<OwnedSemaphorePermit> },
    /// Sent once, as it comes; none: it was sent.
    Streamed(Option<Streamed>),
}

/// A body that is not read beforehand.
pub struct Streamed {
    start: Bytes,
    rest: Incoming,
    /// The room that `start` takes.
    budget: Option<OwnedSemaphorePermit>,
}

/// The body of a 401.
pub struct Kept401 {
    /// What was read of it, and the rest if there is more.
    pub body: ProxyBody,
    /// All of it was read.
    pub is_whole: bool,
}

impl Upload {
    /// Reads what is to be kept. What is too large, or finds no room in the budget, is not read at all.
    ///
    /// # Errors
    /// If the client does not send what it announced.
    pub async fn read(mut incoming: Incoming, budget: &Arc<Semaphore>) -> Result<Self, EndedEarly> {
        if incoming.is_end_stream() {
            return Ok(Self::Kept { bytes: Bytes::new(), _budget: None });
        }
        let length = incoming.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let units = u32::try_from(length.unwrap_or(MAX_KEPT).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let is_small = length.is_none_or(|length| length <= MAX_KEPT);
        let room = is_small.then(|| Arc::clone(budget).try_acquire_many_owned(units).ok()).flatten();
        let Some(mut room) = room else {
            return Ok(Self::Streamed(Some(Streamed { start: Bytes::new(), rest: incoming, budget: None })));
        };
        let deadline = length.is_none().then(|| Instant::now() + COLLECT);
        let mut collected = BytesMut::with_capacity(length.unwrap_or_default());
        loop {
            let until = deadline.unwrap_or_else(|| Instant::now() + SILENCE);
            match timeout_at(until, incoming.frame()).await {
                Ok(Some(Ok(frame))) => collected.extend(frame.into_data().ok()),
                Ok(None) => {
                    // What was reserved for a body of unknown length, and is not needed.
                    let spare = room.num_permits().saturating_sub(collected.len().div_ceil(UNIT));
                    drop(room.split(spare));
                    return Ok(Self::Kept { bytes: collected.freeze(), _budget: Some(room) });
                }
                Ok(Some(Err(_))) => return Err(EndedEarly),
                Err(_) if deadline.is_none() => return Err(EndedEarly),
                Err(_) => break,
            }
            if collected.len() > MAX_KEPT {
                break;
            }
        }
        Ok(Self::Streamed(Some(Streamed { start: collected.freeze(), rest: incoming, budget: Some(room) })))
    }

    pub fn is_kept(&self) -> bool {
        match self {
            Self::Kept { .. } => true,
            Self::Streamed(_) => false,
        }
    }

    /// The body to send, and what says when all of it has been sent; none: it was sent before.
    pub fn to_send(&mut self) -> Option<(ProxyBody, Option<Arc<Notify>>)> {
        match self {
            Self::Kept { bytes, .. } => Some((whole(bytes.clone()), None)),
            Self::Streamed(streamed) => {
                let Streamed { start, rest, budget } = streamed.take()?;
                let sent = Arc::new(Notify::new());
                let end = AtEnd(vec![Box::new(Sent(Arc::clone(&sent))), Box::new(budget)]);
                Some((Patient::new(start, rest, end).boxed_unsync(), Some(sent)))
            }
        }
    }
}

struct Sent(Arc<Notify>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Dropped when a body has ended, one way or the other.
pub struct AtEnd(pub Vec<Box<dyn Send>>);

/// These bytes.
pub fn whole(bytes: Bytes) -> ProxyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The body of a response, as it comes.
pub fn download(incoming: Incoming, end: AtEnd) -> ProxyBody {
    Patient::new(Bytes::new(), incoming, end).boxed_unsync()
}

/// Reads the body of a 401; what is longer than [`MAX_UNAUTHORIZED`] goes on as it comes.
pub async fn keep_401(mut incoming: Incoming, end: AtEnd) -> Kept401 {
    let mut collected = BytesMut::new();
    while collected.len() <= MAX_UNAUTHORIZED {
        match timeout_at(Instant::now() + SILENCE, incoming.frame()).await {
            Ok(Some(Ok(frame))) => collected.extend(frame.into_data().ok()),
            // Broken or not: its status says all.
            Ok(Some(Err(_)) | None) | Err(_) => return Kept401 { body: whole(collected.freeze()), is_whole: true },
        }
    }
    Kept401 { body: Patient::new(collected.freeze(), incoming, end).boxed_unsync(), is_whole: false }
}

#[derive(Debug, thiserror::Error)]
#[error("the body paused for 60 s")]
struct Silent;

/// A body that may not pause for long.
struct Patient {
    start: Bytes,
    rest: Incoming,
    silence: Pin<Box<Sleep>>,
    is_waiting: bool,
    end: AtEnd,
}

impl Patient {
    fn new(start: Bytes, rest: Incoming, end: AtEnd) -> Self {
        Self { start, rest, silence: Box::pin(sleep(SILENCE)), is_waiting: false, end }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.start.is_empty() {
            let start = std::mem::take(&mut self.start);
            return Poll::Ready(Some(Ok(Frame::data(start))));
        }
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.is_waiting = false;
                if frame.is_none() {
                    self.end.0.clear();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
            }
            Poll::Pending => {
                if !self.is_waiting {
                    self.is_waiting = true;
                    self.silence.as_mut().reset(Instant::now() + SILENCE);
                }
                match self.silence.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Silent.into()))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let start = u64::try_from(self.start.len()).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(start));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(start));
        }
        hint
    }
}
