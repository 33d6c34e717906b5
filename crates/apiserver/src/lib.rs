//! An in-memory Kubernetes API server for simulations under paused time, below the real `kube::Client`.
//!
//! [`ApiServer`] keeps the objects; each simulated process gets a [`SimClient`] of its own, and from it a
//! `kube::Client`. Where code relies on it, the server behaves as the real one does: compare-and-swap, status
//! subresource and generation, writes that change nothing, selectors, lists in pages, metadata-only answers,
//! watches with bookmarks and streaming lists, 410 after a compaction. That it does is shown by the conformance
//! tests, which play the same stories on both. A test that wants a write refused beyond that says so
//! ([`ApiServer::refuse_writes`]).
//!
//! What it does not have, because nothing of the operator's depends on it:
//!
//! - schemas, defaults, admission and rights: specs are kept as they were sent, fields that are not known, too;
//! - namespaces: they need not be there, and never end;
//! - patches that are no merge patches, dry runs, deletions of collections or with a propagation policy (501 or ignored);
//! - staleness: a list or watch from version 0 sees everything, a patch that names no version never conflicts;
//! - lists at an exact version of the past, managed fields but those of the data of Secrets, the `details` of refusals.
//!
//! The server lives on the runtime in which it was made, and each request is a task there. So a client that
//! gives up, is frozen or dies takes nothing back that it sent. A simulated process may live on the same
//! runtime, or on a paused one of its own, to be ticked in turn.
//!
//! The same seed and the same requests give the same trace: nothing here reads a real clock, and nothing
//! iterates over a hash map.
//!
//! | module | |
//! |---|---|
//! | `client`, `call` | HTTP in and out, the switches of one client's line |
//! | `objects`, `watch` | the objects and their history; the stream of a watch |
//! | `kinds`, `names`, `selector`, `refusal` | what differs by resource, what names look like, selectors, `Status` answers |
//! | `faults`, `trace` | what goes wrong, and what happened |

mod call;
mod client;
mod faults;
mod kinds;
mod names;
mod objects;
mod refusal;
mod selector;
#[cfg(test)]
mod tests;
mod trace;
mod watch;

pub use call::{Call, Key, Verb};
pub use client::SimClient;
pub use faults::{Fault, Faults, Rng};
pub use objects::store::Change;
pub use refusal::Refusal;
pub use trace::Record;

use faults::{Fate, Rule, struck_by};
use jiff::{SignedDuration, Timestamp};
use objects::store::Store;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use trace::Trace;

/// When every simulation begins: 2027-01-01T00:00:00Z.
pub const EPOCH: Timestamp = Timestamp::constant(1_798_761_600, 0);

/// The server. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    began: Instant,
    state: Mutex<State>,
}

/// All that changes, under one lock that is never held across an await.
struct State {
    store: Store,
    rng: Rng,
    faults: Faults,
    rules: Vec<Rule>,
    trace: Trace,
    /// Watches of this resource say nothing.
    silent: Option<&'static str>,
    /// They may speak again. (A channel would wake them in an order that no seed decides.)
    unsilenced: Arc<Notify>,
}

impl ApiServer {
    /// A server on the current runtime, where nothing goes wrong until [`set_faults`](Self::set_faults).
    pub fn new(seed: u64) -> Self {
        let state = State {
            store: Store::new(),
            rng: Rng::new(seed),
            faults: Faults::default(),
            rules: Vec::new(),
            trace: Trace::default(),
            silent: None,
            unsilenced: Arc::default(),
        };
        let shared = Shared { runtime: Handle::current(), began: Instant::now(), state: Mutex::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// A new process's way to the server.
    pub fn client(&self, name: &str) -> SimClient {
        SimClient::new(self.clone(), name, false)
    }

    /// The same for one that the thrown faults leave alone: the user, the judge.
    pub fn undisturbed_client(&self, name: &str) -> SimClient {
        SimClient::new(self.clone(), name, true)
    }

    /// Simulated time since the server began, on the server's runtime.
    pub fn elapsed(&self) -> Duration {
        // Each paused runtime has a clock of its own; the caller may be in another.
        let _server = self.shared.runtime.enter();
        self.shared.began.elapsed()
    }

    /// The server's wall clock.
    pub fn now(&self) -> Timestamp {
        EPOCH + SignedDuration::try_from(self.elapsed()).expect("no simulation is that long")
    }
}

/// What goes wrong.
impl ApiServer {
    /// Throws these faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The next call that is picked suffers this. As with all closures given to the server: they run under
    /// its lock, so they must not ask the server for anything.
    pub fn once(&self, picks: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        self.times(1, picks, fault);
    }

    /// The next `count` calls that are picked suffer this.
    pub fn times(&self, count: u32, picks: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        if count > 0 {
            self.state().rules.push(Rule { picks: Box::new(picks), fault, left: Some(count) });
        }
    }

    /// All calls that are picked suffer this, until [`clear_rules`](Self::clear_rules).
    pub fn always(&self, picks: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        self.state().rules.push(Rule { picks: Box::new(picks), fault, left: None });
    }

    pub fn clear_rules(&self) {
        self.state().rules.clear();
    }

    /// How many scripted faults have still to strike: nought proves that a test hit what it aimed at.
    pub fn rules_left(&self) -> usize {
        self.state().rules.len()
    }

    /// Refuses the writes for which the hook has a refusal, in the place of schemas, admission and RBAC. The
    /// hook sees the object as it would be stored (null for a delete).
    pub fn refuse_writes(&self, hook: impl Fn(&Call, &Value) -> Option<Refusal> + Send + 'static) {
        self.state().store.admission = Some(Box::new(hook));
    }

    /// Refuses nothing any more.
    pub fn refuse_nothing(&self) {
        self.state().store.admission = None;
    }

    /// Watches of this resource that stand tell of no change, and do not even notice their own end: what was cached of it grows
    /// old. Lists and new watches show all there is. None: all speak, and tell what they have kept to themselves.
    pub fn silence_watches(&self, resource: Option<&'static str>) {
        let mut state = self.state();
        state.silent = resource;
        state.unsilenced.notify_waiters();
    }

    /// Forgets the history: watches and partial lists that go on from an older version get 410.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// One round of the garbage collector: deletes what only had owners that are gone. Returns what it deleted.
    pub fn collect_garbage(&self) -> Vec<Key> {
        let now = self.now();
        self.state().store.collect_garbage(now)
    }
}

/// For judges.
impl ApiServer {
    /// One object as it is stored; the resource as kubectl writes it (`secrets`, `leases.coordination.k8s.io`).
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state().store.get(&Key::new(resource, namespace, name)).map(|object| (**object).clone())
    }

    /// All objects of a resource, by namespace and name.
    pub fn all(&self, resource: &str) -> Vec<Arc<Value>> {
        let state = self.state();
        let ours = state.store.all().filter(|(key, _)| key.resource == resource);
        ours.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// The version of the last change of anything.
    pub fn resource_version(&self) -> u64 {
        self.state().store.version()
    }

    /// All requests since the last reset, in the order in which the server carried them out.
    pub fn trace(&self) -> Vec<Record> {
        self.state().trace.records().to_vec()
    }

    /// The same without the first so many.
    pub fn trace_after(&self, seen: usize) -> Vec<Record> {
        self.state().trace.records().get(seen..).unwrap_or_default().to_vec()
    }

    /// How many requests there were since the last reset.
    pub fn requests(&self) -> usize {
        self.state().trace.records().len()
    }

    /// What changed after this version, the oldest first. Only some two thousand changes are remembered.
    pub fn changes_since(&self, version: u64) -> Vec<Change> {
        self.state().store.since(version).cloned().collect()
    }

    /// The requests since the last reset that were writes, successful or not.
    pub fn writes(&self) -> Vec<Record> {
        self.trace().into_iter().filter(|record| record.verb.is_write()).collect()
    }

    /// How many requests came from whom since the last reset.
    pub fn calls_by_client(&self) -> BTreeMap<String, usize> {
        self.state().trace.by_client()
    }

    /// Forgets the trace, but not its fingerprint.
    pub fn reset_trace(&self) {
        self.state().trace.reset();
    }

    /// A number over all requests from the beginning: two runs with the same were the same.
    pub fn fingerprint(&self) -> u64 {
        self.state().trace.fingerprint()
    }
}

/// For the other modules.
impl ApiServer {
    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoned only by a panic in a test's closure, and then the test has failed anyhow.
        self.shared.state.lock().unwrap()
    }

    pub fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    fn fate(&self, call: &Call, undisturbed: bool) -> Fate {
        let state = &mut *self.state();
        let mut fate = match undisturbed {
            true => Fate::default(),
            false => state.faults.throw(&mut state.rng, call.verb),
        };
        fate.fault = struck_by(&mut state.rules, call).or(fate.fault);
        fate
    }

    fn event_delay(&self, client: &SimClient) -> Duration {
        let state = &mut *self.state();
        match client.undisturbed() || state.faults.event_delay_ms == 0 {
            true => Duration::ZERO,
            false => state.rng.millis_up_to(state.faults.event_delay_ms),
        }
    }

    /// Until watches of this resource speak.
    async fn until_heard(&self, resource: &str) {
        let unsilenced = Arc::clone(&self.state().unsilenced);
        while self.state().silent == Some(resource) {
            unsilenced.notified().await;
        }
    }

    /// As long as was asked for, or 30 to 60 minutes.
    fn length_of_watch(&self, call: &Call) -> Duration {
        let asked = call.query("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0);
        Duration::from_secs(asked.unwrap_or_else(|| 1800 + self.state().rng.below(1800)))
    }

    fn note(&self, call: &Call, fault: Option<Fault>, fill: impl FnOnce(&mut Record)) {
        let mut record = Record::new(self.elapsed(), call, fault);
        fill(&mut record);
        self.state().trace.note(record);
    }
}
