//! One call, from its request to its response: checked, its body kept where it is small, held while there is no good token, sent, and
//! sent again where the API rejected an old token.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, http::request::Parts};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep_until,
};

use super::{
    body::{self, AtEnd, ProxyBody, Upload},
    metrics::{Metrics, Outcome},
    problem::{Circumstances, Problem},
    rules::{self, Hosts},
    token::keeper::{Keeper, Waiting},
    upstream::Upstream,
};
use crate::domain::{
    proxy::{
        call::{Answer, Call, CallId, Route},
        step::{Step, Unavailable},
    },
    snapshot::published::Access,
};

/// Calls that are at the API at once.
const MOST_IN_FLIGHT: usize = 256;
/// Calls that wait at once.
const MOST_HELD: usize = 512;

const ENDED_EARLY: Problem = Problem::BadRequest("the body of the request ended early, or paused for 60 s");

/// What every call needs.
pub struct Forward {
    pub keeper: Arc<Keeper>,
    pub upstream: Upstream,
    pub hosts: Hosts,
    /// Names this process in `Via`.
    pub own_name: String,
    pub reconnect_url: Option<url::Url>,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// How much is done at once.
pub struct Limits {
    turns: Arc<Semaphore>,
    held: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    next_id: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MOST_IN_FLIGHT)),
            held: Arc::new(Semaphore::new(MOST_HELD)),
            bodies: Arc::new(Semaphore::new(body::BUDGET)),
            next_id: AtomicU64::new(0),
        }
    }
}

/// A call may be sent now.
struct Turn {
    access: Access,
    permit: OwnedSemaphorePermit,
}

/// A 401 that is kept until it is clear whose it is.
struct Unauthorized(Response<ProxyBody>);

impl Forward {
    /// Answers one request. `answering` is dropped when the response has ended.
    pub async fn call(&self, request: Request<Incoming>, answering: Box<dyn Send>) -> Response<ProxyBody> {
        let began = Instant::now();
        let in_flight = self.metrics.begin();
        let response = match self.forward(request, vec![Box::new(in_flight), answering]).await {
            Ok(response) => {
                self.metrics.answered(Outcome::Upstream(response.status()));
                response
            }
            Err(problem) => {
                self.metrics.answered(Outcome::Problem(problem));
                let (state, content) = self.keeper.known();
                let reconnect_url = self.reconnect_url.as_ref();
                problem.response(&Circumstances { state, content: content.as_ref(), reconnect_url })
            }
        };
        self.metrics.took(began.elapsed());
        response
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        mut at_end: Vec<Box<dyn Send>>,
    ) -> Result<Response<ProxyBody>, Problem> {
        rules::check(&request, &self.hosts, &self.own_name)?;
        let (mut parts, incoming) = request.into_parts();
        let patience = rules::patience(&parts.headers);
        let mut upload = Upload::read(incoming, &self.limits.bodies).await.map_err(|body::EndedEarly| ENDED_EARLY)?;
        rules::clean_request(&mut parts.headers, &self.own_name);
        let id = CallId(self.limits.next_id.fetch_add(1, Ordering::Relaxed));
        let route = Route::new(parts.method.as_str(), parts.uri.path());
        let mut call = Call::new(id, route, upload.is_kept(), patience);
        let _entered = self.keeper.enter(id);
        let mut unauthorized = None;
        loop {
            let Turn { access, permit } = match self.turn(&mut call).await? {
                Some(turn) => turn,
                // It was sent before: the gate passes through what came back.
                None => return unauthorized.map(|Unauthorized(response)| response).ok_or(Problem::UpstreamBroken),
            };
            if unauthorized.take().is_some() {
                self.metrics.resent();
            }
            let response = match self.send(&mut parts, &mut upload, &access).await {
                Ok(response) => response,
                Err(problem) => {
                    self.keeper.answered(&mut call, Answer::Other);
                    return Err(problem);
                }
            };
            if response.status() != StatusCode::UNAUTHORIZED {
                let is_accepted = rules::shows_that_the_token_is_good(response.status());
                self.keeper.answered(&mut call, if is_accepted { Answer::Success } else { Answer::Other });
                at_end.push(Box::new(permit));
                return Ok(self.cleaned(response).map(|body| body::download(body, AtEnd(at_end))));
            }
            let is_explicit = rules::names_invalid_token(response.headers());
            self.metrics.unauthorized();
            let (mut head, body) = self.cleaned(response).into_parts();
            let kept = body::keep_401(body, AtEnd(vec![Box::new(permit)])).await;
            // Another token may be there already.
            self.keeper.look().await;
            self.keeper.answered(&mut call, Answer::Unauthorized { is_explicit });
            if kept.is_whole && parts.method != Method::HEAD {
                // It may have broken off: its length is that of what arrived.
                head.headers.remove(header::CONTENT_LENGTH);
            }
            let response = Response::from_parts(head, kept.body);
            if !kept.is_whole {
                return Ok(response);
            }
            unauthorized = Some(Unauthorized(response));
        }
    }

    /// Waits until the call may be sent; none: the client gets the 401 that came back for it.
    async fn turn(&self, call: &mut Call) -> Result<Option<Turn>, Problem> {
        self.keeper.look_if_old().await;
        let mut changes = self.keeper.changes();
        let (mut permit, mut held, mut has_looked) = (None, None, false);
        loop {
            changes.borrow_and_update();
            permit = permit.or_else(|| Arc::clone(&self.limits.turns).try_acquire_owned().ok());
            let (until, needs_turn) = match (self.keeper.ask(call, permit.is_some()), permit.take()) {
                (Step::Send(access), Some(permit)) => {
                    self.metrics.held(held.map(|held: Held| held.since.elapsed()));
                    return Ok(Some(Turn { access, permit }));
                }
                // It has no turn, so it is not sent.
                (Step::Send(_), None) => return Err(Problem::Overloaded),
                (Step::PassThrough, _) => return Ok(None),
                (Step::Unavailable(_), _) if !has_looked => {
                    has_looked = true;
                    self.keeper.look().await;
                    continue;
                }
                (Step::Unavailable(why), _) => return Err(Problem::Unavailable(why)),
                (Step::Wait(until), had_turn) => {
                    held = match held {
                        Some(held) => Some(held),
                        None => Some(self.hold()?),
                    };
                    (self.keeper.instant(until), had_turn.is_none())
                }
            };
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| Problem::Unavailable(Unavailable::NotReady))?,
                () = sleep_until(until) => {}
                turn = Arc::clone(&self.limits.turns).acquire_owned(), if needs_turn => permit = turn.ok(),
            }
        }
    }

    /// A place among those that wait.
    fn hold(&self) -> Result<Held, Problem> {
        let place = Arc::clone(&self.limits.held).try_acquire_owned().map_err(|_| Problem::Overloaded)?;
        Ok(Held { _place: place, _waiting: self.keeper.wait(), since: Instant::now() })
    }

    /// Sends the call; once more if a connection broke and nothing can be repeated by that.
    async fn send(
        &self,
        parts: &mut Parts,
        upload: &mut Upload,
        access: &Access,
    ) -> Result<Response<Incoming>, Problem> {
        let authorization = rules::authorization(access).ok_or(Problem::Unavailable(Unavailable::NotReady))?;
        parts.headers.insert(header::AUTHORIZATION, authorization);
        let mut may_repeat = parts.method.is_safe() && upload.is_kept();
        loop {
            let (body, sent) = upload.to_send().ok_or(Problem::Unavailable(Unavailable::NotReplayable))?;
            match self.upstream.send(parts, body, sent).await {
                Err(Problem::UpstreamBroken) if may_repeat => may_repeat = false,
                answered => return answered,
            }
        }
    }

    fn cleaned(&self, response: Response<Incoming>) -> Response<Incoming> {
        let mut response = response;
        rules::clean_response(response.headers_mut(), self.upstream.origin());
        response
    }
}

/// A call that waits.
struct Held {
    _place: OwnedSemaphorePermit,
    _waiting: Waiting,
    since: Instant,
}
