//! The two servers, and what a story does with them. A story is played on both at the same time; then their transcripts
//! are compared.

use std::{panic::AssertUnwindSafe, process::Stdio, sync::OnceLock, time::Duration};

use futures::{
    AsyncBufReadExt, FutureExt, StreamExt,
    future::{join, join_all},
    stream::BoxStream,
};
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use pleo_testbed::Cluster;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    apiserver::ApiServer,
    support::{
        kinds::Kind,
        tape::{Tape, differences},
    },
};

/// The longest that a story may take. Nothing is proved by it: it only ends one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Where a bookmark says that all that was there is told.
const END_OF_INITIAL_EVENTS: &str = "/object/metadata/annotations/k8s.io~1initial-events-end";

/// Plays a story on both servers, in a namespace of its own, and compares what they answered.
pub async fn same_on_both(story: impl AsyncFn(&Server)) {
    let cluster = cluster();
    let namespace = cluster.namespace("same").unwrap();
    let memory = Server::in_memory(&namespace);
    let real = Server::real(cluster, &namespace).await;
    let ended = join(played(story(&memory)), played(story(&real))).await;
    let (memory, real) = (memory.tape.into_steps(), real.tape.into_steps());
    let told = differences(&memory, &real);
    assert!(told.is_empty(), "the two servers are not the same:{told}\n");
    assert!(!real.is_empty(), "a story without a step tells nothing");
    assert_eq!(ended, (Ok(()), Ok(())), "in memory and really");
}

/// Plays a story to its end. Where it breaks off, the transcripts so far tell more than its panic.
async fn played(story: impl Future<Output = ()>) -> Result<(), &'static str> {
    match timeout(PATIENCE, AssertUnwindSafe(story).catch_unwind()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err("it broke off"),
        Err(_) => Err("it hung"),
    }
}

/// The CRD is installed once for all tests.
fn cluster() -> &'static Cluster {
    static READY: OnceLock<()> = OnceLock::new();
    let cluster = pleo_testbed::shared().unwrap();
    READY.get_or_init(|| {
        cluster.apply(include_str!("../../../crds/pleo.io_pleoconnections.yaml")).unwrap();
        let wait = ["wait", "--for=condition=Established", "crd/pleoconnections.pleo.io", "--timeout=60s"];
        assert!(cluster.kubectl().args(wait).stdout(Stdio::null()).status().unwrap().success());
    });
    cluster
}

/// One of the two.
#[derive(Clone)]
pub struct Server {
    pub namespace: String,
    /// Whatever passes through it is written down.
    pub client: Client,
    /// The same, unseen: for what happens at the same time, or is written down otherwise.
    pub quiet: Client,
    pub tape: Tape,
    memory: Option<ApiServer>,
    metadata_only: bool,
    content_type: Option<&'static str>,
    manager: Option<&'static str>,
}

impl Server {
    fn new(quiet: Client, namespace: &str, memory: Option<ApiServer>) -> Self {
        let tape = Tape::default();
        let client = tape.recording(&quiet, namespace);
        let namespace = namespace.to_owned();
        Self { namespace, client, quiet, tape, memory, metadata_only: false, content_type: None, manager: None }
    }

    fn in_memory(namespace: &str) -> Self {
        let server = ApiServer::new(1);
        Self::new(server.client("operator").kube(), namespace, Some(server))
    }

    async fn real(cluster: &Cluster, namespace: &str) -> Self {
        // kube's TLS wants one provider to be chosen for the process; an error says that this was done already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.proxy_url = None;
        // As the operator has it. Otherwise some refusals would be asked for again and again.
        config.default_retry = false;
        let server = Self::new(Client::try_from(config).unwrap(), namespace, None);
        // A pod needs it, and here is no controller that makes it.
        let account = json!({"metadata": {"name": "default"}});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let request = Request::post(path).header(header::CONTENT_TYPE, JSON).body(account.to_string().into_bytes());
        server.quiet.request::<Value>(request.unwrap()).await.unwrap();
        server
    }

    /// The same server, asked for metadata only.
    pub fn metadata_only(&self) -> Self {
        Self { metadata_only: true, ..self.clone() }
    }

    /// The same server, told that bodies are of this type.
    pub fn sending(&self, content_type: &'static str) -> Self {
        Self { content_type: Some(content_type), ..self.clone() }
    }

    /// The same server, told who writes.
    pub fn calling_itself(&self, manager: &'static str) -> Self {
        Self { manager: Some(manager), ..self.clone() }
    }

    /// Makes the server forget its history, and gives a version from long ago.
    ///
    /// The real one cannot be told to; but at version 1 the CRD was not there yet, so no connection is as old as that.
    pub fn long_ago(&self) -> &'static str {
        if let Some(memory) = &self.memory {
            memory.compact();
        }
        "1"
    }

    /// Where objects of this kind are.
    pub fn path(&self, kind: Kind) -> String {
        format!("{}/namespaces/{}/{}", kind.path, self.namespace, kind.plural)
    }
}

/// Requests as they go over the wire.
impl Server {
    pub async fn create(&self, kind: Kind, object: &Value) -> Answer {
        self.send(Method::POST, &self.path(kind), JSON, object.to_string()).await
    }

    pub async fn get(&self, kind: Kind, name: &str) -> Answer {
        self.send(Method::GET, &format!("{}/{name}", self.path(kind)), JSON, String::new()).await
    }

    /// Replaces the object of that name.
    pub async fn put(&self, kind: Kind, object: &Value) -> Answer {
        let path = format!("{}/{}", self.path(kind), name_of(object));
        self.send(Method::PUT, &path, JSON, object.to_string()).await
    }

    pub async fn put_status(&self, kind: Kind, object: &Value) -> Answer {
        let path = format!("{}/{}/status", self.path(kind), name_of(object));
        self.send(Method::PUT, &path, JSON, object.to_string()).await
    }

    pub async fn patch(&self, kind: Kind, name: &str, patch: Value) -> Answer {
        self.send(Method::PATCH, &format!("{}/{name}", self.path(kind)), MERGE_PATCH, patch.to_string()).await
    }

    pub async fn patch_status(&self, kind: Kind, name: &str, patch: Value) -> Answer {
        self.send(Method::PATCH, &format!("{}/{name}/status", self.path(kind)), MERGE_PATCH, patch.to_string()).await
    }

    pub async fn delete(&self, kind: Kind, name: &str) -> Answer {
        self.delete_if(kind, name, json!({})).await
    }

    /// Deletes what fulfils these preconditions.
    pub async fn delete_if(&self, kind: Kind, name: &str, preconditions: Value) -> Answer {
        let options = json!({"preconditions": preconditions}).to_string();
        self.send(Method::DELETE, &format!("{}/{name}", self.path(kind)), JSON, options).await
    }

    pub async fn list(&self, kind: Kind, query: &[(&str, &str)]) -> Answer {
        let path = format!("{}?{}", self.path(kind), encoded(query));
        self.send(Method::GET, &path, JSON, String::new()).await
    }

    /// Any request.
    pub async fn send(&self, method: Method, path: &str, content_type: &str, body: String) -> Answer {
        let answer = self.client.send(self.request(method, path, content_type, body)).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Answer { tape: self.tape.clone(), at: self.tape.last(), body }
    }

    fn request(&self, method: Method, path: &str, content_type: &str, body: String) -> Request<Body> {
        let by = self.manager.map_or_else(String::new, |manager| format!("?fieldManager={manager}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}{by}"))
            .header(header::ACCEPT, self.accept(path))
            .header(header::CONTENT_TYPE, self.content_type.unwrap_or(content_type));
        request.body(body.into_bytes().into()).unwrap()
    }

    /// An object as it is now, where that is not to be compared.
    pub async fn unseen(&self, kind: Kind, name: &str) -> Value {
        let path = format!("{}/{name}", self.path(kind));
        self.quiet.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
    }

    /// PUTs at the same time; gives their codes, sorted.
    pub async fn put_at_once(&self, kind: Kind, objects: &[Value]) -> Vec<u16> {
        let path = |object: &Value| format!("{}/{}", self.path(kind), name_of(object));
        self.at_once(objects, |object| self.request(Method::PUT, &path(object), JSON, object.to_string())).await
    }

    pub async fn create_at_once(&self, kind: Kind, objects: &[Value]) -> Vec<u16> {
        self.at_once(objects, |object| self.request(Method::POST, &self.path(kind), JSON, object.to_string())).await
    }

    pub async fn patch_at_once(&self, kind: Kind, name: &str, patches: &[Value]) -> Vec<u16> {
        let path = format!("{}/{name}", self.path(kind));
        self.at_once(patches, |patch| self.request(Method::PATCH, &path, MERGE_PATCH, patch.to_string())).await
    }

    /// Which of them is first differs, so only what became of them all is written down.
    async fn at_once(&self, bodies: &[Value], request: impl Fn(&Value) -> Request<Body>) -> Vec<u16> {
        let answers = join_all(bodies.iter().map(|body| self.quiet.send(request(body)))).await;
        let mut codes: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
        codes.sort_unstable();
        self.tape.note("several at once", "all were answered", json!(codes));
        codes
    }

    fn accept(&self, path: &str) -> &'static str {
        match (self.metadata_only, path.contains('?') && !path.contains("watch=true")) {
            (false, _) => JSON,
            (true, true) => METADATA_LIST,
            (true, false) => METADATA_ONLY,
        }
    }

    /// Begins a watch. One that is refused is written down as such, and has no lines.
    pub async fn watch(&self, kind: Kind, query: &[(&str, &str)]) -> Watch {
        let path = format!("{}?watch=true&{}", self.path(kind), encoded(query));
        let request = Request::get(&path).header(header::ACCEPT, self.accept(&path)).body(Vec::new()).unwrap();
        let lines = match self.client.request_stream(request).await {
            Ok(lines) => lines.lines().filter_map(async |line| line.ok()).boxed(),
            Err(_) => futures::stream::empty().boxed(),
        };
        Watch { tape: self.tape.clone(), at: self.tape.last(), plural: kind.plural, lines, told_how_far: false }
    }
}

fn encoded(query: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
}

pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub fn version_of(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

/// An answer that has still to be judged.
#[must_use = "a story says what each answer is to be"]
pub struct Answer {
    tape: Tape,
    at: usize,
    body: Value,
}

impl Answer {
    /// Says what it is to be: the code, and for a refusal the reason. Gives the body as it came.
    pub fn is(self, expected: &str) -> Value {
        self.tape.expect(self.at, expected);
        self.body
    }
}

/// A watch under way.
pub struct Watch {
    tape: Tape,
    at: usize,
    plural: &'static str,
    lines: BoxStream<'static, String>,
    /// A bookmark came that ends no list. The real server sends them when it likes, and near the end several.
    told_how_far: bool,
}

impl Watch {
    /// Says how it is to be answered.
    pub fn is(self, expected: &str) -> Self {
        self.tape.expect(self.at, expected);
        self
    }

    /// The next line; none when the watch has ended.
    async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next().await?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Follows the watch until it tells of the object of that name, or ends. Gives the events in short: `ADDED a`.
    pub async fn until(&mut self, name: &str) -> Vec<String> {
        self.follow(|event| name_of(&event["object"]) == name).await
    }

    /// Follows a streaming list until all that was there is told.
    pub async fn until_initial_events_end(&mut self) -> Vec<String> {
        self.follow(|event| event.pointer(END_OF_INITIAL_EVENTS).is_some()).await
    }

    /// Follows the watch to its end.
    pub async fn until_its_end(&mut self) -> Vec<String> {
        let mut told = self.follow(|_| false).await;
        told.extend(self.told_how_far.then(|| "BOOKMARK".to_owned()));
        self.tape.note(&format!("a watch of {}", self.plural), "ended", json!({"toldHowFar": self.told_how_far}));
        told
    }

    async fn follow(&mut self, reached: impl Fn(&Value) -> bool) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        while let Some(event) = self.next().await {
            if event["type"] == "BOOKMARK" && event.pointer(END_OF_INITIAL_EVENTS).is_none() {
                self.told_how_far = true;
                continue;
            }
            self.tape.note_event(self.plural, &event);
            let name = name_of(&event["object"]);
            told.push(format!("{} {name}", event["type"].as_str().unwrap_or_default()).trim_end().to_owned());
            if reached(&event) {
                break;
            }
        }
        told
    }
}
