//! The one state behind both listeners and the Rust API: authority and scripts under a lock, and
//! the news of every change. The only place that brings clock and authority together.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::watch;

use crate::{
    authority::{Authority, ExchangeId, ExchangeRecord, TokenRequest},
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
    /// How often each connection's held exchanges were released.
    releases: BTreeMap<String, u64>,
}

/// An exchange that was begun, and how it is to be treated.
struct Begun {
    id: ExchangeId,
    step: Step,
    name: String,
    releases: u64,
}

impl Shared {
    pub(crate) fn new(authority: Authority, observer: Option<Observer>) -> Self {
        let state = State { authority, scripts: Scripts::default(), releases: BTreeMap::new() };
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
        self.wait(begun.step.before, &begun).await;
        let judged = begun.step.rotates().then(|| {
            self.change(|state, now| {
                begun.releases = state.released(&begun.name);
                state.authority.rotate(now, begun.id)
            })
        });
        self.wait(begun.step.after, &begun).await;
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
            let name = name.unwrap_or_else(|| ANY.to_owned());
            let releases = state.released(&name);
            Begun { id, step, name, releases }
        })
    }

    async fn wait(&self, wait: Option<Wait>, begun: &Begun) {
        match wait {
            None => {}
            Some(Wait::For(delay)) => tokio::time::sleep(delay).await,
            Some(Wait::Hold) => {
                let mut changes = self.version.subscribe();
                while self.read(|state| state.released(&begun.name)) <= begun.releases {
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
    fn released(&self, name: &str) -> u64 {
        self.releases.get(name).copied().unwrap_or_default()
    }
}
