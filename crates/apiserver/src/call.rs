//! One request as the server understands it, read from the HTTP that the real client wrote.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, header, request::Parts};
use serde_json::{Value, json};

use crate::{
    kinds::{Kind, kind_of},
    refusal::Refusal,
    selector::Selector,
};

/// What a request asks for, in the words of Kubernetes' RBAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub fn is_write(self) -> bool {
        !matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// Where an object is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// One request. Scripted faults and refusals are decided on these fields.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name of the client that sent it.
    pub client: String,
    pub verb: Verb,
    /// As kubectl writes it: `secrets`, `leases.coordination.k8s.io`.
    pub resource: String,
    /// Empty for all namespaces, and for resources without.
    pub namespace: String,
    /// Empty for collections; a create has the name of the object in it.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    /// The object or the patch; null when there is none.
    pub body: Value,
    /// The answer is wanted as metadata only.
    pub metadata_only: bool,
    pub(super) group_version: String,
    pub(super) content_type: String,
    pub(super) labels: Selector,
    pub(super) fields: Selector,
    query: BTreeMap<String, String>,
}

struct Path<'a> {
    group: &'a str,
    version: &'a str,
    namespace: &'a str,
    plural: &'a str,
    name: &'a str,
    subresource: &'a str,
}

impl<'a> Path<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] => (*namespace, [&[*plural], rest].concat()),
            _ => ("", rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        Some(Self { group, version, namespace, plural, name, subresource })
    }
}

fn verb_of(method: &Method, name: &str, watch: bool) -> Option<Verb> {
    Some(match (method, name) {
        (&Method::GET, _) if watch => Verb::Watch,
        (&Method::GET, "") => Verb::List,
        (&Method::GET, _) => Verb::Get,
        (&Method::POST, "") => Verb::Create,
        (&Method::PUT, name) if !name.is_empty() => Verb::Update,
        (&Method::PATCH, name) if !name.is_empty() => Verb::Patch,
        (&Method::DELETE, name) if !name.is_empty() => Verb::Delete,
        _ => return None,
    })
}

/// Other types of patches are taken by the real server, and are for the store to refuse, loudly.
fn check_content_type(verb: Verb, content_type: &str, custom: bool) -> Result<(), Refusal> {
    let known = match verb {
        Verb::Get | Verb::List | Verb::Watch | Verb::Delete => true,
        Verb::Create | Verb::Update => ["", "application/json"].contains(&content_type),
        Verb::Patch => match content_type.strip_prefix("application/").and_then(|rest| rest.split_once("patch+")) {
            Some(("strategic-merge-", _)) => !custom,
            Some(("merge-" | "json-" | "apply-", _)) => true,
            _ => false,
        },
    };
    if known { Ok(()) } else { Err(Refusal::unsupported(content_type)) }
}

impl Call {
    /// Reads a request; the refusal is the answer to one that makes no sense.
    pub(super) fn read(client: &str, parts: &Parts, body: &Bytes) -> Result<Self, Refusal> {
        let path = Path::read(parts.uri.path()).ok_or_else(Refusal::no_such_page)?;
        let with_group = |what: &str, dot: &str| match path.group {
            "" => what.to_owned(),
            group if dot == "." => format!("{what}.{group}"),
            group => format!("{group}/{what}"),
        };
        let resource = with_group(path.plural, ".");
        if kind_of(&resource).name.is_empty() {
            return Err(if path.group.is_empty() { Refusal::no_such_path() } else { Refusal::no_such_page() });
        }
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
        let asked = |key: &str| query.get(key).map_or("", String::as_str);
        let named = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
        let watch = asked("watch") == "true";
        let verb = verb_of(&parts.method, path.name, watch)
            .ok_or_else(|| Refusal::not_simulated(&format!("{} {}", parts.method, parts.uri.path())))?;
        if !asked("dryRun").is_empty() {
            return Err(Refusal::not_simulated("dryRun"));
        }
        let content_type = named(header::CONTENT_TYPE);
        check_content_type(verb, content_type, kind_of(&resource).custom)?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(body).map_err(|e| Refusal::bad_request(e.to_string()))?
        };
        let name = if verb == Verb::Create { body["metadata"]["name"].as_str().unwrap_or("") } else { path.name };
        Ok(Self {
            client: client.into(),
            verb,
            namespace: path.namespace.into(),
            name: name.into(),
            subresource: path.subresource.into(),
            metadata_only: named(header::ACCEPT).contains("as=PartialObjectMetadata"),
            group_version: with_group(path.version, "/"),
            content_type: content_type.into(),
            labels: Selector::labels(asked("labelSelector")).map_err(Refusal::bad_request)?,
            fields: Selector::fields(asked("fieldSelector"), kind_of(&resource).selectable)
                .map_err(Refusal::bad_request)?,
            resource,
            body,
            query,
        })
    }

    pub(super) fn kind(&self) -> Kind {
        kind_of(&self.resource)
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.resource, &self.namespace, &self.name)
    }

    /// A parameter of the query; empty when it was not given.
    pub(super) fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }

    /// A parameter that is a number, if it was given.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.query(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Refusal::bad_request(format!("invalid {key}: \"{text}\""))),
        }
    }

    /// Is this object one that the list or watch asks for?
    pub(super) fn covers(&self, key: &Key, object: &Value) -> bool {
        key.resource == self.resource
            && (self.namespace.is_empty() || key.namespace == self.namespace)
            && (self.name.is_empty() || key.name == self.name)
            && self.labels.matches_labels(object)
            && self.fields.matches_fields(object)
    }

    /// The object as this request wants to see it.
    pub(super) fn shape(&self, object: &Value) -> Value {
        if self.metadata_only { metadata_only(object) } else { object.clone() }
    }

    /// Lists of built-in types leave out the type of each item, as the real ones do.
    pub(super) fn shape_in_list(&self, object: &Value) -> Value {
        let mut shaped = self.shape(object);
        if !self.metadata_only
            && !self.kind().custom
            && let Some(fields) = shaped.as_object_mut()
        {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        shaped
    }

    /// `apiVersion` and `kind` of what this request is answered with.
    pub(super) fn answer_type(&self, suffix: &str) -> Value {
        let (version, kind) = match self.metadata_only {
            true => ("meta.k8s.io/v1", "PartialObjectMetadata"),
            false => (self.group_version.as_str(), self.kind().name),
        };
        json!({"apiVersion": version, "kind": format!("{kind}{suffix}")})
    }
}

fn metadata_only(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}
