//! One process's way to the server: the service under its `kube::Client`, and the switches of that line.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use super::ApiServer;
use crate::{
    call::{Call, Verb},
    faults::Fault,
    refusal::Refusal,
    watch,
};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Up,
    CutOff,
    Frozen,
    Crashed,
}

/// One client, by the name under which the trace knows it. Clones share the same line.
#[derive(Clone)]
pub struct SimClient {
    server: ApiServer,
    name: Arc<str>,
    /// Is it exempt from the faults that are thrown (not from those that are scripted)?
    undisturbed: bool,
    line: Arc<(Mutex<Line>, Notify)>,
}

impl SimClient {
    pub(super) fn new(server: ApiServer, name: &str, undisturbed: bool) -> Self {
        let line = Arc::new((Mutex::new(Line::Up), Notify::new()));
        Self { server, name: name.into(), undisturbed, line }
    }

    /// The real client over this line. Call it in the runtime of the process that is to use it.
    pub fn kube(&self) -> kube::Client {
        kube::Client::new(self.clone(), "default")
    }

    /// From now on all calls fail, and all watches break (unless it is restored before they can notice).
    pub fn cut_off(&self) {
        self.turn(Line::CutOff);
    }

    /// From now on all calls and watches hang. Once thawed, those requests go through as well whose
    /// callers have given up, as packets do that a network held back.
    pub fn freeze(&self) {
        self.turn(Line::Frozen);
    }

    /// Ends both of the above.
    pub fn restore(&self) {
        self.turn(Line::Up);
    }

    /// The process is dead: it sends nothing and hears nothing any more. What it sent before is carried out.
    pub fn crash(&self) {
        self.turn(Line::Crashed);
    }

    pub fn is_crashed(&self) -> bool {
        self.line_now() == Line::Crashed
    }

    /// Waits for the crash, so that the test can end what runs in the dead process.
    pub async fn crashed(&self) {
        self.until(|line| line == Line::Crashed).await;
    }

    fn turn(&self, to: Line) {
        let mut line = self.line.0.lock().unwrap();
        if *line != Line::Crashed {
            *line = to;
        }
        drop(line);
        self.line.1.notify_waiters();
    }

    fn line_now(&self) -> Line {
        *self.line.0.lock().unwrap()
    }

    async fn until(&self, reached: impl Fn(Line) -> bool) {
        loop {
            // Made before the look, or a turn between the look and the wait would be missed.
            let turned = self.line.1.notified();
            if reached(self.line_now()) {
                return;
            }
            turned.await;
        }
    }

    pub(super) async fn broken(&self) -> BoxError {
        self.until(|line| line == Line::CutOff).await;
        reset()
    }

    /// Waits until the line lets something through, or breaks.
    pub(super) async fn passage(&self) -> Result<(), BoxError> {
        self.until(|line| matches!(line, Line::Up | Line::CutOff)).await;
        if self.line_now() == Line::CutOff { Err(reset()) } else { Ok(()) }
    }

    pub(super) fn undisturbed(&self) -> bool {
        self.undisturbed
    }

    /// The server's side of one request, in a task of its own: a caller that gives up takes nothing back.
    async fn serve(self, request: Request<Body>, mut reply: oneshot::Sender<Result<Answer, BoxError>>) {
        let answer = self.carry_out(request).await;
        let passed = tokio::select! {
            biased;
            () = reply.closed() => return,
            passed = self.passage() => passed,
        };
        // Nobody may be waiting any more; then nobody hears of it.
        let _ = reply.send(passed.and(answer));
    }

    async fn carry_out(&self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let call = match Call::read(&self.name, &parts, &body) {
            Ok(call) => Arc::new(call),
            Err(refusal) => return Ok(refused(&refusal)),
        };
        if let Err(broken) = self.passage().await {
            self.server.note(&call, Some(Fault::Unreachable), |_| {});
            return Err(broken);
        }
        let fate = self.server.fate(&call, self.undisturbed);
        tokio::time::sleep(fate.before()).await;
        let answer = match fate.fault {
            Some(Fault::Unreachable | Fault::CrashBefore) => {
                self.server.note(&call, fate.fault, |_| {});
                Err(reset())
            }
            Some(Fault::Status(code)) => {
                self.server.note(&call, fate.fault, |record| record.code = Some(code));
                Ok(refused(&Refusal::of_code(code)))
            }
            fault if call.verb == Verb::Watch => Ok(self.open_watch(&call, fault)),
            fault => Ok(self.apply(&call, fault)),
        };
        if matches!(fate.fault, Some(Fault::CrashBefore | Fault::CrashAfter)) {
            self.crash();
        }
        tokio::time::sleep(fate.after()).await;
        match fate.fault {
            Some(Fault::AnswerLost) => Err(reset()),
            Some(Fault::DoneThenStatus(code)) => Ok(refused(&Refusal::of_code(code))),
            _ => answer,
        }
    }

    fn apply(&self, call: &Call, fault: Option<Fault>) -> Answer {
        let now = self.server.now();
        let done = self.server.state().store.apply(call, now);
        self.server.note(call, fault, |record| match &done {
            Ok(done) => {
                record.code = Some(done.code);
                record.resource_version = version_of(&done.body);
                record.changed = done.changed;
                if record.name.is_empty()
                    && let (Verb::Create, Some(name)) = (call.verb, done.body["metadata"]["name"].as_str())
                {
                    record.name = name.into();
                }
            }
            Err(refusal) => record.code = Some(refusal.code),
        });
        match done {
            Ok(done) => answer(done.code, &done.body),
            Err(refusal) => refused(&refusal),
        }
    }

    fn open_watch(&self, call: &Arc<Call>, fault: Option<Fault>) -> Answer {
        let opened = self.server.state().store.watch(call);
        let code = opened.as_ref().map_or_else(|refusal| refusal.code, |_| 200);
        self.server.note(call, fault, |record| {
            record.code = Some(code);
            record.resource_version = call.query("resourceVersion").parse().unwrap_or(0);
        });
        match opened {
            Ok((first, events)) => {
                let cut = if let Some(Fault::WatchCut(after)) = fault { Some(after) } else { None };
                let body = watch::open(&self.server, self, call, first, events, cut);
                http_answer(200).body(body).expect("made of constants")
            }
            Err(refusal) => refused(&refusal),
        }
    }
}

impl tower::Service<Request<Body>> for SimClient {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (reply, answer) = oneshot::channel();
        if self.is_crashed() {
            return Box::pin(std::future::pending());
        }
        // In the server's runtime and not the caller's: it goes on when the caller is frozen or dead.
        self.server.runtime().spawn(self.clone().serve(request, reply));
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(reset())) })
    }
}

pub(super) fn reset() -> BoxError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}

fn version_of(body: &Value) -> u64 {
    body["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn http_answer(code: u16) -> http::response::Builder {
    Response::builder().status(code).header(header::CONTENT_TYPE, "application/json")
}

fn answer(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
    http_answer(code).body(body).expect("a status code and a constant header")
}

fn refused(refusal: &Refusal) -> Answer {
    if *refusal == Refusal::no_such_page() {
        let body = Full::new(Bytes::from(refusal.message.clone())).map_err(|never| match never {}).boxed_unsync();
        return Response::builder().status(refusal.code).body(body).expect("a status code");
    }
    let mut answer = answer(refusal.code, &refusal.body());
    if let Some(seconds) = refusal.retry_after() {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}
