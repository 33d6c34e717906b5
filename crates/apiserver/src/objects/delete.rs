//! How objects go: at once, or marked first, while finalizers or a kubelet hold them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    object::{names, seconds, set, text},
    store::Store,
    write::{Done, precondition_failed},
};
use crate::{
    call::{Call, Key},
    kinds::kind_of,
    refusal::Refusal,
};

/// What a deletion has made of an object.
enum Deletion {
    Removed(Value),
    Pending(Value),
}

impl Store {
    pub(super) fn delete(&mut self, call: &Call, now: Timestamp) -> Result<Done, Refusal> {
        let old = self.present(call)?.clone();
        for (field, label) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let (wanted, found) = (call.body["preconditions"][field].as_str(), text(&old, field));
            if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
                return Err(precondition_failed(call, label, wanted, found));
            }
        }
        self.admit(call, &Value::Null)?;
        let grace = call.body["gracePeriodSeconds"].as_i64();
        match self.remove(call.key(), &old, grace, now) {
            Deletion::Pending(waiting) => Ok(Done { changed: waiting != old, code: 200, body: call.shape(&waiting) }),
            Deletion::Removed(gone) if call.kind().has_grace => {
                Ok(Done { code: 200, body: call.shape(&gone), changed: true })
            }
            Deletion::Removed(_) => {
                let (plural, group) = call.resource.split_once('.').unwrap_or((&call.resource, ""));
                let mut details = json!({"name": call.name, "uid": old["metadata"]["uid"], "kind": plural});
                if !group.is_empty() {
                    details["group"] = json!(group);
                }
                let mut body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
                body["details"] = details;
                Ok(Done { code: 200, body, changed: true })
            }
        }
    }

    /// Removes an object, or marks it as one that waits for its finalizers or its kubelet.
    fn remove(&mut self, key: Key, old: &Value, grace: Option<i64>, now: Timestamp) -> Deletion {
        let has_grace = kind_of(&key.resource).has_grace;
        let grace = if has_grace { grace_of(old, grace) } else { 0 };
        let is_held = !names(old, "finalizers").is_empty();
        let before = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
        let mut deleted = old.clone();
        // What waits already is only hurried, never given more time.
        if (is_held || has_grace) && before.is_none_or(|before| grace < before) {
            set(&mut deleted, "deletionTimestamp", seconds(now + SignedDuration::from_secs(grace)));
            set(&mut deleted, "deletionGracePeriodSeconds", json!(grace));
            if let Some(generation) = old["metadata"]["generation"].as_u64().filter(|_| before.is_none()) {
                set(&mut deleted, "generation", json!(generation + 1));
            }
            deleted = (*self.commit(key.clone(), Some(deleted))).clone();
        }
        if is_held || deleted["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0 {
            return Deletion::Pending(deleted);
        }
        self.commit(key, None);
        set(&mut deleted, "resourceVersion", json!(self.version().to_string()));
        Deletion::Removed(deleted)
    }

    /// Deletes what only had owners that are gone, and what that leaves without, until nothing is left to do.
    pub fn collect_garbage(&mut self, now: Timestamp) -> Vec<Key> {
        let mut collected = Vec::new();
        loop {
            let orphan = |(key, object): &(&Key, &Arc<Value>)| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                text(object, "deletionTimestamp").is_empty()
                    && owners.is_some_and(|owners| owners.iter().all(|owner| !self.lives(key, owner)))
            };
            let found = self.all().find(orphan).map(|(key, object)| (key.clone(), object.clone()));
            let Some((key, object)) = found else {
                return collected;
            };
            self.remove(key.clone(), &object, None, now);
            collected.push(key);
        }
    }

    /// An owner is found by its uid, in the same namespace or in none.
    fn lives(&self, dependent: &Key, owner: &Value) -> bool {
        self.all().any(|(key, object)| {
            (key.namespace == dependent.namespace || key.namespace.is_empty())
                && object["kind"] == owner["kind"]
                && object["metadata"]["name"] == owner["name"]
                && object["metadata"]["uid"] == owner["uid"]
        })
    }
}

/// How many seconds a pod has to end. One that is on no node, or has ended, needs none.
fn grace_of(pod: &Value, asked: Option<i64>) -> i64 {
    let on_node = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    match pod["status"]["phase"].as_str() {
        Some("Succeeded" | "Failed") => 0,
        _ if !on_node => 0,
        _ => asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30),
    }
}
