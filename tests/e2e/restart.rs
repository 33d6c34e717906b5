//! A program that has the token in its environment: it is restarted once for each rotation, not twice in a minute, and not
//! because the operator was restarted.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::stage::{CONNECTION, NAMESPACE, SHELL_IMAGE, SOON, SYSTEM, Stage, items, text};

/// Two restarts are that far apart.
const APART: Duration = Duration::from_secs(60);

pub fn once_for_each_rotation(stage: &Stage) -> anyhow::Result<()> {
    stage.cluster().apply(&web().to_string())?;
    stage.finance(&["rollout", "status", "deployment/web", "--timeout=60s"])?;
    let targets = json!({ "spec": { "restartTargets": [{ "kind": "Deployment", "name": "web" }] } });
    stage.finance(&["patch", "pleo", CONNECTION, "--type=merge", "--patch", &targets.to_string()])?;
    stage.until("it was restarted when it was first named", SOON, || Ok(generation(stage)? == 2))?;
    let named = Instant::now();
    let rotation = || stage.finance(&["get", "pleo", CONNECTION, "-o", "jsonpath={.status.rotation}"]);

    // Two rotations within the minute: one restart, at its end, for the second.
    stage.rotate()?;
    stage.rotate()?;
    stage.until("it was restarted for the newest rotation", APART + SOON, || Ok(generation(stage)? > 2))?;
    ensure!(generation(stage)? == 3, "one restart, not two");
    ensure!(named.elapsed() > APART - Duration::from_secs(5), "two restarts within {:?}", named.elapsed());
    stage.finance(&["rollout", "status", "deployment/web", "--timeout=60s"])?;
    stage.until("its environment holds the living token", SOON, || environment_is_good(stage))?;
    let marked = stage.finance(&[
        "get",
        "deployment",
        "web",
        "-o",
        r"jsonpath={.spec.template.metadata.annotations.pleo\.io/restarted-for}",
    ])?;
    ensure!(marked.starts_with(&format!("{CONNECTION} {} ", rotation()?)), "{marked}");

    // A restart of the operator restarts nothing.
    stage.hunt()?;
    stage.kubectl(&["rollout", "restart", "deployment/pleo-operator", "-n", SYSTEM])?;
    stage.kubectl(&["rollout", "status", "deployment/pleo-operator", "-n", SYSTEM, "--timeout=180s"])?;
    stage.until("a new pod leads", SOON, || {
        let pods = stage.get(&["pods", "-n", SYSTEM])?;
        Ok(items(&pods).iter().any(|pod| text(pod, "/metadata/name") == stage.leader().unwrap_or_default()))
    })?;
    // The new leader has looked at the connection when it has carried out a change of it.
    stage.finance(&["patch", "pleo", CONNECTION, "--type=merge", "--patch", r#"{"spec":{"refreshBefore":"45s"}}"#])?;
    stage.until("the new leader has looked", SOON, || {
        let connection = stage.get(&["pleo", CONNECTION, "-n", NAMESPACE])?;
        Ok(connection.pointer("/status/observedGeneration") == connection.pointer("/metadata/generation"))
    })?;
    ensure!(generation(stage)? == 3, "a restart of the operator restarted a workload");
    stage.finance(&[
        "patch",
        "pleo",
        CONNECTION,
        "--type=json",
        "--patch",
        r#"[{"op":"remove","path":"/spec/restartTargets"}]"#,
    ])?;
    stage.finance(&["delete", "deployment/web"])?;
    stage.say("   three rotations, two restarts, none for the restart of the operator")
}

fn generation(stage: &Stage) -> anyhow::Result<u64> {
    let web = stage.get(&["deployment", "web", "-n", NAMESPACE])?;
    web.pointer("/metadata/generation").and_then(Value::as_u64).context("no generation")
}

/// Whether every process of the Deployment has the living token in its environment: there is no other way to see it.
fn environment_is_good(stage: &Stage) -> anyhow::Result<bool> {
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir("/proc")?.flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let token = environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"E2E_TOKEN="));
        let Some(token) = token.map(String::from_utf8_lossy) else { continue };
        if stage.sandbox.access_is_good(&token).is_some() { good += 1 } else { bad += 1 }
    }
    Ok(good > 0 && bad == 0)
}

fn web() -> Value {
    let token = json!({ "name": "E2E_TOKEN", "valueFrom": { "secretKeyRef": { "name": "acme-token", "key": "access_token" } } });
    let container = json!({
        "name": "web",
        "image": SHELL_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", "trap exit TERM; while true; do busybox sleep 3600 & wait; done"],
        "env": [token],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": NAMESPACE },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "terminationGracePeriodSeconds": 1, "containers": [container] },
            },
        },
    })
}
