//! A world of one's own for each test: API server, authorization server, the people who use them, and what a judge
//! needs to see. All in paused time: an hour passes as soon as nobody has anything to do in it.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, Engine};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, Secret},
    },
};
use kube::{
    Api, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use pleo_operator::api::{PleoConnection, names};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{ApiServer, Call, Record, Verb},
    stage::{
        pleo::{CLIENT_ID, CLIENT_SECRET, Pleo},
        process::{self, Process},
    },
};

pub const NAMESPACE: &str = "finance";
/// The Secret with the client's credentials, shared by all connections.
pub const CLIENT: &str = "pleo-client";

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

pub const fn hours(n: u64) -> Duration {
    minutes(60 * n)
}

pub const fn days(n: u64) -> Duration {
    hours(24 * n)
}

pub struct World {
    pub server: ApiServer,
    pub pleo: Pleo,
    user: kube::Client,
    processes: AtomicU32,
}

impl World {
    /// Both servers, and the client Secret.
    pub async fn new() -> Self {
        Self::from_seed(1).await
    }

    /// The same, with all chance from that seed.
    pub async fn from_seed(seed: u64) -> Self {
        let server = ApiServer::new(seed);
        let user = server.undisturbed_client("user").kube();
        let world = Self { pleo: Pleo::new(server.clone(), seed), server, user, processes: AtomicU32::default() };
        world.put_secret(CLIENT, &[("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]).await;
        world
    }

    /// The same, with a connection `acme` whose access tokens live that long, and a process that has brought its first
    /// pair.
    pub async fn with_acme(life: Duration) -> (Self, Process) {
        Self::with_acme_on(life, |pod| pod).await
    }

    /// The same, with a pod of one's own making.
    pub async fn with_acme_on(life: Duration, make: impl FnOnce(process::Pod) -> process::Pod) -> (Self, Process) {
        let world = Self::new().await;
        world.connect("acme", life).await;
        let process = make(process::Pod::new(&world, "pod-a")).start(&world);
        world.until("the first pair is published", |world| world.is_ready("acme")).await;
        // The rest of that pass.
        sleep(seconds(1)).await;
        world.server.reset_trace();
        (world, process)
    }

    /// A client for people: nothing ever goes wrong with it.
    pub fn user(&self) -> kube::Client {
        self.user.clone()
    }

    /// A name for the next process.
    pub fn next_process(&self) -> String {
        format!("process-{}", self.processes.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Waits in simulated time. Polling costs no real time worth speaking of.
    pub async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        self.until_within(hours(1), what, reached).await;
    }

    pub async fn until_within(&self, limit: Duration, what: &str, reached: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !reached(self) {
            assert!(began.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.last_requests());
            sleep(if began.elapsed() < minutes(1) { Duration::from_millis(20) } else { seconds(1) }).await;
        }
    }

    /// Waits for the next exchange of a connection, and tells when it began.
    pub async fn next_exchange(&self, name: &str, limit: Duration) -> Duration {
        let before = self.pleo.counters(name).begins.len();
        self.until_within(limit, "the next exchange", |world| world.pleo.counters(name).begins.len() > before).await;
        self.pleo.counters(name).begins[before]
    }

    fn last_requests(&self) -> String {
        let trace = self.server.trace();
        let last = trace.iter().filter(|record| !is_about_leases(record)).rev().take(30);
        last.map(|record| format!("{record}\n")).collect()
    }
}

/// What people do.
impl World {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.user.clone(), NAMESPACE)
    }

    fn connections(&self) -> Api<PleoConnection> {
        Api::namespaced(self.user.clone(), NAMESPACE)
    }

    /// Writes a Secret of type `Opaque`, new or not.
    pub async fn put_secret(&self, name: &str, data: &[(&str, &str)]) {
        let texts: BTreeMap<&str, &str> = data.iter().copied().collect();
        if self.server.object("secrets", NAMESPACE, name).is_some() {
            let patch = Patch::Merge(json!({"stringData": texts}));
            self.secrets().patch(name, &PatchParams::default(), &patch).await.unwrap();
            return;
        }
        let secret = json!({"metadata": {"name": name}, "type": "Opaque", "stringData": texts});
        let secret = serde_json::from_value(secret).unwrap();
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    /// The user consents, and puts the refresh token where the connection looks for it.
    pub async fn consent(&self, name: &str) {
        let token = self.pleo.consent(name);
        self.put_secret(&format!("{name}-grant"), &[("refresh_token", &token)]).await;
    }

    /// A connection with a consent, whose access tokens live that long.
    pub async fn connect(&self, name: &str, life: Duration) {
        self.pleo.lives(name, life);
        self.consent(name).await;
        self.declare(name).await;
    }

    /// A connection alone.
    pub async fn declare(&self, name: &str) {
        let connection = json!({
            "apiVersion": "pleo.io/v1alpha1",
            "kind": "PleoConnection",
            "metadata": {"name": name},
            "spec": {
                "client": {"secretRef": {"name": CLIENT}},
                "initialGrant": {"secretRef": {"name": format!("{name}-grant")}},
                "secretName": format!("{name}-token"),
            },
        });
        let connection = serde_json::from_value(connection).unwrap();
        self.connections().create(&PostParams::default(), &connection).await.unwrap();
    }

    /// Edits the spec.
    pub async fn edit(&self, name: &str, spec: Value) {
        self.patch(name, json!({"spec": spec})).await;
    }

    /// Asks for a refresh.
    pub async fn request_refresh(&self, name: &str, value: &str) {
        self.patch(name, json!({"metadata": {"annotations": {names::REFRESH_REQUESTED_ANNOTATION: value}}})).await;
    }

    async fn patch(&self, name: &str, patch: Value) {
        self.connections().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A pod on a node, that runs and bears these labels.
    pub async fn run_pod(&self, name: &str, labels: Value) {
        let pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": "node-1", "containers": [{"name": "web", "image": "web"}]},
        });
        self.create::<Pod>(pod).await;
        let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
        Api::<Pod>::namespaced(self.user.clone(), NAMESPACE)
            .patch_status(name, &PatchParams::default(), &running)
            .await
            .unwrap();
    }

    /// A Deployment without anything that matters here.
    pub async fn deploy(&self, name: &str) {
        let template =
            json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": name, "image": name}]}});
        let spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
        self.create::<Deployment>(json!({"metadata": {"name": name}, "spec": spec})).await;
    }

    async fn create<K>(&self, object: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let object: K = serde_json::from_value(object).unwrap();
        Api::<K>::namespaced(self.user.clone(), NAMESPACE).create(&PostParams::default(), &object).await.unwrap();
    }

    /// A tool puts a Deployment back as it stands in Git, without what others added to its pod template.
    pub async fn strip_template(&self, name: &str) {
        let patch = Patch::Merge(json!({"spec": {"template": {"metadata": {"annotations": null}}}}));
        let api = Api::<Deployment>::namespaced(self.user.clone(), NAMESPACE);
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn delete_connection(&self, name: &str) {
        self.connections().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn delete_secret(&self, name: &str) {
        self.secrets().delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// What is there.
impl World {
    /// The connection as it is stored.
    pub fn connection(&self, name: &str) -> Value {
        self.server.object("pleoconnections.pleo.io", NAMESPACE, name).unwrap_or_default()
    }

    pub fn status(&self, name: &str) -> Value {
        self.connection(name)["status"].clone()
    }

    /// Status and reason of a condition, as `True Refreshed`; empty where it is not there.
    pub fn condition(&self, name: &str, kind: &str) -> String {
        let status = self.status(name);
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        found.map(|found| format!("{} {}", text(found, "status"), text(found, "reason"))).unwrap_or_default()
    }

    /// The reasons of all events about a connection.
    pub fn events(&self, name: &str) -> Vec<String> {
        let events = self.server.all("events.events.k8s.io");
        let about = events.iter().filter(|event| event["regarding"]["name"] == name);
        about.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
    }

    pub fn is_ready(&self, name: &str) -> bool {
        self.condition(name, "Ready") == "True Refreshed"
    }

    /// One key of a Secret as text.
    pub fn secret(&self, name: &str, key: &str) -> Option<String> {
        let secret = self.server.object("secrets", NAMESPACE, name)?;
        secret["data"][key].as_str().map(decoded)
    }

    /// The ledger in the grant Secret of a connection.
    pub fn ledger(&self, name: &str) -> Value {
        let ledger = self.secret(&names::grant_secret(name), "ledger");
        ledger.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Whether pods have a token in hand that the server accepts at this moment.
    pub fn token_works(&self, name: &str) -> bool {
        let token = self.secret(&format!("{name}-token"), "access_token");
        token.and_then(|token| self.pleo.accepts(&token)).as_deref() == Some(name)
    }

    /// What a pod was told last.
    pub fn told(&self, pod: &str) -> Option<String> {
        let pod = self.server.object("pods", NAMESPACE, pod)?;
        pod["metadata"]["annotations"][names::ROTATION_ANNOTATION].as_str().map(str::to_owned)
    }

    /// How often a Deployment's spec has changed, and what its pods were restarted for last.
    pub fn rollouts(&self, name: &str) -> (i64, String) {
        let deployment = self.server.object("deployments.apps", NAMESPACE, name).unwrap_or_default();
        let mark = &deployment["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_FOR_ANNOTATION];
        (
            deployment["metadata"]["generation"].as_i64().unwrap_or_default(),
            mark.as_str().unwrap_or_default().to_owned(),
        )
    }

    /// Who holds a Lease.
    pub fn lease_holder(&self, lease: &str) -> Option<String> {
        let lease = self.server.object("leases.coordination.k8s.io", NAMESPACE, lease)?;
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    /// The operators' writes since the last reset, successful or not, but for those of Leases.
    pub fn writes(&self) -> Vec<Record> {
        let ours = |record: &Record| record.client != "user" && !is_about_leases(record);
        self.server.writes().into_iter().filter(ours).collect()
    }

    /// How often operators have looked at a connection since the last reset: each look reads its grant Secret once.
    pub fn looks(&self, name: &str) -> usize {
        let grant = names::grant_secret(name);
        let look = |record: &&Record| record.verb == Verb::Get && record.resource == "secrets" && record.name == grant;
        self.server.trace().iter().filter(look).count()
    }
}

pub fn is_about_leases(record: &Record) -> bool {
    record.resource == "leases.coordination.k8s.io"
}

/// Whether a call writes the grant of a connection, and whether there is a claim in what it writes.
pub fn claims(call: &Call, name: &str) -> bool {
    writes_grant(call, name).is_some_and(|ledger| ledger["claim"].is_object())
}

/// The commit or the release: the grant is written without a claim.
pub fn settles(call: &Call, name: &str) -> bool {
    writes_grant(call, name).is_some_and(|ledger| ledger["claim"].is_null())
}

fn writes_grant(call: &Call, name: &str) -> Option<Value> {
    let grant = call.resource == "secrets" && call.verb == Verb::Patch && call.name == names::grant_secret(name);
    let ledger = call.body["data"]["ledger"].as_str().filter(|_| grant).map(decoded)?;
    serde_json::from_str(&ledger).ok()
}

pub fn decoded(base64: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(base64).unwrap()).unwrap()
}
