//! Which connections name a Secret: so that an event of a Secret finds them without a look at all of them, and 30,000
//! unrelated Secrets cost no memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;
use kube_runtime::reflector::ObjectRef;

use crate::api::{PleoConnection, names};

/// `namespace`, `name`.
type Key = (String, String);

/// From Secrets to the connections that name them.
#[derive(Default)]
pub struct Index {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secrets_of: BTreeMap<Key, BTreeSet<String>>,
    connections_of: BTreeMap<Key, BTreeSet<String>>,
}

impl Index {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection as it is now.
    pub fn put(&self, connection: &PleoConnection) {
        let key = key(connection);
        let mut state = self.state();
        state.remove(&key);
        let named = secrets_of(connection);
        for secret in &named {
            state.connections_of.entry((key.0.clone(), secret.clone())).or_default().insert(key.1.clone());
        }
        state.secrets_of.insert(key, named);
    }

    /// A connection that is gone.
    pub fn remove(&self, connection: &PleoConnection) {
        self.state().remove(&key(connection));
    }

    /// All connections.
    pub fn all(&self) -> Vec<ObjectRef<PleoConnection>> {
        let state = self.state();
        state.secrets_of.keys().map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The connections that name this Secret.
    pub fn connections(&self, namespace: &str, secret: &str) -> Vec<String> {
        let found = self.state().connections_of.get(&(namespace.to_owned(), secret.to_owned())).cloned();
        found.unwrap_or_default().into_iter().collect()
    }
}

impl State {
    fn remove(&mut self, connection: &Key) {
        for secret in self.secrets_of.remove(connection).unwrap_or_default() {
            let key = (connection.0.clone(), secret);
            if let Some(connections) = self.connections_of.get_mut(&key) {
                connections.remove(&connection.1);
                if connections.is_empty() {
                    self.connections_of.remove(&key);
                }
            }
        }
    }
}

fn key(connection: &PleoConnection) -> Key {
    (connection.namespace().unwrap_or_default(), connection.name_any())
}

fn secrets_of(connection: &PleoConnection) -> BTreeSet<String> {
    let (name, spec) = (connection.name_any(), &connection.spec);
    let initial = spec.initial_grant.as_ref().map(|initial| initial.secret_ref.name.clone());
    let named =
        [names::grant_secret(&name), spec.client.secret_ref.name.clone(), spec.secret_name.clone().unwrap_or(name)];
    named.into_iter().chain(initial).collect()
}
