//! What the real server takes: bodies that can be read, metadata in its form, and the few rules of a kind that somebody
//! who writes it by hand could break.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::Value;

use super::object::{names, text};
use crate::{
    call::{Call, Verb},
    kinds::Kind,
    names::{is_dns_name, is_label, is_label_value},
    refusal::Refusal,
};

/// The most that all annotations of an object may hold, and all data of a Secret, in bytes.
const MOST_ANNOTATIONS: usize = 256 * 1024;
const MOST_DATA: usize = 1024 * 1024;

/// Can it be read as an object of that kind? Of a patch, it is the result that cannot be.
pub fn check_form(call: &Call, object: &Value) -> Result<(), Refusal> {
    let metadata = &object["metadata"];
    let (name, labels, annotations) = (&metadata["name"], &metadata["labels"], &metadata["annotations"]);
    let readable = (object.is_object() && (metadata.is_object() || metadata.is_null()))
        && is_read::<&str>(name)
        && is_read::<BTreeMap<&str, Option<&str>>>(labels)
        && is_read::<BTreeMap<&str, Option<&str>>>(annotations)
        && is_read::<Vec<&str>>(&metadata["finalizers"])
        && (call.resource != "secrets" || is_secret(object));
    if readable && is_of_kind(call.kind(), &call.group_version, object) {
        return Ok(());
    }
    let why = "the object provided cannot be read as one of this kind";
    // A document that is no object at all is the patch's own fault.
    if call.verb == Verb::Patch && object.is_object() && !metadata.is_null() {
        return Err(Refusal::invalid(&call.resource, &call.name, why));
    }
    Err(Refusal::bad_request(why))
}

/// Of a built-in type, a body need not say what it is.
fn is_of_kind(kind: Kind, group_version: &str, object: &Value) -> bool {
    let says = |field: &str, expected: &str| match object[field].as_str().unwrap_or("") {
        "" => !kind.custom,
        said => said == expected,
    };
    says("kind", kind.name) && says("apiVersion", group_version)
}

fn is_secret(secret: &Value) -> bool {
    is_read::<BTreeMap<&str, Option<ByteString>>>(&secret["data"])
        && is_read::<BTreeMap<&str, Option<&str>>>(&secret["stringData"])
}

fn is_read<'a, T: Deserialize<'a>>(value: &'a Value) -> bool {
    Option::<T>::deserialize(value).is_ok()
}

/// May it be stored? `old` is what is there now.
pub fn check_valid(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let problem = problem_of_metadata(object, old).or_else(|| match call.resource.as_str() {
        "secrets" => problem_of_secret(object),
        "leases.coordination.k8s.io" => problem_of_lease(object),
        "events.events.k8s.io" => problem_of_event(object),
        _ => None,
    });
    problem.map_or(Ok(()), |why| Err(Refusal::invalid(&call.resource, text(object, "name"), &why)))
}

fn problem_of_metadata(object: &Value, old: Option<&Value>) -> Option<String> {
    let metadata = &object["metadata"];
    let texts = |field: &str| {
        let entries = metadata[field].as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or(""))).collect::<Vec<_>>()
    };
    if !is_dns_name(text(object, "name")) {
        return Some("metadata.name: Invalid value: it must be a lowercase RFC 1123 subdomain".into());
    }
    if let Some((key, value)) = texts("labels").iter().find(|(key, value)| !is_label(key) || !is_label_value(value)) {
        return Some(format!("metadata.labels: Invalid value: \"{key}={value}\""));
    }
    let annotations = texts("annotations");
    if let Some((key, _)) = annotations.iter().find(|(key, _)| !is_label(&key.to_lowercase())) {
        return Some(format!("metadata.annotations: Invalid value: \"{key}\""));
    }
    if annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MOST_ANNOTATIONS {
        return Some(format!("metadata.annotations: Too long: may not be more than {MOST_ANNOTATIONS} bytes"));
    }
    problem_of_owners(&metadata["ownerReferences"]).or_else(|| problem_of_finalizers(object, old?))
}

fn problem_of_owners(owners: &Value) -> Option<String> {
    let owners = owners.as_array().map_or(&[][..], Vec::as_slice);
    let field = |owner: &Value| {
        let empty = |field: &&str| owner[field].as_str().unwrap_or("").is_empty();
        ["apiVersion", "kind", "name", "uid"].into_iter().find(empty)
    };
    if let Some(field) = owners.iter().find_map(field) {
        return Some(format!("metadata.ownerReferences.{field}: Invalid value: \"\": must not be empty"));
    }
    let controllers = owners.iter().filter(|owner| owner["controller"] == true).count();
    (controllers > 1).then(|| "metadata.ownerReferences: only one reference can have Controller set to true".into())
}

fn problem_of_finalizers(object: &Value, old: &Value) -> Option<String> {
    let before = names(old, "finalizers");
    let new = names(object, "finalizers").into_iter().find(|finalizer| !before.contains(finalizer));
    let new = new.filter(|_| !text(old, "deletionTimestamp").is_empty())?;
    let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
    Some(format!("metadata.finalizers: Forbidden: {why} {new}"))
}

fn problem_of_secret(secret: &Value) -> Option<String> {
    let data = secret["data"].as_object().into_iter().flatten();
    let mut size = 0;
    for (key, value) in data {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if key.is_empty() || key.len() > 253 || !key.chars().all(is_part) || [".", ".."].contains(&key.as_str()) {
            return Some(format!(
                "data[{key}]: Invalid value: a key must consist of alphanumeric characters, '-', '_' or '.'"
            ));
        }
        // Base64, checked already: four characters are three bytes, less what fills up the end.
        let text = value.as_str().unwrap_or("");
        size += text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count();
    }
    (size > MOST_DATA).then(|| format!("data: Too long: may not be more than {MOST_DATA} bytes"))
}

fn problem_of_lease(lease: &Value) -> Option<String> {
    let spec = &lease["spec"];
    let below = |field: &str, least: i64| spec[field].as_i64().is_some_and(|number| number < least);
    if below("leaseDurationSeconds", 1) {
        return Some("spec.leaseDurationSeconds: Invalid value: must be greater than 0".into());
    }
    below("leaseTransitions", 0)
        .then(|| "spec.leaseTransitions: Invalid value: must be greater than or equal to 0".into())
}

fn problem_of_event(event: &Value) -> Option<String> {
    let text_of = |field: &str| event[field].as_str().unwrap_or("");
    let is_wrong = |field: &str| match field {
        "eventTime" => text_of(field).is_empty(),
        "type" => !["Normal", "Warning"].contains(&text_of(field)),
        "note" => text_of(field).len() > 1024,
        "reportingController" => !is_label(text_of(field)),
        _ => !(1..=128).contains(&text_of(field).len()),
    };
    let fields = ["eventTime", "type", "note", "reportingController", "reportingInstance", "action", "reason"];
    if let Some(field) = fields.into_iter().find(|field| is_wrong(field)) {
        return Some(format!("{field}: Invalid value: \"{}\"", text_of(field)));
    }
    // Of which namespace it is, only built-in kinds are asked; but whatever has none is told of in `default`.
    let is_nowhere = event["regarding"]["namespace"].as_str().unwrap_or("").is_empty();
    (is_nowhere && text(event, "namespace") != "default")
        .then(|| "involvedObject.namespace: Invalid value: \"\": does not match event.namespace".into())
}
