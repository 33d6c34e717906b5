//! The writes: who may change what, and when a write is one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    managed,
    object::{check_secret, merge, names, seconds, set, set_status, text, tidy, what_counts},
    store::Store,
    validate::{check_form, check_valid},
};
use crate::{
    call::{Call, Key, Verb},
    refusal::Refusal,
};

/// What the real server says when the resourceVersion is an old one.
const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// The answer to a request that was carried out.
pub struct Done {
    pub code: u16,
    pub body: Value,
    /// The store is another than before.
    pub changed: bool,
}

impl Done {
    fn unchanged(body: Value) -> Self {
        Self { code: 200, body, changed: false }
    }
}

impl Store {
    /// Carries out any request but a watch.
    pub fn apply(&mut self, call: &Call, now: Timestamp) -> Result<Done, Refusal> {
        let kind = call.kind();
        match call.subresource.as_str() {
            "" => {}
            "status" if kind.has_status && matches!(call.verb, Verb::Get | Verb::Update | Verb::Patch) => {}
            _ => return Err(Refusal::no_such_path()),
        }
        match call.verb {
            Verb::Get => Ok(Done::unchanged(call.shape(self.present(call)?))),
            Verb::List => self.list(call).map(Done::unchanged),
            Verb::Watch => Err(Refusal::not_simulated("a watch is opened, not applied")),
            Verb::Create => self.create(call, now),
            Verb::Update if kind.create_on_update && self.get(&call.key()).is_none() => {
                match text(&call.body, "uid") {
                    "" => self.create(call, now),
                    // It was there once: a PUT does not bring back what was deleted.
                    uid => Err(precondition_failed(call, "UID", uid, "")),
                }
            }
            Verb::Update => self.replace(call, call.body.clone(), now),
            Verb::Patch => self.patch(call, now),
            Verb::Delete => self.delete(call, now),
        }
    }

    pub(super) fn present(&self, call: &Call) -> Result<&Value, Refusal> {
        let there = self.get(&call.key()).ok_or_else(|| Refusal::not_found(&call.resource, &call.name))?;
        Ok(there)
    }

    pub(super) fn admit(&self, call: &Call, object: &Value) -> Result<(), Refusal> {
        self.admission.as_ref().and_then(|admission| admission(call, object)).map_or(Ok(()), Err)
    }

    fn create(&mut self, call: &Call, now: Timestamp) -> Result<Done, Refusal> {
        let mut object = call.body.clone();
        check_form(call, &object)?;
        check_place(call, &object)?;
        // A PUT that creates drops it; a POST is refused, with a code for which the real server has no reason.
        if call.verb == Verb::Create && !text(&object, "resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(500, "", message));
        }
        let uid = self.new_uid();
        let name = match (call.name.as_str(), text(&object, "generateName")) {
            ("", "") => {
                return Err(Refusal::invalid(&call.resource, "", "name or generateName is required"));
            }
            ("", prefix) => format!("{prefix}{}", &uid[uid.len() - 5..]),
            (name, _) => name.to_owned(),
        };
        let key = Key { name: name.clone(), ..call.key() };
        object["apiVersion"] = json!(call.group_version);
        object["kind"] = json!(call.kind().name);
        set(&mut object, "name", json!(name));
        set(&mut object, "namespace", json!(call.namespace));
        set(&mut object, "uid", json!(uid));
        set(&mut object, "creationTimestamp", seconds(now));
        set(&mut object, "deletionTimestamp", Value::Null);
        if call.kind().has_generation {
            set(&mut object, "generation", json!(1));
        }
        if call.kind().has_status {
            let phase = Some(call.kind().first_phase).filter(|phase| !phase.is_empty());
            set_status(&mut object, phase.map(|phase| json!({"phase": phase})));
        }
        tidy(call, &mut object);
        check_valid(call, &object, None)?;
        if self.get(&key).is_some() {
            return Err(Refusal::exists(&call.resource, &name));
        }
        set(&mut object, "managedFields", Value::Null);
        managed::note(call, None, &mut object, now);
        tidy(call, &mut object);
        self.admit(call, &object)?;
        let stored = self.commit(key, Some(object));
        Ok(Done { code: 201, body: call.shape(&stored), changed: true })
    }

    fn patch(&mut self, call: &Call, now: Timestamp) -> Result<Done, Refusal> {
        if call.content_type != "application/merge-patch+json" {
            return Err(Refusal::not_simulated(&format!("a patch of type {}", call.content_type)));
        }
        let mut object = self.present(call)?.clone();
        // A patch that names no version is applied to whatever is there, so it keeps the one that it met.
        merge(&mut object, &call.body);
        self.replace(call, object, now)
    }

    /// Puts `new` in the place of what is there: the second half of both PUT and PATCH.
    fn replace(&mut self, call: &Call, mut new: Value, now: Timestamp) -> Result<Done, Refusal> {
        let old = self.present(call)?.clone();
        check_form(call, &new)?;
        check_place(call, &new)?;
        check_identity(call, &old, &new)?;
        let kind = call.kind();
        if call.subresource == "status" {
            let status = new.get("status").cloned();
            new = old.clone();
            set_status(&mut new, status);
        } else if kind.has_status {
            set_status(&mut new, old.get("status").cloned());
        }
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "managedFields",
        ] {
            set(&mut new, field, old["metadata"][field].clone());
        }
        if kind.has_generation {
            set(&mut new, "generation", old["metadata"]["generation"].clone());
        }
        tidy(call, &mut new);
        check_valid(call, &new, Some(&old))?;
        check_secret(call, &old, &new)?;
        if kind.has_generation && what_counts(kind, &new) != what_counts(kind, &old) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            set(&mut new, "generation", json!(generation));
        }
        if new == old {
            return Ok(Done::unchanged(call.shape(&old)));
        }
        managed::note(call, Some(&old), &mut new, now);
        self.admit(call, &new)?;
        let waits = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
        if !text(&new, "deletionTimestamp").is_empty() && names(&new, "finalizers").is_empty() && !waits {
            self.commit(call.key(), None);
            return Ok(Done { code: 200, body: call.shape(&new), changed: true });
        }
        let stored = self.commit(call.key(), Some(new));
        Ok(Done { code: 200, body: call.shape(&stored), changed: true })
    }
}

/// The object's own name and namespace must be those of the path.
fn check_place(call: &Call, object: &Value) -> Result<(), Refusal> {
    let (name, namespace) = (text(object, "name"), text(object, "namespace"));
    if name != call.name {
        let why = format!("the name of the object ({name}) does not match the name on the URL ({})", call.name);
        return Err(Refusal::bad_request(why));
    }
    if !namespace.is_empty() && namespace != call.namespace {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    Ok(())
}

/// Is it still the same object, and in the version that the client has seen?
fn check_identity(call: &Call, old: &Value, new: &Value) -> Result<(), Refusal> {
    let (uid, found) = (text(new, "uid"), text(old, "uid"));
    if !uid.is_empty() && uid != found {
        // A PUT's uid is a precondition; in a patch it is a change of a field that cannot be changed.
        return Err(match call.verb {
            Verb::Patch => Refusal::invalid(&call.resource, &call.name, "metadata.uid: field is immutable"),
            _ => precondition_failed(call, "UID", uid, found),
        });
    }
    let (deletion, marked) = (text(new, "deletionTimestamp"), text(old, "deletionTimestamp"));
    match text(new, "resourceVersion") {
        version if !version.is_empty() && version.parse::<u64>().is_err() => {
            Err(Refusal::new(500, "", format!("resourceVersion is no number: {version}")))
        }
        version if !version.is_empty() && version != text(old, "resourceVersion") => {
            Err(Refusal::conflict(&call.resource, &call.name, MODIFIED))
        }
        _ if !deletion.is_empty() && deletion != marked => {
            Err(Refusal::invalid(&call.resource, &call.name, "metadata.deletionTimestamp: field is immutable"))
        }
        "" if !call.kind().unconditional_update => {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            Err(Refusal::invalid(&call.resource, &call.name, why))
        }
        _ => Ok(()),
    }
}

pub(super) fn precondition_failed(call: &Call, label: &str, wanted: &str, found: &str) -> Refusal {
    let why = format!("Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}");
    Refusal::conflict(&call.resource, &call.name, &why)
}
