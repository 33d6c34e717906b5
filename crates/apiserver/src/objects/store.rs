//! What etcd and the watch cache are to the real server: the objects, their history, and who watches.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    call::{Call, Key},
    refusal::Refusal,
};

/// How many changes can be replayed to a watch; an older position is answered with 410.
const HISTORY: usize = 2000;

/// May say no to a write: it sees the request, and the object as it would be stored (null for a delete).
pub type Admission = Box<dyn Fn(&Call, &Value) -> Option<Refusal> + Send>;

/// One change: the state before it and the state after it.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    pub last: Option<Arc<Value>>,
    pub now: Option<Arc<Value>>,
}

/// A line of a watch.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: &'static str,
    pub object: Arc<Value>,
}

impl Change {
    /// What a watch sees of it: an object that leaves the selection is deleted as far as that watch goes.
    fn seen_by(&self, call: &Call) -> Option<Event> {
        let covered = |object: &&Arc<Value>| call.covers(&self.key, object);
        let (last, now) = (self.last.as_ref().filter(covered), self.now.as_ref().filter(covered));
        let (kind, object) = match (last, now) {
            (None, None) => return None,
            (None, Some(now)) => ("ADDED", now.clone()),
            (Some(_), Some(now)) => ("MODIFIED", now.clone()),
            (Some(last), None) => ("DELETED", Arc::new(with_version((**last).clone(), self.version))),
        };
        Some(Event { kind, object })
    }
}

/// The rest of a list that was asked for in pages: a snapshot, as the real server continues one.
struct Page {
    version: u64,
    rest: Vec<Arc<Value>>,
}

#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    uids: u64,
    history: VecDeque<Change>,
    /// The version of the youngest change that was forgotten.
    compacted: u64,
    watchers: Vec<(Arc<Call>, UnboundedSender<Event>)>,
    pages: BTreeMap<u64, Page>,
    pages_given: u64,
    pub admission: Option<Admission>,
}

impl Store {
    /// An empty store, at a version that is not nought: to a list or a watch, that means "any".
    pub fn new() -> Self {
        Self { version: 1, ..Self::default() }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// Looks like a real one, and counts.
    pub fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012}", self.uids)
    }

    /// Stores an object, or removes it, under a new version, and tells those who watch.
    pub fn commit(&mut self, key: Key, now: Option<Value>) -> Arc<Value> {
        self.version += 1;
        let now = now.map(|object| Arc::new(with_version(object, self.version)));
        let last = match &now {
            Some(now) => self.objects.insert(key.clone(), now.clone()),
            None => self.objects.remove(&key),
        };
        let shown = now.clone().or_else(|| last.clone()).expect("only what is there is ever removed");
        let change = Change { version: self.version, key, last, now };
        self.watchers.retain(|(call, events)| match change.seen_by(call) {
            Some(event) => events.send(event).is_ok(),
            None => !events.is_closed(),
        });
        self.history.push_back(change);
        if self.history.len() > HISTORY {
            self.forget(HISTORY / 2);
        }
        shown
    }

    /// etcd's compaction: what was watched up to an old version, or listed in part, must begin anew.
    pub fn compact(&mut self) {
        // What has happened can still be read with `since`: only watches and lists have to start again.
        self.expire(self.history.back().map(|youngest| youngest.version));
    }

    fn forget(&mut self, changes: usize) {
        let youngest = self.history.drain(..changes).next_back();
        self.expire(youngest.map(|youngest| youngest.version));
    }

    fn expire(&mut self, version: Option<u64>) {
        self.compacted = self.compacted.max(version.unwrap_or_default());
        self.pages.retain(|_, page| page.version >= self.compacted);
    }

    fn covered(&self, call: &Call) -> impl Iterator<Item = &Arc<Value>> {
        // Keys sort by resource first: an unrelated thousand of Secrets costs a list nothing.
        let from = Key::new(&call.resource, &call.namespace, "");
        let ours = self.objects.range(from..).take_while(|(key, _)| key.resource == call.resource);
        ours.filter(|(key, object)| call.covers(key, object)).map(|(_, object)| object)
    }

    pub fn list(&mut self, call: &Call) -> Result<Value, Refusal> {
        let (version, mut items) = match call.query("continue") {
            "" => {
                self.check_version_of_list(call)?;
                (self.version, self.covered(call).cloned().collect::<Vec<_>>())
            }
            token => {
                let token: u64 = token.parse().map_err(|_| Refusal::bad_request("continue key is not valid"))?;
                let page = self
                    .pages
                    .get(&token)
                    .ok_or_else(|| Refusal::expired("The provided continue parameter is too old"))?;
                (page.version, page.rest.clone())
            }
        };
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if let Some(limit) = call.number("limit")?.filter(|limit| *limit > 0)
            && let Ok(limit) = usize::try_from(limit)
            && items.len() > limit
        {
            let rest = items.split_off(limit);
            if call.labels.is_empty() && call.fields.is_empty() {
                metadata["remainingItemCount"] = json!(rest.len());
            }
            self.pages_given += 1;
            metadata["continue"] = json!(self.pages_given.to_string());
            self.pages.insert(self.pages_given, Page { version, rest });
        }
        let mut list = call.answer_type("List");
        list["metadata"] = metadata;
        list["items"] = match items.is_empty() && call.metadata_only {
            // What clients must bear with.
            true => Value::Null,
            false => items.iter().map(|object| call.shape_in_list(object)).collect(),
        };
        Ok(list)
    }

    fn check_version_of_list(&self, call: &Call) -> Result<(), Refusal> {
        let given = call.number("resourceVersion")?;
        let wanted = given.unwrap_or(0);
        let good = match call.query("resourceVersionMatch") {
            "" => true,
            "NotOlderThan" => given.is_some(),
            "Exact" => wanted > 0,
            _ => false,
        };
        if !good || !call.query("sendInitialEvents").is_empty() {
            let why = "resourceVersionMatch or sendInitialEvents: Forbidden: it does not suit the rest of this list";
            return Err(Refusal::invalid(&call.resource, "", why));
        }
        if wanted > self.version {
            return Err(Refusal::new(504, "Timeout", format!("Too large resource version: {wanted}")));
        }
        if call.query("resourceVersionMatch") == "Exact" && wanted != self.version {
            return Err(Refusal::not_simulated("a list at an exact, older version"));
        }
        Ok(())
    }

    /// Begins a watch: what it is told at once, and what is still to come.
    pub fn watch(&mut self, call: &Arc<Call>) -> Result<(Vec<Event>, UnboundedReceiver<Event>), Refusal> {
        let from =
            call.number("resourceVersion").map_err(|refusal| Refusal::new(500, "", refusal.message))?.unwrap_or(0);
        let streaming_list = call.query("sendInitialEvents") == "true";
        let expected = if call.query("sendInitialEvents").is_empty() { "" } else { "NotOlderThan" };
        if call.query("resourceVersionMatch") != expected {
            let why =
                "resourceVersionMatch: Forbidden: it is to be NotOlderThan with sendInitialEvents, and absent without";
            return Err(Refusal::invalid(&call.resource, "", why));
        }
        let (sender, receiver) = unbounded_channel();
        let mut first = Vec::new();
        if streaming_list || from == 0 {
            let added = |object: &Arc<Value>| Event { kind: "ADDED", object: object.clone() };
            first.extend(self.covered(call).map(added));
            if streaming_list && call.query("allowWatchBookmarks") == "true" {
                first.push(self.bookmark(call, true));
            }
        } else if from < self.compacted {
            let refusal = Refusal::expired(format!("too old resource version: {from} ({})", self.compacted));
            // The sender is dropped: the real server, too, ends the watch after this line.
            return Ok((vec![Event { kind: "ERROR", object: Arc::new(refusal.body()) }], receiver));
        } else {
            first.extend(self.since(from).filter_map(|change| change.seen_by(call)));
        }
        self.watchers.push((call.clone(), sender));
        Ok((first, receiver))
    }

    /// The changes after this version, the oldest first.
    pub fn since(&self, version: u64) -> impl Iterator<Item = &Change> {
        let seen = self.history.partition_point(|change| change.version <= version);
        self.history.range(seen..)
    }

    /// All up to the present version has been told.
    pub fn bookmark(&self, call: &Call, ends_initial_events: bool) -> Event {
        let mut object = call.answer_type("");
        object["metadata"] = json!({"resourceVersion": self.version.to_string()});
        if ends_initial_events {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        Event { kind: "BOOKMARK", object: Arc::new(object) }
    }
}

fn with_version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}
