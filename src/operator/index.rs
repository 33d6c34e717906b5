//! Which connections name a Secret, so that an event of a Secret finds them without a scan of all of them, and 30,000
//! unrelated Secrets cost no memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::ResourceExt;

use crate::{
    api::{PleoConnection, names},
    domain::queue::Key,
};

/// From Secrets to the connections that name them.
#[derive(Default)]
pub struct Index {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<Key, Known>,
    connections_of: BTreeMap<Key, BTreeSet<String>>,
    /// While a list comes in: what was in it so far.
    listed: Option<BTreeSet<Key>>,
}

struct Known {
    uid: String,
    secrets: BTreeSet<String>,
    /// Of what a pass depends on.
    hash: u64,
}

/// What is known now.
pub struct Put {
    /// What a pass depends on differs from what was known, or nothing was.
    pub is_changed: bool,
    pub gone: Option<Gone>,
}

/// What is no longer needed: no event will name it again.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    /// The connection's namespace.
    pub namespace: String,
    /// Its uid; none: it is there, and names other Secrets now.
    pub uid: Option<String>,
    /// Secrets that it does not name any more.
    pub secrets: Vec<String>,
}

impl Index {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection as it is now; what is gone with how it was: a namesake, or the Secrets of another spec.
    pub fn put(&self, connection: &PleoConnection, hash: u64) -> Put {
        let key = key(connection);
        let mut state = self.state();
        if let Some(listed) = &mut state.listed {
            listed.insert(key.clone());
        }
        let before = state.remove(&key);
        let (uid, secrets) = (connection.uid().unwrap_or_default(), secrets_of(connection));
        for secret in &secrets {
            state.connections_of.entry((key.0.clone(), secret.clone())).or_default().insert(key.1.clone());
        }
        let is_changed = before.as_ref().is_none_or(|before| before.hash != hash);
        let gone = before.map(|before| Gone {
            namespace: key.0.clone(),
            uid: Some(before.uid).filter(|old| *old != uid),
            secrets: before.secrets.difference(&secrets).cloned().collect(),
        });
        state.known.insert(key, Known { uid, secrets, hash });
        Put { is_changed, gone: gone.filter(|gone| gone.uid.is_some() || !gone.secrets.is_empty()) }
    }

    pub fn remove(&self, connection: &PleoConnection) -> Option<Gone> {
        self.state().take(&key(connection))
    }

    /// A list of all connections begins to come in.
    pub fn begins_list(&self) {
        self.state().listed = Some(BTreeSet::new());
    }

    /// The list is complete: what is not in it was deleted while no one watched.
    pub fn ends_list(&self) -> Vec<Gone> {
        let mut state = self.state();
        let Some(listed) = state.listed.take() else { return Vec::new() };
        let missing: Vec<Key> = state.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        missing.iter().filter_map(|key| state.take(key)).collect()
    }

    pub fn all(&self) -> Vec<Key> {
        self.state().known.keys().cloned().collect()
    }

    /// The connections that name this Secret.
    pub fn connections(&self, namespace: &str, secret: &str) -> Vec<String> {
        let found = self.state().connections_of.get(&(namespace.to_owned(), secret.to_owned())).cloned();
        found.unwrap_or_default().into_iter().collect()
    }
}

impl State {
    fn take(&mut self, connection: &Key) -> Option<Gone> {
        let Known { uid, secrets, .. } = self.remove(connection)?;
        Some(Gone { namespace: connection.0.clone(), uid: Some(uid), secrets: secrets.into_iter().collect() })
    }

    fn remove(&mut self, connection: &Key) -> Option<Known> {
        let known = self.known.remove(connection)?;
        for secret in &known.secrets {
            let key = (connection.0.clone(), secret.clone());
            if let Some(connections) = self.connections_of.get_mut(&key) {
                connections.remove(&connection.1);
                if connections.is_empty() {
                    self.connections_of.remove(&key);
                }
            }
        }
        Some(known)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn connection(name: &str, uid: &str, token: &str) -> PleoConnection {
        let spec = json!({"client": {"secretRef": {"name": "pleo-client"}}, "secretName": token});
        let metadata = json!({"namespace": "finance", "name": name, "uid": uid});
        let (api_version, kind) = ("pleo.io/v1alpha1", "PleoConnection");
        serde_json::from_value(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}))
            .unwrap()
    }

    fn gone(uid: Option<&str>, secrets: &[&str]) -> Gone {
        let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        Gone { namespace: "finance".into(), uid: uid.map(str::to_owned), secrets }
    }

    #[test]
    fn what_a_new_list_does_not_have_is_gone() {
        let index = Index::default();
        index.begins_list();
        assert_eq!(index.put(&connection("acme", "uid-1", "acme-token"), 1).gone, None);
        assert_eq!(index.put(&connection("beta", "uid-2", "beta-token"), 1).gone, None);
        assert_eq!(index.ends_list(), []);
        index.begins_list();
        index.put(&connection("beta", "uid-2", "beta-token"), 1);
        assert_eq!(index.ends_list(), [gone(Some("uid-1"), &["acme-token", "pleo-client", "pleo-grant-acme"])]);
        assert_eq!(index.connections("finance", "pleo-client"), ["beta"]);
        assert_eq!(index.all().len(), 1);
    }

    #[test]
    fn a_namesake_and_another_secret_name_leave_something_behind() {
        let index = Index::default();
        index.put(&connection("acme", "uid-1", "acme-token"), 1);
        let renamed = connection("acme", "uid-1", "other-token");
        assert_eq!(index.put(&renamed, 2).gone, Some(gone(None, &["acme-token"])));
        let again = index.put(&renamed, 2);
        assert_eq!((again.gone, again.is_changed), (None, false));
        assert_eq!(index.put(&connection("acme", "uid-2", "other-token"), 1).gone, Some(gone(Some("uid-1"), &[])));
        let all = ["other-token", "pleo-client", "pleo-grant-acme"];
        assert_eq!(index.remove(&renamed), Some(gone(Some("uid-2"), &all)));
        assert!(index.connections("finance", "pleo-client").is_empty() && index.all().is_empty());
    }
}
