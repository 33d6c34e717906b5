//! Which pods are being notified of which rotation, and how fast that may go on.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// Calls about pods at the same time: they must leave room for those that store tokens and renew the Lease.
pub const AT_ONCE: usize = 8;

/// `namespace`, `name` of a connection.
pub type Key = (String, String);

/// What this process has notified pods of, and how fast it may go on.
pub struct PodNotifier {
    /// Pods in a second; 0: none are notified.
    per_second: u16,
    room: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// What the pods of a connection are being notified of right now. The last one counts.
    under_way: BTreeMap<Key, String>,
    /// What was reported last, by the connection's uid.
    notified: BTreeMap<String, String>,
    /// When the next pod may be notified.
    free_at: Instant,
}

impl PodNotifier {
    /// Notifies so many pods a second at most; 0: none.
    pub fn new(per_second: u16) -> Self {
        let state = State { under_way: BTreeMap::new(), notified: BTreeMap::new(), free_at: Instant::now() };
        Self { per_second, room: Semaphore::new(AT_ONCE), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the pods of this connection should know. True if they are to be notified: it differs from the last, and they may
    /// not know it.
    pub fn is_news(&self, uid: &str, mark: &str, may_be_unknown: bool) -> bool {
        let before = self.state().notified.insert(uid.to_owned(), mark.to_owned());
        self.per_second > 0 && before.as_deref() != Some(mark) && may_be_unknown
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, uid: &str) {
        self.state().notified.remove(uid);
    }

    /// Notes a mark; true if these pods are not being notified already.
    pub fn begin(&self, key: &Key, mark: String) -> bool {
        self.state().under_way.insert(key.clone(), mark).is_none()
    }

    /// What these pods are to be notified of.
    pub fn word(&self, key: &Key) -> Option<String> {
        self.state().under_way.get(key).cloned()
    }

    /// These notified pods; false if there is a newer word by now.
    pub fn finish(&self, key: &Key, mark: &str) -> bool {
        let mut state = self.state();
        let done = state.under_way.get(key).is_none_or(|word| word == mark);
        if done {
            state.under_way.remove(key);
        }
        done
    }

    /// These pods are not being notified any more, though not all were.
    pub fn abandon(&self, key: &Key) {
        self.state().under_way.remove(key);
    }

    /// A place among the calls that are under way; it is given back when the value is dropped. No one closes the room.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Waits for its turn: a second's worth at once, then evenly.
    pub async fn turn(&self) {
        let second = Duration::from_secs(1);
        let at = {
            let mut state = self.state();
            let at = state.free_at.max(Instant::now().checked_sub(second).unwrap_or(state.free_at));
            state.free_at = at + second / u32::from(self.per_second.max(1));
            at
        };
        sleep_until(at).await;
    }
}
