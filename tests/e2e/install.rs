//! Helm: install, upgrade, uninstall, and install again.

use anyhow::ensure;
use pleo_sandbox::authority::Counters;

use crate::{
    stage::{CONNECTION, NAMESPACE, OPERATOR_IMAGE, SOON, SYSTEM, Stage, items, text},
    trouble::in_the_middle_of_an_exchange,
};

/// Where the chart is.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/pleo-operator");

/// What any install on this stage needs.
pub fn values(stage: &Stage) -> Vec<String> {
    let (repository, tag) = OPERATOR_IMAGE;
    let set = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        "image.pullPolicy=Never".to_owned(),
        format!("allowedServers={{{}}}", stage.sandbox.origin()),
        "restartTargets.enabled=true".to_owned(),
    ];
    set.into_iter().flat_map(|value| ["--set".to_owned(), value]).collect()
}

fn helm(stage: &Stage, what: &[&str], more: &[&str]) -> anyhow::Result<String> {
    let values = values(stage);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    stage.helm(&[what, &["pleo-operator", CHART, "-n", SYSTEM, "--wait", "--timeout", "90s"], &values, more].concat())
}

pub fn two_replicas_come_up(stage: &Stage) -> anyhow::Result<()> {
    stage.kubectl(&["create", "namespace", SYSTEM])?;
    // The strictest standard that Kubernetes has.
    stage.kubectl(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted"])?;
    helm(stage, &["install"], &[])?;
    let pods = stage.get(&["pods", "-n", SYSTEM, "-l", "app.kubernetes.io/name=pleo-operator"])?;
    let on: Vec<&str> = items(&pods).iter().map(|pod| text(pod, "/spec/nodeName")).collect();
    ensure!(on.len() == 2 && on.first() != on.last(), "two replicas, spread over the nodes: {on:?}");
    stage.until("one leads", SOON, || Ok(!stage.leader()?.is_empty()))?;
    stage.helm(&["test", "pleo-operator", "-n", SYSTEM])?;
    stage.say(&format!("   on {}, led by {}", on.join(" and "), stage.leader()?))
}

/// As the docs say: first the pods, then the rest. Helm takes the rights away while the pods are still ending.
fn uninstall(stage: &Stage) -> anyhow::Result<()> {
    in_the_middle_of_an_exchange(stage, || {
        stage.kubectl(&["scale", "deployment/pleo-operator", "-n", SYSTEM, "--replicas=0"])?;
        let pods = "app.kubernetes.io/name=pleo-operator,app.kubernetes.io/instance=pleo-operator";
        stage.kubectl(&["wait", "--for=delete", "pod", "-n", SYSTEM, "-l", pods, "--timeout=120s"]).map(drop)
    })?;
    stage.helm(&["uninstall", "pleo-operator", "-n", SYSTEM, "--wait"]).map(drop)
}

pub fn upgrade_and_uninstall(stage: &Stage) -> anyhow::Result<()> {
    let secrets = || stage.finance(&["get", "secrets", "-o", "jsonpath={range .items[*]}{.metadata.name} {end}"]);
    let before = (secrets()?, stage.counters());
    helm(stage, &["upgrade"], &["--set", "logLevel=debug"])?;
    stage.rotate()?;
    stage.say("   upgraded, and rotated since")?;

    stage.hunt()?;
    uninstall(stage)?;
    ensure!(secrets()? == before.0, "the Secrets stay: {}", secrets()?);
    stage.finance(&["get", "pleo", CONNECTION])?;
    stage.kubectl(&["get", "crd", "pleoconnections.pleo.io"])?;
    let left = stage.kubectl(&["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"])?;
    ensure!(!left.contains("pleo"), "something cluster-wide stays: {left}");
    stage.say("   uninstalled in the middle of an exchange, which was finished; connections, Secrets and the CRD stay, nothing else")?;

    helm(stage, &["install"], &[])?;
    stage.rotate()?;
    stage.finance(&["wait", "--for=condition=Ready", "pleo", CONNECTION, "--timeout=60s"])?;
    let after = stage.counters();
    let before = before.1;
    ensure!(after.rotations == before.rotations + 3, "{before:?}, then {after:?}");
    ensure!(after.families == before.families, "no new consent was needed: {after:?}");
    let troubles = |counters: &Counters| (counters.refusals, counters.resent, counters.overlapping);
    ensure!(troubles(&after) == troubles(&before), "{before:?}, then {after:?}");
    stage.say(&format!("   installed again in the same place; {NAMESPACE}/{CONNECTION} rotates on"))
}
