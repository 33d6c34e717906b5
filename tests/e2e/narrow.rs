//! The operator's right to patch pods is a right to one annotation: the policies of the chart keep it so. Tried with a token
//! of its own service account, as somebody would who had taken over its pod.

use std::fs;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::stage::{CONNECTION, NAMESPACE, SHELL_IMAGE, SYSTEM, Stage};

pub fn the_operator_cannot_do_more(stage: &Stage) -> anyhow::Result<()> {
    let token = stage.kubectl(&["create", "token", "pleo-operator", "-n", SYSTEM])?;
    let kubeconfig = stage.cluster().kubeconfig_with_token(token.trim())?;
    let as_operator = |arguments: &[&str]| {
        let mut command = stage.cluster().kubectl();
        let output = command.env("KUBECONFIG", &kubeconfig).args(["-n", NAMESPACE]).args(arguments).output();
        let output = output.context("cannot run kubectl")?;
        anyhow::Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    // Named in a file, for a name would be looked up first, and reading pods is not among its rights.
    let file = stage.cluster().folder().join("patched.json");
    let patch = |kind: &str, name: &str, patch: serde_json::Value| {
        let group = match kind {
            "Pod" => "v1",
            _ => "apps/v1",
        };
        let object = json!({ "apiVersion": group, "kind": kind, "metadata": { "name": name, "namespace": NAMESPACE } });
        fs::write(&file, object.to_string())?;
        let file = file.display().to_string();
        as_operator(&["patch", "-f", &file, "--type=strategic", "--patch", &patch.to_string()])
    };
    stage.cluster().apply(&stranger().to_string())?;
    stage.cluster().apply(&deployment().to_string())?;

    let told = json!({ "metadata": { "annotations": { "pleo.io/rotation": "by hand" } } });
    let (done, said) = patch("Pod", "first", told.clone())?;
    ensure!(done, "the one thing that it may do is refused: {said}");
    let image = json!({ "spec": { "containers": [{ "name": "consumer", "image": "evil.example.com/image:1" }] } });
    let marked =
        json!({ "spec": { "template": { "metadata": { "annotations": { "pleo.io/restarted-for": "by hand" } } } } });
    let (done, said) = patch("Deployment", "idle", marked)?;
    ensure!(done, "the mark of a restart is refused: {said}");

    let create = |object: serde_json::Value| {
        fs::write(&file, object.to_string())?;
        as_operator(&["create", "-f", &file.display().to_string()])
    };
    let account_token = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "stolen",
            "namespace": NAMESPACE,
            "annotations": { "kubernetes.io/service-account.name": "default" },
            "labels": { "app.kubernetes.io/managed-by": "pleo-operator" },
        },
    });
    let client = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "free" }, "data": {} });

    let label = |key: &str, value: serde_json::Value| json!({ "metadata": { "labels": { key: value } } });
    let refusals = [
        ("a pod that did not ask", patch("Pod", "stranger", told)?),
        ("another image", patch("Pod", "first", image)?),
        ("another annotation", patch("Pod", "first", json!({ "metadata": { "annotations": { "other": "1" } } }))?),
        ("a label", patch("Pod", "first", label("other", json!("1")))?),
        ("a stranger's consent to be told", patch("Pod", "stranger", label("pleo.io/connection", json!(CONNECTION)))?),
        ("a finalizer", patch("Pod", "first", json!({ "metadata": { "finalizers": ["example.com/stay"] } }))?),
        ("the size of a workload", patch("Deployment", "idle", json!({ "spec": { "replicas": 9 } }))?),
        (
            "a workload's image",
            patch(
                "Deployment",
                "idle",
                template(json!({ "containers": [{ "name": "idle", "image": "evil.example.com/image:1" }] })),
            )?,
        ),
        (
            "a workload's service account",
            patch("Deployment", "idle", template(json!({ "serviceAccountName": "other" })))?,
        ),
        ("a token of another account", create(account_token)?),
        ("a Secret of no connection", create(client)?),
        (
            "a user's Secret",
            as_operator(&["patch", "secret", "pleo-client", "--patch", r#"{"stringData":{"client_id":"evil"}}"#])?,
        ),
        ("a user's Secret's end", as_operator(&["delete", "secret", "pleo-client"])?),
        ("a new pod", as_operator(&["run", "evil", "--image=evil.example.com/image:1"])?),
        ("a pod's end", as_operator(&["delete", "pod", "first"])?),
        ("other people's rights", as_operator(&["get", "rolebindings"])?),
        (
            "a connection's spec",
            as_operator(&["patch", "pleo", CONNECTION, "--type=merge", "--patch", r#"{"spec":{"suspend":true}}"#])?,
        ),
    ];
    for (what, (done, said)) in &refusals {
        ensure!(!done, "{what} was not refused");
        let by_policy_or_right = said.contains("denied request") || said.contains("is forbidden");
        ensure!(by_policy_or_right, "{what} failed for another reason: {said}");
    }
    let rights =
        [("pods", "exec"), ("pods", "eviction"), ("pods", "ephemeralcontainers"), ("serviceaccounts", "token")];
    for (what, part) in rights {
        for verb in ["create", "update", "patch"] {
            let (may, said) = as_operator(&["auth", "can-i", verb, what, &format!("--subresource={part}")])?;
            ensure!(!may, "the operator may {verb} {what}/{part}: {said}");
        }
    }
    stage.finance(&["delete", "pod/stranger", "deployment/idle", "--grace-period=0", "--force"])?;
    stage.say(&format!("   {} attempts to do more were refused", refusals.len()))
}

fn template(spec: serde_json::Value) -> serde_json::Value {
    json!({ "spec": { "template": { "spec": spec } } })
}

/// A pod that did not ask to be told.
fn stranger() -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "stranger", "namespace": NAMESPACE },
        "spec": { "containers": [{ "name": "stranger", "image": SHELL_IMAGE, "imagePullPolicy": "Never" }] },
    })
}

fn deployment() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "idle", "namespace": NAMESPACE },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": "idle" } },
            "template": {
                "metadata": { "labels": { "app": "idle" } },
                "spec": { "containers": [{ "name": "idle", "image": SHELL_IMAGE, "imagePullPolicy": "Never" }] },
            },
        },
    })
}
