//! From the server's answer to the file in the pod: twenty pods that are told of rotations, twenty that are not, and what it
//! means for programs that call ten times a second.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::{
    connect::{consumer, counts},
    figures::Times,
    stage::{CONNECTION, NAMESPACE, SHELL_IMAGE, SOON, Stage, items, text},
};

/// Pods of each group.
const PODS: usize = 20;
/// Rotations that only the told pods are watched for.
const ROTATIONS: usize = 10;
/// The kubelet looks at a pod every 60 to 90 s, and its first look at a new Secret may come a moment later.
const KUBELET: Duration = Duration::from_secs(150);
/// The goal on a quiet machine, at the median and at p99. It is printed and not asserted: machines are not always quiet.
const MEDIAN: Duration = Duration::from_millis(300);
const P99: Duration = Duration::from_secs(1);

const MODES: [&str; 3] = ["each", "on-401", "transport"];

pub fn every_rotation_reaches_the_pods(stage: &Stage) -> anyhow::Result<()> {
    group(stage, "told", json!({ "pleo.io/connection": CONNECTION }))?;
    group(stage, "untold", json!({}))?;
    let (told, untold) = (folders(stage, "told")?, folders(stage, "untold")?);

    // The first rotation is waited for by everybody.
    let refused = Refused::so_far(stage, &["told", "untold"])?;
    let answered = stage.rotate()?;
    let mut with_nudge = Times::default();
    follow(stage, &told, answered, &mut with_nudge)?;
    let mut without_nudge = Times::default();
    follow(stage, &untold, answered, &mut without_nudge)?;
    let refused = refused.since(stage)?;

    let more = Refused::so_far(stage, &["told"])?;
    for _ in 0..ROTATIONS {
        let answered = stage.rotate()?;
        follow(stage, &told, answered, &mut with_nudge)?;
    }
    let more = more.since(stage)?;

    stage.say(&format!("   answer received to file in the pod, {PODS} pods"))?;
    stage.say(&format!("     told by the operator   {with_nudge}"))?;
    stage.say(&format!("     left to the kubelet    {without_nudge}"))?;
    stage.say("   calls refused with a dead token per rotation, at ten calls a second")?;
    let label = |mode| match mode {
        "each" => "reads the file for each call",
        "on-401" => "reads it again after a 401",
        _ => "the transport of examples/consumers/go",
    };
    for mode in MODES {
        let told = (refused.of("told", mode) + more.of("told", mode)) as f64 / (ROTATIONS + 1) as f64;
        let untold = refused.of("untold", mode);
        stage.say(&format!("     {:40} told {told:5.1}   left to the kubelet {untold:4}", label(mode)))?;
    }
    let ratio = without_nudge.percentile(0.5).as_secs_f64() / with_nudge.percentile(0.5).as_secs_f64();
    let is_met = with_nudge.percentile(0.5) <= MEDIAN && with_nudge.percentile(0.99) <= P99;
    let verdict = if is_met { "met" } else { "missed: is the machine busy?" };
    stage.say(&format!(
        "   told pods follow {ratio:.0} times as soon; the goal of {MEDIAN:?} and {P99:?} is {verdict}"
    ))?;
    // So much slower than any machine, and so much sooner than a kubelet by itself, that only the telling can be why.
    ensure!(ratio > 5.0, "pods that are told follow no sooner than others");
    let rotation = stage.finance(&["get", "pleo", CONNECTION, "-o", "jsonpath={.status.rotation}"])?;
    let pods = stage.get(&["pods", "-n", NAMESPACE, "-l", "group=told"])?;
    let told = |pod: &Value| text(pod, "/metadata/annotations/pleo.io~1rotation") == rotation;
    ensure!(items(&pods).iter().all(told), "not all notified pods of rotation {rotation}");
    remove(stage)
}

/// Twenty pods that mount the Secret, and a consumer of each kind.
fn group(stage: &Stage, name: &str, labels: Value) -> anyhow::Result<()> {
    let mut labels = labels;
    labels["group"] = json!(name);
    let quiet = (0..PODS).map(|number| quiet(&format!("{name}-{number}"), &labels));
    let mut busy_labels = labels.clone();
    busy_labels["group"] = json!(format!("{name}-busy"));
    let busy = MODES.iter().map(|mode| consumer(stage, &format!("{name}-{mode}"), mode, busy_labels.clone()));
    let list: Vec<Value> = quiet.chain(busy).collect();
    stage.cluster().apply(&json!({ "apiVersion": "v1", "kind": "List", "items": list }).to_string())?;
    for group in [name.to_owned(), format!("{name}-busy")] {
        stage.finance(&["wait", "--for=condition=Ready", "pod", "-l", &format!("group={group}"), "--timeout=120s"])?;
    }
    Ok(())
}

/// A pod that mounts the Secret and does nothing.
fn quiet(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "quiet",
                "image": SHELL_IMAGE,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", "trap exit TERM; while true; do busybox sleep 3600 & wait; done"],
                "volumeMounts": [{ "name": "token", "mountPath": "/var/run/pleo", "readOnly": true }],
            }],
            "volumes": [{ "name": "token", "secret": { "secretName": "acme-token" } }],
        },
    })
}

fn folders(stage: &Stage, group: &str) -> anyhow::Result<Vec<PathBuf>> {
    let pods = stage.get(&["pods", "-n", NAMESPACE, "-l", &format!("group={group}")])?;
    let folders: Vec<PathBuf> = items(&pods).iter().map(|pod| stage.mounted(pod)).collect();
    ensure!(folders.len() == PODS, "{} pods", folders.len());
    Ok(folders)
}

/// Waits until all folders hold the living token, and adds how long each took: by the time that the kubelet left on the link
/// that it moves, so looking seldom costs no precision.
fn follow(stage: &Stage, folders: &[PathBuf], answered: SystemTime, times: &mut Times) -> anyhow::Result<()> {
    let (start, mut waiting) = (Instant::now(), folders.to_vec());
    while !waiting.is_empty() {
        let mut late = Vec::new();
        for folder in waiting {
            if stage.holds_living_token(&folder) {
                times.add(moved_at(&folder)?.duration_since(answered).unwrap_or_default());
            } else {
                late.push(folder);
            }
        }
        waiting = late;
        if start.elapsed() > KUBELET {
            bail!("{} of {} pods did not follow within {KUBELET:?}", waiting.len(), folders.len());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// When the kubelet last moved its link to a new set of files.
fn moved_at(folder: &Path) -> anyhow::Result<SystemTime> {
    let link = folder.join("..data");
    let link = fs::symlink_metadata(&link).with_context(|| format!("no {}", link.display()))?;
    let nanoseconds = u32::try_from(link.ctime_nsec()).context("a time")?;
    Ok(SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(link.ctime()).context("a time")?, nanoseconds))
}

/// Calls refused, by pod.
struct Refused<'a> {
    groups: &'a [&'a str],
    counts: BTreeMap<String, u64>,
}

impl<'a> Refused<'a> {
    /// Once every consumer of these groups has printed a line that was counted after now.
    fn so_far(stage: &Stage, groups: &'a [&'a str]) -> anyhow::Result<Self> {
        let mut refused = BTreeMap::new();
        for pod in groups.iter().flat_map(|group| MODES.map(|mode| format!("{group}-{mode}"))) {
            let before = counts(stage, &pod)?.calls;
            stage.until("a consumer goes on", KUBELET, || Ok(counts(stage, &pod)?.calls > before))?;
            refused.insert(pod.clone(), counts(stage, &pod)?.refused);
        }
        Ok(Self { groups, counts: refused })
    }

    /// Refused since then, once all consumers call with the living token again.
    fn since(&self, stage: &Stage) -> anyhow::Result<Self> {
        let busy: Vec<String> = self.groups.iter().map(|group| format!("{group}-busy")).collect();
        let selector = format!("group in ({})", busy.join(","));
        stage.until("all consumers follow", KUBELET, || {
            let pods = stage.get(&["pods", "-n", NAMESPACE, "-l", &selector])?;
            Ok(items(&pods).iter().all(|pod| stage.holds_living_token(&stage.mounted(pod))))
        })?;
        let mut now = Self::so_far(stage, self.groups)?;
        for (pod, count) in &mut now.counts {
            *count -= self.counts.get(pod).copied().unwrap_or_default();
        }
        Ok(now)
    }

    fn of(&self, group: &str, mode: &str) -> u64 {
        self.counts.get(&format!("{group}-{mode}")).copied().unwrap_or_default()
    }
}

fn remove(stage: &Stage) -> anyhow::Result<()> {
    stage.finance(&["delete", "pods", "-l", "group", "--grace-period=1"])?;
    stage.until("the pods are gone", SOON, || {
        let pods = stage.get(&["pods", "-n", NAMESPACE])?;
        Ok(items(&pods).iter().all(|pod| text(pod, "/metadata/name") == "first"))
    })
}
