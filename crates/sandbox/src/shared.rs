//! The one state behind both listeners and the Rust API: authority and scripts under a lock, and
//! the news of every change. The only place that brings clock and authority together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    authority::{Authority, Credentials, ExchangeId, ExchangeRecord, TokenRequest},
    script::{ANY, Reply, Scripts, Step, Wait},
};

/// Called with every finished exchange, outside of all locks.
pub type Observer = Arc<dyn Fn(&ExchangeRecord) + Send + Sync>;

/// What was waited for did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the sandbox did not come to the awaited state within {0:?}")]
pub struct Timeout(pub Duration);

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    version: watch::Sender<u64>,
    started: Instant,
    observer: Option<Observer>,
}

pub(crate) struct State {
    pub(crate) authority: Authority,
    pub(crate) scripts: Scripts,
    /// Those of introspections.
    pub(crate) introspections: Scripts,
    pub(crate) calls: Calls,
    /// How often each connection's held exchanges were released.
    releases: BTreeMap<String, u64>,
}

/// What became of calls to the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// How often the call with this id was carried out.
    pub carried_out: BTreeMap<String, u64>,
    /// How many were answered 401.
    pub refused: u64,
}

/// An exchange that was begun, and how it is to be treated.
struct Begun {
    id: ExchangeId,
    step: Step,
    held: Held,
}

/// Whose release ends a hold: the next one after those that were counted.
struct Held {
    name: String,
    releases: u64,
}

impl Shared {
    pub(crate) fn new(authority: Authority, observer: Option<Observer>) -> Self {
        let state = State {
            authority,
            scripts: Scripts::default(),
            introspections: Scripts::default(),
            calls: Calls::default(),
            releases: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
            started: Instant::now(),
            observer,
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics half-way through a change, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state at one instant, and tells everyone who waits for changes.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        // Read under the lock: two changes never see their instants in the wrong order.
        let result = change(&mut state, self.now());
        drop(state);
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
        result
    }

    /// Blocks until the authority is as wanted.
    pub(crate) fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Authority) -> bool,
    ) -> Result<(), Timeout> {
        let (_state, result) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| !wanted(&state.authority))
            .unwrap_or_else(PoisonError::into_inner);
        if result.timed_out() { Err(Timeout(timeout)) } else { Ok(()) }
    }

    /// The same without blocking, on the sandbox's own runtime.
    pub(crate) async fn until(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Authority) -> bool,
    ) -> Result<(), Timeout> {
        let mut changes = self.version.subscribe();
        let waiting = async {
            while !self.read(|state| wanted(&state.authority)) {
                // The sender lives as long as `self`, so this ends with a change only.
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, waiting).await.map_err(|_| Timeout(timeout))
    }

    /// Lets go of the exchanges of a connection that are held now.
    pub(crate) fn release(&self, name: &str) {
        self.change(|state, _| *state.releases.entry(name.to_owned()).or_default() += 1);
    }

    /// One exchange from begin to finish. Whoever calls must let it run to its end, client or not.
    pub(crate) async fn exchange(&self, request: TokenRequest) -> Reply {
        let mut begun = self.begin(request);
        self.wait(begun.step.before, &begun.held).await;
        let judged = begun.step.rotates().then(|| {
            self.change(|state, now| {
                begun.held.releases = state.released(&begun.held.name);
                state.authority.rotate(now, begun.id)
            })
        });
        self.wait(begun.step.after, &begun.held).await;
        let reply = begun.step.reply(judged.as_ref(), Timestamp::now());
        let record = self.change(|state, now| {
            state.authority.finish(now, begun.id, reply.delivery());
            state.authority.exchange(begun.id).cloned()
        });
        if let (Some(observer), Some(record)) = (&self.observer, record) {
            observer(&record);
        }
        reply
    }

    fn begin(&self, request: TokenRequest) -> Begun {
        self.change(|state, now| {
            let id = state.authority.begin(now, request);
            let name = state.authority.exchange(id).and_then(|record| record.connection.clone());
            let step = state.scripts.next(name.as_deref());
            Begun { id, step, held: state.held(name) }
        })
    }

    /// Answers a question about a token. It changes nothing, so a client that hangs up ends it.
    pub(crate) async fn introspect(&self, credentials: &Credentials, token: &str) -> Reply {
        let (step, held) = self.change(|state, _| {
            let name = state.authority.note_introspection(token);
            (state.introspections.next(name.as_deref()), state.held(name))
        });
        self.wait(step.before, &held).await;
        let truth = self.read(|state| state.authority.introspect(self.now(), credentials, token));
        self.wait(step.after, &held).await;
        step.introspection_reply(truth, Timestamp::now())
    }

    async fn wait(&self, wait: Option<Wait>, held: &Held) {
        match wait {
            None => {}
            Some(Wait::For(delay)) => tokio::time::sleep(delay).await,
            Some(Wait::Hold) => {
                let mut changes = self.version.subscribe();
                while self.read(|state| state.released(&held.name)) <= held.releases {
                    // The sender lives as long as `self`, so this ends with a change only.
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

impl State {
    fn held(&self, connection: Option<String>) -> Held {
        let name = connection.unwrap_or_else(|| ANY.to_owned());
        let releases = self.released(&name);
        Held { name, releases }
    }

    fn released(&self, name: &str) -> u64 {
        self.releases.get(name).copied().unwrap_or_default()
    }
}
