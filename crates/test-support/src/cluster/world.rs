//! A world of its own for each test, and what people do in it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use pleo_operator::api::PleoConnection;
use pleo_sandbox::{Options, Sandbox};
use pleo_testbed::Cluster;
use serde_json::{Value, json};

use super::operator::{Flags, Operator, free_port};

/// Who operators are to the API server, so that their writes can be told from the tests' own.
pub(super) const OPERATOR_USER: &str = "pleo-operator";

/// A world of one's own: a namespace, an authorization server, and what operators print.
pub struct World {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub sandbox: Sandbox,
    pub client: Client,
    pub(super) logs: Arc<Mutex<String>>,
    pub(super) scraped: Mutex<String>,
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
    cluster.apply(include_str!("../../../../crds/pleo.io_pleoconnections.yaml")).unwrap();
    let wait = ["wait", "--for=condition=Established", "crd/pleoconnections.pleo.io", "--timeout=60s"];
    assert!(cluster.kubectl().args(wait).stdout(Stdio::null()).status().unwrap().success());
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
        let mut command = Command::new(program());
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

/// The program, which Cargo builds before the tests of its package: beside their folder.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("pleo-operator");
    assert!(program.exists(), "{} is not built: cargo build", program.display());
    program
}
