//! Holds the gate ([`crate::domain::proxy::gate`]) under a lock, and brings it the news: by looking at the folder, often while a call
//! waits, and by what the API answers. The folder is polled: not every node's file system reports changes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::folder::{self, Unreadable, Version};
use crate::{
    clock::Clock,
    domain::{
        proxy::{
            call::{Answer, Call, CallId, Moment},
            gate::Gate,
            step::{News, State, Step},
        },
        snapshot::published::Content,
        token::AccessToken,
    },
};

/// Between two looks while no call waits, while one does, and when that has taken long.
const IDLE: Duration = Duration::from_secs(1);
const WAITING: Duration = Duration::from_millis(10);
const WAITING_LONG: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(5);
/// No look takes longer.
const LOOK: Duration = Duration::from_secs(1);
/// A call is not sent on an older look.
const FRESH: Duration = Duration::from_millis(50);

/// What all calls share.
pub struct Keeper {
    folder: PathBuf,
    clock: Clock,
    start: Instant,
    gate: Mutex<Gate>,
    changed: watch::Sender<u64>,
    looked: tokio::sync::Mutex<Look>,
    looked_at: Mutex<Option<Instant>>,
    waiting: AtomicUsize,
    someone_waits: Notify,
}

/// What the last look found.
#[derive(Default)]
struct Look {
    version: Option<Version>,
    /// Why the folder could not be read, as it was logged.
    problem: Option<String>,
    /// A look that is not over.
    reading: Option<JoinHandle<Found>>,
}

impl Look {
    /// Logs why the folder cannot be read, once for each reason.
    fn note(&mut self, folder: &Path, read: &Result<(Content, Option<Version>), Unreadable>) {
        let problem = read.as_ref().err().map(ToString::to_string);
        if let Some(why) = problem.as_ref().filter(|why| self.problem.as_ref() != Some(why)) {
            warn!("the token folder {} cannot be used: {why}", folder.display());
        }
        self.problem = problem;
    }
}

impl Keeper {
    pub fn new(folder: PathBuf, clock: Clock, max_hold: Duration) -> Arc<Self> {
        Arc::new(Self {
            folder,
            clock,
            start: Instant::now(),
            gate: Mutex::new(Gate::new(max_hold)),
            changed: watch::Sender::new(0),
            looked: tokio::sync::Mutex::default(),
            looked_at: Mutex::default(),
            waiting: AtomicUsize::new(0),
            someone_waits: Notify::new(),
        })
    }

    pub fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), elapsed: self.start.elapsed() }
    }

    /// An instant that the gate named.
    pub fn instant(&self, elapsed: Duration) -> Instant {
        self.start + elapsed
    }

    /// Brings a message each time when calls that wait are to ask again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn ask(&self, call: &mut Call, has_turn: bool) -> Step {
        let now = self.now();
        let mut gate = self.gate();
        let before = gate.last_state();
        let step = gate.ask(call, has_turn, now);
        self.note_state(gate, before, false, now);
        step
    }

    pub fn answered(&self, call: &mut Call, answer: Answer) {
        let now = self.now();
        let mut gate = self.gate();
        let (before, is_news) = (gate.last_state(), gate.answered(call, answer, now));
        self.note_state(gate, before, is_news, now);
    }

    fn leave(&self, id: CallId) {
        let now = self.now();
        let mut gate = self.gate();
        let (before, is_news) = (gate.last_state(), gate.leave(id, now));
        self.note_state(gate, before, is_news, now);
    }

    /// A call that leaves when this is dropped, however it ends.
    pub fn enter(self: &Arc<Self>, id: CallId) -> Entered {
        Entered { keeper: Arc::clone(self), id }
    }

    /// While this is held, the folder is looked at often.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.someone_waits.notify_one();
        }
        Waiting { keeper: Arc::clone(self) }
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What is known, for answers and metrics.
    pub fn known(&self) -> (State, Option<Content>) {
        let now = self.now();
        let gate = self.gate();
        (gate.state(now), gate.content().cloned())
    }

    /// The token, while the API rejects it.
    pub fn rejected_token(&self) -> Option<AccessToken> {
        let now = self.now();
        self.gate().rejected_token(now)
    }

    /// Looks at the folder, unless that was done a moment ago.
    pub async fn look_if_old(&self) {
        if self.is_fresh() {
            return;
        }
        let look = self.looked.lock().await;
        // Another call may have looked meanwhile.
        if !self.is_fresh() {
            self.look_now(look).await;
        }
    }

    fn is_fresh(&self) -> bool {
        let is_fresh = |at: Instant| at.elapsed() < FRESH;
        self.looked_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(is_fresh)
    }

    /// Looks at the folder. One look at a time: who comes meanwhile looks again.
    pub async fn look(&self) {
        let look = self.looked.lock().await;
        self.look_now(look).await;
    }

    async fn look_now(&self, mut look: tokio::sync::MutexGuard<'_, Look>) {
        let (path, before) = (self.folder.clone(), look.version.clone());
        // A folder on a file system that hangs must not hold up anything else; and it is asked once.
        let mut reading = look.reading.take().unwrap_or_else(|| {
            tokio::task::spawn_blocking(move || {
                let is_same = before.is_some() && folder::version(&path) == before;
                if is_same { Found::Same } else { Found::Read(folder::read(&path)) }
            })
        });
        let found = match timeout(LOOK, &mut reading).await {
            Ok(found) => found.unwrap_or(Found::Same),
            Err(_) => {
                look.reading = Some(reading);
                Found::Read(Err(Unreadable::Hanging))
            }
        };
        let now = self.now();
        *self.looked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let Found::Read(read) = found else {
            let gate = self.gate();
            let before = gate.last_state();
            self.note_state(gate, before, false, now);
            return;
        };
        look.note(&self.folder, &read);
        let (content, version) = read.ok().unzip();
        look.version = version.flatten();
        let mut gate = self.gate();
        let (before, news) = (gate.last_state(), gate.look(content, now));
        if news == News::WrongClock {
            warn!("the token had expired when it was first read: a clock is wrong, and its expiry is ignored");
        }
        self.note_state(gate, before, news != News::None, now);
    }

    /// Looks at the folder for as long as the process runs.
    pub async fn watch(self: Arc<Self>) {
        let mut waiting_since = None;
        loop {
            self.look().await;
            let pause = match (self.waiting(), waiting_since) {
                (0, _) => {
                    waiting_since = None;
                    IDLE
                }
                (_, None) => {
                    waiting_since = Some(Instant::now());
                    WAITING
                }
                (_, Some(since)) if since.elapsed() < LONG => WAITING,
                (_, Some(_)) => WAITING_LONG,
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.someone_waits.notified() => {}
            }
        }
    }

    /// Notes and logs another state. Calls that wait ask again then, and where something else is news for them.
    fn note_state(&self, mut gate: MutexGuard<'_, Gate>, before: State, is_news: bool, now: Moment) {
        let state = gate.note_trouble(now);
        drop(gate);
        if before != state {
            info!(state = state.as_str(), before = before.as_str(), "the token's state changed");
        }
        if before != state || is_news {
            self.changed.send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        // No code panics half-way through a change.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Found {
    Same,
    Read(Result<(Content, Option<Version>), Unreadable>),
}

/// See [`Keeper::enter`].
pub struct Entered {
    keeper: Arc<Keeper>,
    id: CallId,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.keeper.leave(self.id);
    }
}

/// See [`Keeper::wait`].
pub struct Waiting {
    keeper: Arc<Keeper>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.keeper.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
