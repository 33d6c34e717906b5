//! The kinds of objects that the operator works with, and a sample of each.

use serde_json::{Value, json};

/// A kind, and where it is served.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The first part of its path.
    pub path: &'static str,
    pub plural: &'static str,
    /// A small object of this kind that the real server takes.
    pub sample: fn(&str) -> Value,
}

pub const SECRET: Kind = Kind { path: "/api/v1", plural: "secrets", sample: secret };
pub const POD: Kind = Kind { path: "/api/v1", plural: "pods", sample: pod };
pub const DEPLOYMENT: Kind = Kind { path: "/apis/apps/v1", plural: "deployments", sample: deployment };
pub const LEASE: Kind = Kind { path: "/apis/coordination.k8s.io/v1", plural: "leases", sample: lease };
pub const EVENT: Kind = Kind { path: "/apis/events.k8s.io/v1", plural: "events", sample: event };
pub const CONNECTION: Kind = Kind { path: "/apis/pleo.io/v1alpha1", plural: "pleoconnections", sample: connection };

pub const STATEFUL_SET: Kind = Kind { path: "/apis/apps/v1", plural: "statefulsets", sample: stateful_set };
pub const DAEMON_SET: Kind = Kind { path: "/apis/apps/v1", plural: "daemonsets", sample: daemon_set };

/// What a rule for all kinds is tried on.
pub const ALL: [Kind; 5] = [SECRET, LEASE, POD, DEPLOYMENT, CONNECTION];

impl Kind {
    pub fn named(&self, name: &str) -> Value {
        (self.sample)(name)
    }

    /// A sample with these labels.
    pub fn labeled(&self, name: &str, labels: Value) -> Value {
        with(&self.named(name), "/metadata/labels", labels)
    }
}

/// The same object with another value at this place, which is made where it was not there; null removes it.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut changed;
    for step in parent.split('/').skip(1) {
        at = &mut at[step];
    }
    match value {
        Value::Null => drop(at.as_object_mut().map(|fields| fields.remove(key))),
        value => at[key] = value,
    }
    changed
}

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "data": {"key": "dmFsdWU="},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "web", "image": "web"}]},
    })
}

fn deployment(name: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    })
}

fn stateful_set(name: &str) -> Value {
    with(&deployment(name), "/kind", json!("StatefulSet"))
}

fn daemon_set(name: &str) -> Value {
    with(&deployment(name), "/kind", json!("DaemonSet"))
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2027-01-01T00:00:00.000000Z"},
    })
}

fn event(name: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name},
        "action": "Reconcile",
        "eventTime": "2027-01-01T00:00:00.000000Z",
        "note": "it is refreshed",
        "reason": "Refreshed",
        "regarding": {"apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "name": "acme"},
        "reportingController": "pleo.io/pleo-operator",
        "reportingInstance": "pod-a",
        "type": "Normal",
    })
}

fn connection(name: &str) -> Value {
    json!({
        "apiVersion": "pleo.io/v1alpha1",
        "kind": "PleoConnection",
        "metadata": {"name": name},
        "spec": {"client": {"secretRef": {"name": "pleo-client"}}, "secretName": format!("{name}-token")},
    })
}
