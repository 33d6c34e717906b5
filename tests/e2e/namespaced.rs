//! An install in one namespace, by somebody who has no right outside of it.

use anyhow::ensure;

use crate::{
    connect,
    install::{CHART, values},
    stage::{Stage, run},
};

const TEAM: &str = "team-a";
/// What an administrator applies once for everybody.
const CLUSTER_PARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/cluster-parts.yaml");

pub fn without_any_cluster_wide_right(stage: &Stage) -> anyhow::Result<()> {
    stage.helm(&["uninstall", "pleo-operator", "-n", crate::stage::SYSTEM, "--wait"])?;
    stage.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", CLUSTER_PARTS])?;
    stage.kubectl(&["create", "namespace", TEAM])?;
    stage.kubectl(&["create", "rolebinding", "alice", "-n", TEAM, "--clusterrole=admin", "--user=alice"])?;
    let alice = stage.cluster().kubeconfig_for("alice", &[])?;
    let may = |verb: &str, what: &str, scope: &[&str]| {
        let mut command = stage.cluster().kubectl();
        let output = command.env("KUBECONFIG", &alice).args(["auth", "can-i", verb, what]).args(scope).output()?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim() == "yes")
    };
    ensure!(may("create", "roles", &["-n", TEAM])?, "alice may nothing at all");
    for (verb, what) in [
        ("list", "secrets"),
        ("list", "pleoconnections.pleo.io"),
        ("create", "clusterroles"),
        ("get", "customresourcedefinitions"),
    ] {
        ensure!(!may(verb, what, &["-A"])?, "alice may {verb} {what} everywhere");
    }

    let mut helm = stage.nodes().helm();
    helm.env("KUBECONFIG", &alice).args(["install", "team-pleo", CHART, "-n", TEAM, "--wait", "--timeout", "90s"]);
    run(helm.args(values(stage)).args(["--set", &format!("namespaces={{{TEAM}}}")]))?;
    let left = stage.kubectl(&["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"])?;
    ensure!(!left.contains("team-pleo"), "something cluster-wide was made: {left}");

    connect::declare(stage, TEAM, TEAM)?;
    stage.kubectl(&["wait", "-n", TEAM, "--for=condition=Ready", "pleo/acme", "--timeout=60s"])?;
    stage.kubectl(&["annotate", "-n", TEAM, "pleo/acme", "pleo.io/refresh-requested-at=once-more"])?;
    let rotated = stage.sandbox.wait_for(crate::stage::SOON, |authority| authority.counters(TEAM).rotations == 2);
    ensure!(rotated.is_ok(), "no rotation: {:?}", stage.sandbox.counters(TEAM));
    stage.say("   installed by a user who may act in her namespace only; ready, and rotated")
}
