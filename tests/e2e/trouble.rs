//! Nodes fail and are drained, and tokens are rotated all the same.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, ensure};
use pleo_sandbox::{
    authority::{Authority, Counters, Outcome},
    script::Step,
};

use crate::stage::{CONNECTION, NAMESPACE, SOON, SYSTEM, Stage, items, run, text};

pub fn no_rotation_fails(stage: &Stage) -> anyhow::Result<()> {
    let before = stage.counters();
    killed(stage)?;
    drained(stage)?;
    let counters = stage.counters();
    let troubles = |counters: &Counters| (counters.refusals, counters.resent, counters.overlapping);
    ensure!(troubles(&counters) == troubles(&before), "{before:?}, then {counters:?}");
    let reauth = stage.finance(&[
        "get",
        "pleo",
        CONNECTION,
        "-o",
        r#"jsonpath={.status.conditions[?(@.type=="ReauthRequired")].status}"#,
    ])?;
    ensure!(reauth == "False", "ReauthRequired is {reauth}");
    let rotations = counters.rotations - before.rotations;
    stage.say(&format!("   {rotations} rotations: none failed, none twice"))
}

/// SIGKILL, as a node's out-of-memory killer sends it: the same pod comes back, and knows that its earlier process is dead.
/// Then the pod itself is taken away, without a word: the other replica takes over.
fn killed(stage: &Stage) -> anyhow::Result<()> {
    let leader = stage.leader()?;
    let uid = stage.kubectl(&["get", "pod", &leader, "-n", SYSTEM, "-o", "jsonpath={.metadata.uid}"])?;
    let process = process_of(&uid)?;
    run(Command::new("kill").args(["-s", "KILL", &process]))?;
    stage.rotate()?;
    stage.say(&format!("   the process in {leader} was killed; {} rotated", stage.leader()?))?;
    let leader = stage.leader()?;
    stage.kubectl(&["delete", "pod", &leader, "-n", SYSTEM, "--grace-period=0", "--force"])?;
    stage.rotate()?;
    ensure!(stage.leader()? != leader, "{leader} is gone and leads");
    stage.say(&format!("   the pod {leader} was taken away; {} rotated", stage.leader()?))?;
    let deployment = ["rollout", "status", "deployment/pleo-operator", "-n", SYSTEM, "--timeout=90s"];
    stage.kubectl(&deployment).map(drop)
}

/// The operator's process in a pod.
pub fn process_of(pod_uid: &str) -> anyhow::Result<String> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let group = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let program = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if program.trim() == "pleo-operator" && group.contains(pod_uid) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    anyhow::bail!("no process of the pod {pod_uid}")
}

/// The leader's node is drained in the middle of an exchange: the answer comes while the pod ends, and is not lost.
fn drained(stage: &Stage) -> anyhow::Result<()> {
    let node = stage.kubectl(&["get", "pod", &stage.leader()?, "-n", SYSTEM, "-o", "jsonpath={.spec.nodeName}"])?;
    let selector = "--pod-selector=app.kubernetes.io/name=pleo-operator";
    in_the_middle_of_an_exchange(stage, || {
        stage.kubectl(&["drain", &node, "--ignore-daemonsets", "--timeout=150s", selector]).map(drop)
    })?;
    stage.kubectl(&["uncordon", &node])?;
    stage.rotate()?;
    stage.say(&format!(
        "   {node} was drained in the middle of an exchange, which was finished; {} rotated next",
        stage.leader()?
    ))
}

/// Does something that ends the leader's pod while it waits for the server's answer; that comes when the pod was asked to
/// end. The exchange must be finished all the same, and the pods have its token.
pub fn in_the_middle_of_an_exchange(
    stage: &Stage,
    ending: impl FnOnce() -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    let (leader, before) = (stage.leader()?, stage.counters().rotations);
    stage.sandbox.script(CONNECTION, vec![Step::normal().held_before()]);
    stage.ask_for_rotation()?;
    let begun = |authority: &Authority| {
        authority.exchanges().last().is_some_and(|exchange| exchange.outcome == Outcome::NotJudged)
    };
    stage.sandbox.wait_for(SOON, begun).map_err(|_| anyhow::anyhow!("no exchange began"))?;
    thread::scope(|scope| {
        let ending = scope.spawn(ending);
        stage.until("the leader is asked to end", SOON, || {
            let pod = stage.get(&["pods", "-n", SYSTEM])?;
            let leader = items(&pod).iter().find(|pod| text(pod, "/metadata/name") == leader);
            Ok(leader.is_none_or(|pod| pod.pointer("/metadata/deletionTimestamp").is_some()))
        })?;
        stage.sandbox.release(CONNECTION);
        ending.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("the end of the pod")
    })?;
    ensure!(stage.counters().rotations == before + 1, "the exchange was finished: {:?}", stage.counters());
    let first = stage.get(&["pod", "first", "-n", NAMESPACE])?;
    stage.until("the pod has the token of that exchange", SOON, || Ok(stage.holds_living_token(&stage.mounted(&first))))
}
