//! Bodies of answers as they go over the wire: whole, huge, or dripping without end.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Interval, interval};

use crate::script::ReplyBody;

const PADDING: &[u8] = &[b'a'; 16 * 1024];

/// A body that makes its bytes when they are asked for, so that a huge one needs no memory.
pub(crate) struct WireBody {
    head: VecDeque<Bytes>,
    padding: u64,
    tail: Option<Bytes>,
    drip: Option<Interval>,
}

impl WireBody {
    pub(crate) fn new(body: ReplyBody) -> Self {
        let (head, padding, tail, drip) = match body {
            ReplyBody::Whole(bytes) => (bytes, 0, None, None),
            ReplyBody::Padded(head, padding, tail) => (head, padding, Some(Bytes::from(tail)), None),
            // An interval of zero would panic.
            ReplyBody::Drip(head, every) => (head, 0, None, Some(every.max(std::time::Duration::from_millis(1)))),
        };
        let head = Some(Bytes::from(head)).filter(|bytes| !bytes.is_empty()).into_iter().collect();
        Self { head, padding, tail, drip: drip.map(interval) }
    }

    fn remaining(&self) -> u64 {
        let held = self.head.iter().chain(&self.tail).map(Bytes::len).sum::<usize>();
        u64::try_from(held).unwrap_or(u64::MAX).saturating_add(self.padding)
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(head) = self.head.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        if self.padding > 0 {
            let length = usize::try_from(self.padding).unwrap_or(usize::MAX).min(PADDING.len());
            self.padding = self.padding.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PADDING).slice(..length)))));
        }
        if let Some(tail) = self.tail.take() {
            return Poll::Ready(Some(Ok(Frame::data(tail))));
        }
        let Some(drip) = &mut self.drip else {
            return Poll::Ready(None);
        };
        ready!(drip.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }

    fn is_end_stream(&self) -> bool {
        self.drip.is_none() && self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.drip {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.remaining()),
        }
    }
}
