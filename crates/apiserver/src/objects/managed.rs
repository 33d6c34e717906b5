//! Managed fields of Secrets, as far as the operator reads them: which client wrote each key of `data` last, and when.

use super::object::{seconds, set};
use crate::call::Call;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Notes who wrote what, where `new` takes the place of `old`.
pub fn note(call: &Call, old: Option<&Value>, new: &mut Value, now: Timestamp) {
    if call.resource != "secrets" {
        return;
    }
    let mut entries = old.map(entries).unwrap_or_default();
    let (before, after) = (old.map(data).unwrap_or_default(), data(new));
    let written: Vec<&String> = after.keys().filter(|key| before.get(*key) != after.get(*key)).collect();
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    for key in written.iter().copied().chain(removed) {
        let name = format!("f:{key}");
        for owned in entries.iter_mut().filter_map(|entry| entry["fieldsV1"]["f:data"].as_object_mut()) {
            owned.remove(&name);
        }
    }
    // Whoever created the Secret keeps `data` itself.
    entries.retain(|entry| entry["fieldsV1"]["f:data"].as_object().is_some_and(|owned| !owned.is_empty()));
    let is_changed = old.is_none_or(|old| without_managed(old) != without_managed(new));
    let manager = Some(call.query("fieldManager")).filter(|name| !name.is_empty()).unwrap_or(&call.client);
    let own = entries.iter().position(|entry| entry["manager"] == manager);
    match own.and_then(|own| entries.get_mut(own)) {
        Some(entry) if is_changed => own_more(entry, &written, now),
        Some(_) => {}
        None if written.is_empty() => {}
        None => {
            let mut entry = json!({
                "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {}},
            });
            if old.is_none() {
                entry["fieldsV1"]["f:data"]["."] = json!({});
            }
            own_more(&mut entry, &written, now);
            entries.push(entry);
        }
    }
    set(new, "managedFields", if entries.is_empty() { Value::Null } else { json!(entries) });
}

fn own_more(entry: &mut Value, written: &[&String], now: Timestamp) {
    entry["time"] = seconds(now);
    for key in written {
        entry["fieldsV1"]["f:data"][format!("f:{key}")] = json!({});
    }
}

fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

fn data(object: &Value) -> Map<String, Value> {
    object["data"].as_object().cloned().unwrap_or_default()
}

fn without_managed(object: &Value) -> Value {
    let mut object = object.clone();
    set(&mut object, "managedFields", Value::Null);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}
