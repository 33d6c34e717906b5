//! One watch: a task of the server that writes events, bookmarks and its end into the body of the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use serde_json::json;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, sleep_until},
};

use super::ApiServer;
use crate::{
    call::Call,
    client::{BoxError, SimClient, reset},
    objects::store::Event,
};

/// As the real server: about once a minute, and just before the end.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

struct Watch {
    server: ApiServer,
    client: SimClient,
    call: Arc<Call>,
    events: UnboundedReceiver<Event>,
    lines: UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    /// When the next bookmark is due, events or not.
    bookmark: Instant,
    end: Instant,
    cut: Option<Instant>,
}

/// Starts the task, and returns the body that it fills.
pub(super) fn open(
    server: &ApiServer,
    client: &SimClient,
    call: &Arc<Call>,
    first: Vec<Event>,
    events: UnboundedReceiver<Event>,
    cut: Option<Duration>,
) -> UnsyncBoxBody<Bytes, BoxError> {
    let (lines, mut written) = unbounded_channel();
    let now = Instant::now();
    let end = now + server.length_of_watch(call);
    let watch = Watch {
        server: server.clone(),
        client: client.clone(),
        call: call.clone(),
        events,
        lines,
        bookmark: bookmark_after(now, end),
        end,
        cut: cut.map(|after| now + after),
    };
    tokio::spawn(watch.run(first));
    StreamBody::new(futures::stream::poll_fn(move |context| written.poll_recv(context))).boxed_unsync()
}

fn bookmark_after(now: Instant, end: Instant) -> Instant {
    let last = end - BOOKMARK_BEFORE_END;
    if now < last { last.min(now + BOOKMARK_EVERY) } else { end }
}

impl Watch {
    async fn run(mut self, first: Vec<Event>) {
        for event in first {
            if !self.tell(event).await {
                return;
            }
        }
        while self.step().await {}
    }

    /// One event, bookmark or end; false when that was the end.
    async fn step(&mut self) -> bool {
        let wake = self.bookmark.min(self.cut.unwrap_or(self.end));
        tokio::select! {
            biased;
            () = self.lines.closed() => false,
            error = self.client.broken() => self.break_off(error),
            event = self.events.recv() => match event {
                Some(event) => {
                    if !self.client.undisturbed() {
                        self.server.until_heard(&self.call.resource).await;
                    }
                    self.tell(event).await
                }
                None => false,
            },
            () = sleep_until(wake) => self.wake().await,
        }
    }

    async fn wake(&mut self) -> bool {
        let now = Instant::now();
        if self.cut.is_some_and(|cut| cut <= now) {
            return self.passed().await && self.break_off(reset());
        }
        if self.end <= now {
            // A line that is frozen does not carry the end, either.
            self.passed().await;
            return false;
        }
        self.bookmark = bookmark_after(now, self.end);
        // A bookmark must not overtake an event: with one still waiting, the next will do.
        if self.call.query("allowWatchBookmarks") == "true" && self.events.is_empty() {
            let bookmark = self.server.state().store.bookmark(&self.call, false);
            return self.tell(bookmark).await;
        }
        true
    }

    fn break_off(&self, error: BoxError) -> bool {
        let _ = self.lines.send(Err(error));
        false
    }

    /// Waits until the client's line lets something through; false when it is over.
    async fn passed(&self) -> bool {
        let passed = tokio::select! {
            biased;
            () = self.lines.closed() => return false,
            passed = self.client.passage() => passed,
        };
        passed.map_or_else(|error| self.break_off(error), |()| true)
    }

    /// Writes one line, as soon as delays and the client's line let it through.
    async fn tell(&self, event: Event) -> bool {
        let delay = self.server.event_delay(&self.client);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if !self.passed().await {
            return false;
        }
        let object = match event.kind {
            "BOOKMARK" | "ERROR" => (*event.object).clone(),
            _ => self.call.shape(&event.object),
        };
        let line = format!("{}\n", json!({"type": event.kind, "object": object}));
        self.lines.send(Ok(Frame::data(Bytes::from(line)))).is_ok()
    }
}
