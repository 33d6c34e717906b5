//! What every test here stands on: a real API server shared by all, a sandbox of one's own, operators as real processes,
//! and a hunt for leaked secrets in everything that they left behind.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use kube_runtime::wait::await_condition;
use pleo_operator::api::{PleoConnection, PleoConnectionStatus};
use pleo_sandbox::{Options, Sandbox};
use pleo_testbed::Cluster;
use serde_json::{Value, json};

/// The longest that anything here may take. Nothing is proved by it: it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Who operators are to the API server, so that their writes can be told from the tests' own.
const OPERATOR_USER: &str = "pleo-operator";

/// A world of one's own: a namespace, an authorization server, and what operators print.
pub struct World {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub sandbox: Sandbox,
    pub client: Client,
    logs: Arc<Mutex<String>>,
    scraped: Mutex<String>,
}

/// The CRD is installed once for all tests.
fn cluster() -> &'static Cluster {
    static READY: OnceLock<()> = OnceLock::new();
    let cluster = pleo_testbed::shared().unwrap();
    READY.get_or_init(|| install_crd(cluster));
    cluster
}

/// Installs the CRD that is checked in, and waits until it is served.
pub fn install_crd(cluster: &Cluster) {
    cluster.apply(include_str!("../../crds/pleo.io_pleoconnections.yaml")).unwrap();
    let wait = ["wait", "--for=condition=Established", "crd/pleoconnections.pleo.io", "--timeout=60s"];
    assert!(cluster.kubectl().args(wait).stdout(Stdio::null()).status().unwrap().success());
}

/// How an operator is started. Short waits, so that nothing takes a minute.
#[derive(Clone)]
pub struct Flags {
    pub identity: String,
    pub lease: String,
    pub extra: Vec<String>,
    pub kubeconfig: Option<PathBuf>,
}

impl Flags {
    pub fn identity(identity: &str) -> Self {
        Self { identity: identity.into(), lease: "pleo-operator".into(), extra: Vec::new(), kubeconfig: None }
    }

    /// A Lease of its own: two of these lead at once.
    pub fn lease(self, lease: &str) -> Self {
        Self { lease: lease.into(), ..self }
    }

    pub fn with(mut self, flag: &str) -> Self {
        self.extra.push(flag.into());
        self
    }
}

impl World {
    pub async fn new(name: &str) -> Self {
        Self::with(name, Options::default()).await
    }

    pub async fn with(name: &str, options: Options) -> Self {
        Self::on(cluster(), name, options).await
    }

    pub async fn on(cluster: &'static Cluster, name: &str, options: Options) -> Self {
        let sandbox = Sandbox::start(options).unwrap();
        let world = Self {
            cluster,
            namespace: cluster.namespace(name).unwrap(),
            sandbox,
            client: cluster.client().await.unwrap(),
            logs: Arc::default(),
            scraped: Mutex::default(),
        };
        world.put_secret("pleo-client", &[("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")]).await;
        world
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn connections(&self) -> Api<PleoConnection> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Starts an operator for this namespace.
    pub fn operator(&self, flags: &Flags) -> Operator {
        let of_admin = || self.cluster.kubeconfig_for(OPERATOR_USER, &["system:masters"]).unwrap();
        let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(of_admin);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pleo-operator"));
        command
            .args(["run", "--namespace", &self.namespace, "--lease-namespace", &self.namespace, "--log-format", "text"])
            .args(["--lease-name", &flags.lease, "--identity", &flags.identity])
            .args(["--allowed-server", &self.sandbox.origin(), "--request-timeout", "2s", "--lease-duration", "3s"])
            .args(["--admin-address", &format!("127.0.0.1:{}", free_port())])
            .args(&flags.extra)
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            // A leak hunt is worth most where most is printed.
            .env("RUST_LOG", "trace")
            .env("NO_COLOR", "1");
        let admin = command
            .get_args()
            .filter_map(|arg| arg.to_str())
            .find(|arg| arg.starts_with("127.0.0.1:"))
            .unwrap()
            .to_owned();
        Operator::start(command, admin, Arc::clone(&self.logs))
    }

    /// Gives somebody these rights in this namespace.
    pub fn allow(&self, user: &str, rules: &str) {
        let role = format!(
            r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {user}, namespace: {namespace}}}
rules:
{rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {user}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {user}}}
subjects: [{{kind: User, name: {user}}}]
"#,
            namespace = self.namespace
        );
        self.cluster.apply(&role).unwrap();
    }

    /// A user's Secret, new or replaced.
    pub async fn put_secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            type_: Some("Opaque".into()),
            data: Some(data),
            ..Secret::default()
        };
        let _ = self.secrets().delete(name, &DeleteParams::default()).await;
        self.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    /// The refresh token of a fresh consent, where the connection looks for it.
    pub async fn consent(&self, name: &str) -> String {
        let token = self.sandbox.consent(name);
        self.put_secret(&format!("{name}-grant"), &[("refresh_token", &token)]).await;
        token
    }

    /// The declaration of a connection to the sandbox; `more` is merged into its spec.
    pub fn declaration(&self, name: &str, more: Value) -> Value {
        let mut connection = json!({
            "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection",
            "metadata": {"name": name},
            "spec": {
                "server": {
                    "tokenURL": self.sandbox.token_url(),
                    "authorizationURL": self.sandbox.authorization_url(),
                    "caBundle": self.sandbox.ca_pem(),
                },
                "client": {"secretRef": {"name": "pleo-client"}},
                "initialGrant": {"secretRef": {"name": format!("{name}-grant")}},
                "secretName": format!("{name}-token"),
            },
        });
        merge(&mut connection["spec"], more);
        connection
    }

    pub async fn connect(&self, name: &str, more: Value) -> PleoConnection {
        let connection = serde_json::from_value(self.declaration(name, more)).unwrap();
        self.connections().create(&PostParams::default(), &connection).await.unwrap()
    }

    /// A consent and a connection that uses it.
    pub async fn connected(&self, name: &str) {
        self.consent(name).await;
        self.connect(name, json!({})).await;
    }

    pub async fn edit(&self, name: &str, patch: Value) {
        self.connections().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks for a refresh, as a user would.
    pub async fn request_refresh(&self, name: &str, value: &str) {
        self.edit(name, json!({"metadata": {"annotations": {"pleo.io/refresh-requested-at": value}}})).await;
    }

    /// Waits until the status of a connection is so; fails with the status as it is.
    pub async fn until(
        &self,
        name: &str,
        what: impl Fn(&PleoConnectionStatus) -> bool + Send + Sync + 'static,
    ) -> PleoConnectionStatus {
        let holds =
            move |connection: Option<&PleoConnection>| connection.and_then(|c| c.status.as_ref()).is_some_and(&what);
        match tokio::time::timeout(PATIENCE, await_condition(self.connections(), name, holds)).await {
            Ok(found) => found.unwrap().unwrap().status.unwrap(),
            Err(_) => {
                let now = self.connections().get(name).await.unwrap().status;
                panic!("{name} never came there. Its status: {now:#?}\n{}", self.log_tail());
            }
        }
    }

    /// Waits for a reason of `Ready`.
    pub async fn until_ready_is(&self, name: &str, reason: &'static str) -> PleoConnectionStatus {
        self.until(name, move |status| condition(status, "Ready").is_some_and(|ready| ready.reason == reason)).await
    }

    /// Waits for a reason of `ReauthRequired`.
    pub async fn until_reauth_is(&self, name: &str, reason: &'static str) -> PleoConnectionStatus {
        self.until(name, move |status| {
            condition(status, "ReauthRequired").is_some_and(|reauth| reauth.reason == reason)
        })
        .await
    }

    /// Waits for the status to tell of this many rotations.
    pub async fn until_rotation(&self, name: &str, rotation: i64) -> PleoConnectionStatus {
        self.until(name, move |status| status.rotation >= Some(rotation)).await
    }

    /// Waits until the sandbox has seen something.
    pub async fn until_sandbox(
        &self,
        what: &str,
        holds: impl Fn(&pleo_sandbox::authority::Authority) -> bool + Send + Sync + 'static,
    ) {
        assert!(
            self.sandbox.until(PATIENCE, holds).await.is_ok(),
            "the sandbox never saw: {what}\n{}",
            self.log_tail()
        );
    }

    /// One key of a Secret, as text.
    pub async fn value(&self, secret: &str, key: &str) -> Option<String> {
        let data = self.secrets().get(secret).await.ok()?.data?;
        data.get(key).map(|value| String::from_utf8(value.0.clone()).unwrap())
    }

    /// The notes of all events with this reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = events.list(&ListParams::default()).await.unwrap();
        let about = all.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        about.filter_map(|event| event.note).collect()
    }

    /// Waits for an event with this reason.
    pub async fn until_event(&self, reason: &str) {
        let begun = Instant::now();
        while self.events(reason).await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no event {reason}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until one key of a Secret is so.
    pub async fn until_secret(
        &self,
        secret: &str,
        key: &str,
        what: impl Fn(Option<&str>) -> bool + Send + Sync + 'static,
    ) {
        let key = key.to_owned();
        let holds = move |secret: Option<&Secret>| {
            let value = secret.and_then(|secret| secret.data.as_ref()).and_then(|data| data.get(&key));
            what(value.map(|value| std::str::from_utf8(&value.0).unwrap()))
        };
        let found = tokio::time::timeout(PATIENCE, await_condition(self.secrets(), secret, holds)).await;
        assert!(found.is_ok(), "{secret} never came there\n{}", self.log_tail());
    }

    /// Waits until operators looked at each of these connections so many times more than `before`.
    pub async fn until_looked_at(&self, names: &[String], before: &[usize], times: usize) {
        let begun = Instant::now();
        let missing = |now: Vec<usize>| now.iter().zip(before).filter(|(now, before)| **now < **before + times).count();
        while missing(self.looks(names)) > 0 {
            assert!(begun.elapsed() < PATIENCE, "some were never looked at\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until an admission policy that was just applied is in force for Secrets of this name.
    pub async fn until_admission_refuses(&self, name: &str) {
        let begun = Instant::now();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let probe = Secret { metadata, ..Secret::default() };
        while self.secrets().create(&dry, &probe).await.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the policy never came into force");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until somebody wrote a Secret after this version.
    pub async fn until_secret_changes(&self, secret: &str, after: &Secret) {
        let version = after.metadata.resource_version.clone();
        let newer =
            move |secret: Option<&Secret>| secret.is_some_and(|secret| secret.metadata.resource_version != version);
        let found = tokio::time::timeout(PATIENCE, await_condition(self.secrets(), secret, newer)).await;
        assert!(found.is_ok(), "{secret} was left as it was\n{}", self.log_tail());
    }

    /// Whether the access token that pods can see is the last one that the server issued to this connection: until it ends,
    /// the only one that it takes.
    pub async fn published_token_is_good(&self, name: &str) -> bool {
        let published = self.value(&format!("{name}-token"), "access_token").await;
        let newest = self.sandbox.read(|authority| authority.newest_tokens(name));
        published.is_some() && published == newest.and_then(|(_, access)| access)
    }

    fn log_tail(&self) -> String {
        let logs = self.logs.lock().unwrap();
        let lines: Vec<&str> = logs.lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn logs(&self) -> String {
        self.logs.lock().unwrap().clone()
    }

    /// I5: no token, and no client secret, in anything that people or machines see: raw, base64, URL-encoded, JSON-escaped.
    pub async fn hunt_for_leaks(&self) {
        let mut haystack = vec![("logs", self.logs()), ("metrics", self.scraped.lock().unwrap().clone())];
        for resource in ["events", "pleoconnections", "leases"] {
            let output =
                self.cluster.kubectl().args(["-n", &self.namespace, "get", resource, "-o", "json"]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            haystack.push((resource, String::from_utf8(output.stdout).unwrap()));
        }
        let mut secrets = self.sandbox.issued_tokens();
        secrets.push("sandbox-secret".into());
        for secret in &secrets {
            for form in forms(secret) {
                for (place, text) in &haystack {
                    assert!(!text.contains(&form), "a secret leaked into the {place} of {}", self.namespace);
                }
            }
        }
        assert!(!secrets.is_empty() && !haystack[0].1.is_empty(), "a hunt in nothing proves nothing");
    }

    /// What operators wrote in this namespace, as `verb resource/subresource name`, without the Lease and events.
    pub fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|(is_write, _)| *is_write).map(|(_, text)| text).collect()
    }

    /// How often operators looked at these connections: each look reads the grant once.
    pub fn looks(&self, names: &[String]) -> Vec<usize> {
        let mut looks = std::collections::BTreeMap::<String, usize>::new();
        for (_, text) in self.requests() {
            if let Some(name) = text.strip_prefix("get secrets/ pleo-grant-") {
                *looks.entry(name.to_owned()).or_default() += 1;
            }
        }
        names.iter().map(|name| looks.get(name).copied().unwrap_or_default()).collect()
    }

    fn requests(&self) -> Vec<(bool, String)> {
        let requests = self.cluster.requests(&self.namespace).unwrap();
        let ours = requests.into_iter().filter(|request| request.user == OPERATOR_USER);
        let counted = ours.filter(|request| request.resource != "leases" && request.resource != "events");
        counted
            .map(|request| {
                let text = format!("{} {}/{} {}", request.verb, request.resource, request.subresource, request.name);
                (request.is_write(), text)
            })
            .collect()
    }

    /// Waits until it is counted.
    pub async fn until_counted(&self, operator: &Operator, line: &str) {
        let begun = Instant::now();
        while !self.scrape(operator).lines().any(|found| found == line) {
            assert!(begun.elapsed() < PATIENCE, "never counted {line:?}:\n{}", operator.get("/metrics"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Remembers what an operator shows to Prometheus, for the hunt.
    pub fn scrape(&self, operator: &Operator) -> String {
        let text = operator.get("/metrics");
        self.scraped.lock().unwrap().push_str(&text);
        text
    }
}

/// All ways in which a secret may be written.
fn forms(secret: &str) -> [String; 5] {
    let json = serde_json::to_string(secret).unwrap();
    let url: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let (base64, base64url) = (BASE64_STANDARD.encode(secret), BASE64_URL_SAFE_NO_PAD.encode(secret));
    [secret.to_owned(), base64, base64url, url, json.trim_matches('"').to_owned()]
}

fn merge(target: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (key, value) in more {
        match value {
            Value::Null => {
                target.as_object_mut().unwrap().remove(&key);
            }
            value => target[key] = value,
        }
    }
}

/// A condition of a status.
pub fn condition<'a>(status: &'a PleoConnectionStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// `status reason` of a condition, to read at a glance; `-` if it is not there.
pub fn told(status: &PleoConnectionStatus, kind: &str) -> String {
    condition(status, kind).map_or_else(|| "-".into(), |condition| format!("{} {}", condition.status, condition.reason))
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An operator as a process of its own.
pub struct Operator {
    child: Child,
    admin: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Operator {
    fn start(mut command: Command, admin: String, logs: Arc<Mutex<String>>) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let own = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut logs = logs.lock().unwrap();
                logs.push_str(&line);
                logs.push('\n');
                own.lock().unwrap().push(line);
            }
        });
        Self { child, admin, lines }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until it has printed this.
    pub async fn until_printed(&self, what: &str) {
        let begun = Instant::now();
        while !self.printed().contains(what) {
            assert!(begun.elapsed() < PATIENCE, "never printed {what:?}:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has printed this more often than so many times.
    pub async fn until_printed_more(&self, what: &str, times: usize) {
        let begun = Instant::now();
        while self.printed().matches(what).count() <= times {
            assert!(begun.elapsed() < PATIENCE, "never printed {what:?} again:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit status.
    pub async fn stop(self) -> i32 {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "did not end:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A page of its admin endpoint: `200 body`, or nothing while it does not listen.
    pub fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.admin) else { return String::new() };
        write!(stream, "GET {path} HTTP/1.0\r\nHost: admin\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.strip_prefix("HTTP/1.0 ").map(str::to_owned).unwrap_or(answer)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Deletes whatever a test left, and fails if it leaked.
pub async fn finish(world: World) {
    world.hunt_for_leaks().await;
    let leftovers = world.connections().list(&ListParams::default()).await.unwrap();
    for connection in leftovers {
        let name = connection.metadata.name.unwrap();
        world.connections().delete(&name, &DeleteParams::default()).await.unwrap();
    }
}

/// A connection for each case, all of them rotated once.
pub async fn many_rotating(world: &str, many: usize) -> (World, Operator, Vec<String>) {
    let world = World::new(world).await;
    let operator = world.operator(&Flags::identity("a"));
    let names: Vec<String> = (0..many).map(|number| format!("c{number}")).collect();
    for name in &names {
        world.connected(name).await;
    }
    for name in &names {
        world.until_rotation(name, 1).await;
    }
    (world, operator, names)
}
