//! What this process wrote itself: such a write comes back as a watch event, and must not cost a reconcile.
//!
//! An event can overtake the answer of the very write that caused it. So while a connection is being worked on, its
//! events are parked, and looked at once more when the work is done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// Versions remembered for each object: one pass may adopt, claim, release, claim again, commit and note a restart.
const REMEMBERED: usize = 8;

/// `namespace`, `name`.
type Key = (String, String);

/// The versions that this process wrote last, and the events that wait for a verdict.
#[derive(Default)]
pub struct OwnWrites {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    written: BTreeMap<Key, VecDeque<String>>,
    /// What was written last into a Secret of a user's, by connection: for the others it is news.
    written_for: BTreeMap<Key, BTreeMap<String, String>>,
    /// Connections at work, and the Secrets' events that came meanwhile.
    busy: BTreeMap<Key, Vec<(Key, String)>>,
}

impl OwnWrites {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a write.
    pub fn note(&self, namespace: &str, name: &str, version: &str) {
        let mut state = self.state();
        let versions = state.written.entry((namespace.to_owned(), name.to_owned())).or_default();
        versions.push_back(version.to_owned());
        if versions.len() > REMEMBERED {
            versions.pop_front();
        }
    }

    /// Remembers a write into a Secret that other connections may look at, too.
    pub fn note_for(&self, namespace: &str, connection: &str, name: &str, version: &str) {
        let mut state = self.state();
        let written = state.written_for.entry((namespace.to_owned(), name.to_owned())).or_default();
        written.insert(connection.to_owned(), version.to_owned());
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let (mut state, secret) = (self.state(), (namespace.to_owned(), name.to_owned()));
        state.written.remove(&secret);
        state.written_for.remove(&secret);
    }

    /// Whether an event of the Secret `name` is news for `connection`. If the connection is being worked on, the answer
    /// is no for now, and [`OwnWrites::finish`] gives it.
    pub fn is_news(&self, namespace: &str, connection: &str, name: &str, version: &str) -> bool {
        let mut state = self.state();
        let secret = (namespace.to_owned(), name.to_owned());
        let connection = (namespace.to_owned(), connection.to_owned());
        if state.wrote(&connection, &secret, version) {
            return false;
        }
        match state.busy.get_mut(&connection) {
            Some(parked) => {
                parked.push((secret, version.to_owned()));
                false
            }
            None => true,
        }
    }

    /// Work on a connection begins: what it is about to read is newer than every event so far.
    pub fn begin(&self, namespace: &str, connection: &str) {
        self.state().busy.insert((namespace.to_owned(), connection.to_owned()), Vec::new());
    }

    /// Work on a connection is done. True if something came meanwhile that this process did not write.
    pub fn finish(&self, namespace: &str, connection: &str) -> bool {
        let (mut state, connection) = (self.state(), (namespace.to_owned(), connection.to_owned()));
        let parked = state.busy.remove(&connection).unwrap_or_default();
        parked.iter().any(|(secret, version)| !state.wrote(&connection, secret, version))
    }
}

impl State {
    fn wrote(&self, connection: &Key, secret: &Key, version: &str) -> bool {
        let is_for_it =
            self.written_for.get(secret).and_then(|of| of.get(&connection.1)).is_some_and(|written| written == version);
        is_for_it || self.written.get(secret).is_some_and(|versions| versions.iter().any(|written| written == version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_a_users_secret_is_news_for_other_connections_only() {
        let writes = OwnWrites::default();
        writes.note_for("finance", "acme", "shared-grant", "7");
        let is_news = |connection, version| writes.is_news("finance", connection, "shared-grant", version);
        assert_eq!((is_news("acme", "7"), is_news("beta", "7"), is_news("acme", "8")), (false, true, true));
        writes.forget("finance", "shared-grant");
        assert!(is_news("acme", "7"));
    }
}
