//! What the server does to an object as such: its stored form, merging, the rules for Secrets.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::{call::Call, kinds::Kind, refusal::Refusal};

/// A Secret's type never changes, and nothing of an immutable one does.
pub fn check_secret(call: &Call, old: &Value, new: &Value) -> Result<(), Refusal> {
    if call.resource != "secrets" {
        return Ok(());
    }
    let fixed = old["immutable"] == true;
    for field in ["type", "data", "immutable"] {
        if new[field] != old[field] && (field == "type" || fixed) {
            let why = format!("{field}: field is immutable");
            return Err(Refusal::invalid(&call.resource, &call.name, &why));
        }
    }
    Ok(())
}

/// Brings an object into the form in which the real server stores it.
pub fn tidy(call: &Call, object: &mut Value) {
    if call.resource == "secrets" {
        fold_string_data(object);
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !is_empty(value));
    }
    // Types in Go leave out what is empty; a custom resource is kept as it was sent.
    if !call.kind().custom
        && let Some(fields) = object.as_object_mut()
    {
        fields.retain(|_, value| !is_empty(value));
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// `stringData` is for writing only: it becomes part of `data`. And a Secret without a type is Opaque.
fn fold_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert(Value::Null);
        for (key, value) in plain {
            let bytes = ByteString(value.as_str().unwrap_or("").as_bytes().to_vec());
            data[key.as_str()] = serde_json::to_value(bytes).expect("base64 is a string");
        }
    }
    if fields.get("type").is_none_or(is_empty) {
        fields.insert("type".into(), json!("Opaque"));
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("made one above");
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// What makes a new generation when it changes: all but metadata and status, and some kinds' annotations.
pub fn what_counts(kind: Kind, object: &Value) -> (Vec<(&String, &Value)>, Option<&Value>) {
    let fields = object.as_object().into_iter().flatten();
    let rest = fields.filter(|(key, _)| !["metadata", "status"].contains(&key.as_str())).collect();
    (rest, kind.counts_annotations.then(|| &object["metadata"]["annotations"]))
}

/// A list of texts of the metadata.
pub fn names<'a>(object: &'a Value, field: &str) -> Vec<&'a str> {
    object["metadata"][field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A text of the metadata; empty when it is not there.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}

pub fn set(object: &mut Value, field: &str, value: Value) {
    object["metadata"][field] = value;
}

pub fn set_status(object: &mut Value, status: Option<Value>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match status {
        Some(status) => drop(fields.insert("status".into(), status)),
        None => drop(fields.remove("status")),
    }
}

/// Kubernetes' times have whole seconds.
pub fn seconds(time: Timestamp) -> Value {
    json!(Timestamp::from_second(time.as_second()).expect("a second of a valid time").to_string())
}
