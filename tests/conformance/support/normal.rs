//! The form in which answers are compared: what must differ between two servers has the same name on both.
//!
//! Left out, because it is cosmetic, or nothing of the operator's looks at it: the words and details of refusals,
//! managed fields (but for who wrote the data of a Secret), the defaults that fill the specs of pods and workloads, the
//! fields of events for old clients.

use k8s_openapi::ByteString;
use pleo_operator::api::names;
use serde_json::{Map, Value, json};

/// The uids that one server has given so far, each with its versions, in the order in which they were first seen.
#[derive(Default)]
pub struct Names {
    uids: Vec<(String, Vec<u64>)>,
}

impl Names {
    /// An answer.
    pub fn answer(&mut self, plural: &str, body: &Value) -> Value {
        self.learn(body);
        self.normal(plural, body)
    }

    /// The body of a request: what stands in it may be made up.
    pub fn normal(&self, plural: &str, body: &Value) -> Value {
        let mut body = slim(plural, body.clone());
        if let Some(preconditions) = body.get_mut("preconditions").and_then(Value::as_object_mut) {
            self.rename_metadata(preconditions, false);
        }
        if let Some(items) = body.get_mut("items").and_then(Value::as_array_mut) {
            for item in items {
                *item = slim(plural, item.take());
            }
        }
        let of_no_object = body.get("items").is_some();
        self.rename(&mut body, of_no_object);
        body
    }

    /// A line of a watch.
    pub fn event(&mut self, plural: &str, event: &Value) -> Value {
        if event["type"] != "BOOKMARK" {
            return self.answer(plural, &event["object"]);
        }
        let object = &event["object"];
        let mut body =
            json!({"kind": object["kind"], "apiVersion": object["apiVersion"], "metadata": object["metadata"]});
        self.rename(&mut body, true);
        body
    }

    fn learn(&mut self, body: &Value) {
        let items = body["items"].as_array();
        for object in items.into_iter().flatten().chain(items.is_none().then_some(body)) {
            let metadata = &object["metadata"];
            let (Some(uid), Some(version)) = (metadata["uid"].as_str(), version(metadata)) else {
                continue;
            };
            let at = self.place_of(uid).unwrap_or_else(|| {
                self.uids.push((uid.to_owned(), Vec::new()));
                self.uids.len() - 1
            });
            let versions = &mut self.uids[at].1;
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }

    fn place_of(&self, uid: &str) -> Option<usize> {
        self.uids.iter().position(|(known, _)| known == uid)
    }

    /// The name of an object's version; the real server gives no number twice.
    fn name_of(&self, version: u64) -> String {
        let found = self.uids.iter().find_map(|(_, versions)| versions.iter().position(|known| *known == version));
        found.map_or_else(|| "made up".to_owned(), |at| format!("v{}", at + 1))
    }

    fn rename(&self, body: &mut Value, of_no_object: bool) {
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            self.rename_metadata(metadata, of_no_object);
        }
        self.rename_uids(body);
        for item in body.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            self.rename(item, false);
        }
    }

    fn rename_metadata(&self, metadata: &mut Map<String, Value>, of_no_object: bool) {
        let managed = metadata.remove("managedFields").unwrap_or_default();
        let owners: Map<String, Value> = owners_of_data(&managed).collect();
        if !owners.is_empty() {
            metadata.insert("owners of data".into(), json!(owners));
        }
        if let Some(version) = version(&json!(metadata)) {
            let newest = self.uids.iter().flat_map(|(_, versions)| versions).max().copied().unwrap_or_default();
            let name = match of_no_object {
                // The real server counts other people's changes as well, so a list may be newer than all its objects.
                true if version >= newest => "now".to_owned(),
                true => "past".to_owned(),
                false => self.name_of(version),
            };
            metadata.insert("resourceVersion".into(), json!(name));
        }
        for field in ["creationTimestamp", "deletionTimestamp"] {
            if let Some(time) = metadata.get_mut(field) {
                *time = json!(form_of_time(time));
            }
        }
        // Lists of custom resources say in so many words that there is no more.
        if metadata.remove("continue").is_some_and(|token| token != "") {
            metadata.insert("continue".into(), json!("more"));
        }
    }

    fn rename_uids(&self, value: &mut Value) {
        match value {
            // Also in the middle of a text: a ledger names the connection that it belongs to.
            Value::String(text) => {
                for (at, (uid, _)) in self.uids.iter().enumerate().filter(|(_, (uid, _))| !uid.is_empty()) {
                    *text = text.replace(uid, &format!("uid{}", at + 1));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename_uids(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.rename_uids(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Clients that name themselves, and the keys of `data` that each of them wrote last. What others are called differs.
fn owners_of_data(managed: &Value) -> impl Iterator<Item = (String, Value)> {
    managed.as_array().into_iter().flatten().filter_map(|entry| {
        let manager = entry["manager"].as_str().filter(|name| NAMED.contains(name))?;
        let owned = entry["fieldsV1"]["f:data"].as_object()?.keys().filter(|key| *key != ".").cloned();
        let mut owned: Vec<String> = owned.collect();
        owned.sort();
        let is_timed = entry["time"].as_str().map(|_| form_of_time(&entry["time"]));
        Some((manager.to_owned(), json!({"keys": owned, "time": is_timed})))
    })
}

/// Names that clients give themselves: the operator's, and those of the stories.
const NAMED: [&str; 3] = [names::OPERATOR, "first", "second"];

fn version(metadata: &Value) -> Option<u64> {
    metadata["resourceVersion"].as_str().and_then(|version| version.parse().ok())
}

/// Which time it is differs, but not how it is written.
fn form_of_time(time: &Value) -> String {
    time.as_str().unwrap_or("none").chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

/// Leaves out what is not compared.
fn slim(plural: &str, mut body: Value) -> Value {
    let is_refusal = body["kind"] == "Status" && body["status"] == "Failure";
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    match plural {
        _ if is_refusal => fields.retain(|field, _| !["message", "details"].contains(&field.as_str())),
        "pods" => {
            let phase = fields.get("status").map(|status| json!({"phase": status["phase"]}));
            fields.extend(phase.map(|phase| ("status".to_owned(), phase)));
            fields.remove("spec");
        }
        // Beside that, it keeps a count of its own in an annotation.
        "daemonsets" => fields.retain(|field, _| ["apiVersion", "kind"].contains(&field.as_str())),
        "deployments" | "statefulsets" => {
            let template = fields.get("spec").map(|spec| json!({"template": spec["template"]["metadata"]}));
            fields.extend(template.map(|template| ("spec".to_owned(), template)));
            fields.remove("status");
        }
        "secrets" => {
            for value in fields.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
                if let Ok(ByteString(bytes)) = serde_json::from_value(value.clone()) {
                    *value = json!({"text": String::from_utf8_lossy(&bytes)});
                }
            }
        }
        "events" => fields.retain(|field, _| !field.starts_with("deprecated")),
        _ => {}
    }
    body
}
