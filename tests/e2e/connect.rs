//! What a user does: two Secrets, a connection, a pod that mounts the Secret and calls the API with what it reads.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::stage::{CONNECTION, CONSUMER_IMAGE, NAMESPACE, SOON, Stage};

const CONNECTION_YAML: &str = include_str!("../../examples/sandbox.yaml");
const CONSENT_YAML: &str = include_str!("../../examples/consent.yaml");

/// JSON is YAML: this way any characters may be in it.
fn quoted(text: &str) -> anyhow::Result<String> {
    serde_json::to_string(text).context("a text that JSON cannot hold")
}

/// The connection of `examples/`, and a human's consent to it, in that namespace.
pub fn declare(stage: &Stage, namespace: &str, connection: &str) -> anyhow::Result<()> {
    let filled = CONNECTION_YAML
        .replace("${TOKEN_URL}", &quoted(&stage.sandbox.token_url())?)
        .replace("${AUTHORIZATION_URL}", &quoted(&stage.sandbox.authorization_url())?)
        .replace("${CA_BUNDLE}", &quoted(stage.sandbox.ca_pem())?);
    let consent = CONSENT_YAML.replace("${REFRESH_TOKEN}", &quoted(&stage.sandbox.consent(connection))?);
    let whole =
        format!("{filled}\n---\n{consent}").replace("metadata:\n", &format!("metadata:\n  namespace: {namespace}\n"));
    Ok(stage.cluster().apply(&whole)?)
}

/// The user authorizes once more, and puts the new token where the first one was.
pub fn consent_again(stage: &Stage) -> anyhow::Result<()> {
    let consent = CONSENT_YAML.replace("${REFRESH_TOKEN}", &quoted(&stage.sandbox.consent(CONNECTION))?);
    let consent = consent.replace("metadata:\n", &format!("metadata:\n  namespace: {NAMESPACE}\n"));
    Ok(stage.cluster().apply(&consent)?)
}

/// A pod that mounts the token Secret and calls the API ten times a second.
pub fn consumer(stage: &Stage, name: &str, mode: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "consumer",
                "image": CONSUMER_IMAGE,
                "imagePullPolicy": "Never",
                "env": [
                    { "name": "MODE", "value": mode },
                    { "name": "PLEO_API_URL", "value": stage.sandbox.api_url() },
                    { "name": "SSL_CERT_FILE", "value": "/ca/ca.pem" },
                ],
                "volumeMounts": [
                    { "name": "token", "mountPath": "/var/run/pleo", "readOnly": true },
                    { "name": "ca", "mountPath": "/ca", "readOnly": true },
                ],
            }],
            "volumes": [
                { "name": "token", "secret": { "secretName": "acme-token" } },
                { "name": "ca", "configMap": { "name": "sandbox-ca" } },
            ],
        },
    })
}

/// What a consumer has counted so far.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
pub struct Counts {
    pub calls: u64,
    pub refused: u64,
    pub failed: u64,
}

pub fn counts(stage: &Stage, pod: &str) -> anyhow::Result<Counts> {
    let said = stage.finance(&["logs", pod, "--tail=1"])?;
    serde_json::from_str(said.trim()).with_context(|| format!("{pod} printed {said:?}"))
}

pub fn a_connection_becomes_ready(stage: &Stage) -> anyhow::Result<()> {
    stage.kubectl(&["create", "namespace", NAMESPACE])?;
    stage.finance(&[
        "create",
        "configmap",
        "sandbox-ca",
        &format!("--from-literal=ca.pem={}", stage.sandbox.ca_pem()),
    ])?;
    // The pod first: it waits for its Secret, as the order does not matter.
    let pod = consumer(stage, "first", "each", json!({ "pleo.io/connection": CONNECTION }));
    stage.cluster().apply(&pod.to_string())?;
    declare(stage, NAMESPACE, CONNECTION)?;
    stage.finance(&["wait", "--for=condition=Ready", &format!("pleo/{CONNECTION}"), "--timeout=60s"])?;
    stage.finance(&["wait", "--for=condition=Ready", "pod/first", "--timeout=60s"])?;
    stage.until("calls succeed", SOON, || Ok(counts(stage, "first")?.calls >= 10))?;
    let counts = counts(stage, "first")?;
    // It may have looked while the Secret was still empty; but no call was refused.
    ensure!(counts.refused == 0 && counts.failed <= 50, "{counts:?}");
    stage.say(&format!("   {}", stage.finance(&["get", "pleo", CONNECTION, "--no-headers"])?.trim()))
}
