//! A busy program behind the proxy: fifty calls a second, half of them with 200 KiB, and tokens that live for 20 s.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{
    connect,
    stage::{CONNECTION, CONSUMER_IMAGE, OPERATOR_IMAGE, SOON, SYSTEM, Stage, run},
    trouble::process_of,
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/consumers/proxy.yaml");
const LIFE: Duration = Duration::from_secs(20);
const USUAL_LIFE: Duration = Duration::from_secs(900);
const REFRESH_LIFE: Duration = Duration::from_secs(60 * 24 * 3600);
const ROTATIONS: u64 = 20;
/// Twenty rotations of such tokens take about four minutes.
const LONG: Duration = Duration::from_secs(480);

/// What the program has counted so far.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
struct Counts {
    calls: u64,
    good: u64,
    unavailable: u64,
    reauth: u64,
    refused: u64,
    failed: u64,
    held: u64,
    hold_p50: u64,
    hold_p99: u64,
    hold_max: u64,
}

pub fn no_call_is_rejected(stage: &Stage) -> anyhow::Result<()> {
    stage.sandbox.set_lifetimes(CONNECTION, LIFE, REFRESH_LIFE);
    stage.rotate()?;
    deploy(stage)?;
    through_rotations(stage)?;
    through_the_end_of_the_leader(stage)?;
    until_a_user_authorizes(stage)?;
    through_a_token_that_the_api_forgets(stage)?;
    stage.finance(&["delete", "deployment", "web", "--timeout=60s"])?;
    Ok(())
}

/// The example as it is, but for its images and the API.
fn deploy(stage: &Stage) -> anyhow::Result<()> {
    let ca = json!({ "name": "ca", "mountPath": "/ca", "readOnly": true });
    let upstream = format!("--upstream={}", stage.sandbox.origin());
    // There is no DNS on these nodes, and no Service leads anywhere.
    let operator = stage.kubectl(&["get", "pod", &stage.leader()?, "-n", SYSTEM, "-o", "jsonpath={.status.podIP}"])?;
    let reports = format!("http://{operator}:8082/v1/connections/$(POD_NAMESPACE)/{CONNECTION}/rejections");
    let patch = json!({ "spec": { "template": { "spec": {
        "initContainers": [{
            "name": "pleo-proxy",
            "image": format!("{}:{}", OPERATOR_IMAGE.0, OPERATOR_IMAGE.1),
            "args": ["proxy", upstream, "--upstream-ca-file=/ca/ca.pem"],
            "env": [{ "name": "PLEO_REPORT_URL", "value": reports }],
            "volumeMounts": [ca],
        }],
        "containers": [{
            "name": "web",
            "image": CONSUMER_IMAGE,
            "env": [{ "name": "MODE", "value": "busy" }, { "name": "RUN", "value": "busy" }],
        }],
        "volumes": [{ "name": "ca", "configMap": { "name": "sandbox-ca" } }],
    } } } });
    let whole = stage.finance(&[
        "patch",
        "--local",
        "-f",
        EXAMPLE,
        "--type=strategic",
        "-p",
        &patch.to_string(),
        "-o",
        "json",
    ])?;
    stage.cluster().apply(&whole.replacen("\"metadata\": {", "\"metadata\": { \"namespace\": \"finance\",", 1))?;
    stage.finance(&["rollout", "status", "deployment/web", "--timeout=90s"]).map(drop)
}

fn counts(stage: &Stage) -> anyhow::Result<Counts> {
    let said = stage.finance(&["logs", "deployment/web", "-c", "web", "--tail=1"])?;
    serde_json::from_str(said.trim()).with_context(|| format!("the program printed {said:?}"))
}

/// What the program said of calls that failed.
fn complaints(stage: &Stage) -> anyhow::Result<String> {
    let said = stage.finance(&["logs", "deployment/web", "-c", "web"])?;
    Ok(said.lines().filter(|line| !line.starts_with('{')).take(5).collect::<Vec<_>>().join("; "))
}

fn rotations(stage: &Stage, more: u64) -> anyhow::Result<()> {
    let enough = stage.counters().rotations + more;
    stage.until("the tokens rotate", LONG, || Ok(stage.counters().rotations >= enough))
}

/// Not one call is rejected, and each is carried out once.
fn through_rotations(stage: &Stage) -> anyhow::Result<()> {
    rotations(stage, ROTATIONS)?;
    let counts = counts(stage)?;
    let Counts { calls, good, held, hold_p50, hold_p99, hold_max, .. } = counts;
    ensure!(good == calls, "some calls failed: {counts:?}: {}", complaints(stage)?);
    carried_out_once(stage)?;
    stage.say(&format!(
        "   {calls} calls through {ROTATIONS} rotations: none rejected, each carried out once; {} were sent again behind the proxy",
        stage.sandbox.calls().refused
    ))?;
    stage.say(&format!(
        "   {held} calls waited: p50 {hold_p50} ms, p99 {hold_p99} ms, max {hold_max} ms (the aim for p99 is 1500 ms)"
    ))
}

fn carried_out_once(stage: &Stage) -> anyhow::Result<()> {
    let twice: Vec<String> =
        stage.sandbox.calls().carried_out.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect();
    ensure!(twice.is_empty(), "carried out more than once: {twice:?}");
    Ok(())
}

/// SIGKILL: each call is answered, if only by "not carried out"; and none is rejected once another process leads.
fn through_the_end_of_the_leader(stage: &Stage) -> anyhow::Result<()> {
    let leader = stage.leader()?;
    let uid = stage.kubectl(&["get", "pod", &leader, "-n", SYSTEM, "-o", "jsonpath={.metadata.uid}"])?;
    let before = counts(stage)?;
    run(Command::new("kill").args(["-s", "KILL", &process_of(&uid)?]))?;
    rotations(stage, 2)?;
    let taken_over = settled(stage)?;
    rotations(stage, 2)?;
    let after = counts(stage)?;
    ensure!((after.refused, after.failed, after.reauth) == (0, 0, 0), "{after:?}: {}", complaints(stage)?);
    ensure!(after.unavailable == taken_over.unavailable, "after the take-over: {taken_over:?}, then {after:?}");
    carried_out_once(stage)?;
    stage.say(&format!(
        "   the leader was killed: {} calls, {} of them answered with 503 (not carried out), none after the take-over",
        after.calls - before.calls,
        after.unavailable - before.unavailable
    ))
}

/// What was counted once no call waits any more.
fn settled(stage: &Stage) -> anyhow::Result<Counts> {
    let good = counts(stage)?.good;
    stage.until("calls are good again", SOON, || Ok(counts(stage)?.good > good + 100))?;
    counts(stage)
}

/// The authorization is revoked: 424 within 5 s, and nothing reaches the API. After the next one it goes on.
fn until_a_user_authorizes(stage: &Stage) -> anyhow::Result<()> {
    stage.sandbox.revoke(CONNECTION);
    let state = "jsonpath={.data.state}";
    stage.until("the token Secret says so", LONG, || {
        // Base64 of ReauthRequired.
        Ok(stage.finance(&["get", "secret", "acme-token", "-o", state])? == "UmVhdXRoUmVxdWlyZWQ=")
    })?;
    let said = Instant::now();
    stage.until("calls are answered with 424", SOON, || Ok(counts(stage)?.reauth > 0))?;
    let within = said.elapsed();
    let reached = stage.sandbox.calls().refused;
    let answered = counts(stage)?;
    stage.until("more calls are", SOON, || Ok(counts(stage)?.reauth > answered.reauth + 100))?;
    ensure!(stage.sandbox.calls().refused == reached, "calls still reach the API");
    ensure!(counts(stage)?.refused == 0, "{:?}", counts(stage)?);
    connect::consent_again(stage)?;
    let good = counts(stage)?.good;
    stage.until("calls are good again", SOON, || Ok(counts(stage)?.good > good + 100))?;
    stage.say(&format!(
        "   revoked: 424 after {within:.1?}, and nothing was sent; after the next authorization it went on"
    ))
}

/// A token that should be good for a quarter of an hour: it is reported, and refreshed early, once. No call is rejected.
fn through_a_token_that_the_api_forgets(stage: &Stage) -> anyhow::Result<()> {
    stage.sandbox.set_lifetimes(CONNECTION, USUAL_LIFE, REFRESH_LIFE);
    stage.rotate()?;
    let issued = Instant::now();
    stage.until("the token is old enough to be reported", LONG, || Ok(issued.elapsed() > Duration::from_secs(65)))?;
    let (before, rotations) = (settled(stage)?, stage.counters().rotations);
    stage.sandbox.reject_access_tokens(CONNECTION);
    stage.until("the token is refreshed early", SOON, || Ok(stage.counters().rotations > rotations))?;
    let after = settled(stage)?;
    ensure!((after.refused, after.failed) == (before.refused, before.failed), "{after:?}: {}", complaints(stage)?);
    ensure!(after.unavailable == before.unavailable, "{before:?}, then {after:?}");
    ensure!(stage.counters().rotations == rotations + 1, "more than one early rotation");
    carried_out_once(stage)?;
    stage.say(&format!(
        "   the API forgot the token: it was reported and refreshed early, once; {} calls, none rejected",
        after.calls - before.calls
    ))
}
