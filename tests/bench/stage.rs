//! Where the fleet is measured: a real API server, the strict fake of Pleo, declarations, and the operator as a process.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use pleo_operator::api::PleoConnection;
use pleo_sandbox::{Options, Sandbox, authority::Lifetimes};
use pleo_test_support::cluster::{free_port, install_crd};
use pleo_testbed::{Cluster, Request};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::process::cpu;

/// Requests at the same time.
const AT_ONCE: usize = 32;
const USER: &str = "pleo-operator";
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(1200);

/// One API server, one authorization server, one namespace.
pub struct Stage {
    cluster: Cluster,
    client: Client,
    namespace: String,
    pub sandbox: Sandbox,
}

/// How many requests there were, in the namespace and in all.
#[derive(Clone, Copy, Default)]
pub struct Mark([usize; 2]);

/// The operator as a process, which is ended with this value.
pub struct Operator(Child);

impl Operator {
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The most that is measured from now on.
    pub fn reset_peak(&self) -> anyhow::Result<()> {
        // proc(5): 5 resets the peak of the resident set.
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").context("the peak of memory cannot be reset")
    }

    pub fn terminate(&self) -> anyhow::Result<()> {
        ensure!(Command::new("kill").arg(self.id().to_string()).status()?.success(), "the operator is gone");
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn sandbox() -> anyhow::Result<Sandbox> {
    Ok(Sandbox::start(Options::default())?)
}

/// The name of a connection.
pub fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}{number}")
}

pub async fn until_exchanges(sandbox: &Sandbox, count: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    while sandbox.read(|authority| authority.exchanges().len()) < count {
        ensure!(began.elapsed() < PATIENCE, "{count} exchanges never came about");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Stage {
    pub async fn new(what: &str, count: usize) -> anyhow::Result<Self> {
        let cluster = Cluster::start()?;
        install_crd(&cluster);
        let client = cluster.client().await?;
        let namespace = cluster.namespace(what)?;
        let stage = Self { cluster, client, namespace, sandbox: sandbox()? };
        let client = [("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")];
        stage.secret("pleo-client", &client).await?;
        println!("--- {what}{}", if count > 0 { format!(", {count} connections") } else { String::new() });
        Ok(stage)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn connections(&self) -> Api<PleoConnection> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn secret(&self, name: &str, data: &[(&str, &str)]) -> anyhow::Result<Secret> {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        Ok(self.secrets().create(&PostParams::default(), &secret).await?)
    }

    /// What the API server can do, in PUTs and GETs of Secrets a second.
    pub async fn calibrate(&self) -> anyhow::Result<(f64, f64)> {
        let value = "x".repeat(2000);
        let names: Vec<String> = (0..AT_ONCE).map(|number| format!("calibration-{number}")).collect();
        for name in &names {
            self.secret(name, &[("value", &value)]).await?;
        }
        // Without a version: whatever is there is replaced.
        let put = self.rate(&names, async |api, name, round| {
            let data = BTreeMap::from([("value".to_owned(), ByteString(format!("{round}{value}").into_bytes()))]);
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            api.replace(name, &PostParams::default(), &secret).await.map(drop)
        });
        let put = put.await?;
        let get = self.rate(&names, async |api, name, _| api.get(name).await.map(drop)).await?;
        Ok((put, get))
    }

    async fn rate(
        &self,
        names: &[String],
        call: impl AsyncFn(&Api<Secret>, &str, u32) -> kube::Result<()>,
    ) -> anyhow::Result<f64> {
        let (began, window, api) = (Instant::now(), Duration::from_secs(5), self.secrets());
        let calls = names.iter().map(async |name| {
            let mut done = 0;
            while began.elapsed() < window {
                call(&api, name, done).await?;
                done += 1;
            }
            anyhow::Ok(done)
        });
        let done: Vec<u32> = futures::future::try_join_all(calls).await?;
        Ok(f64::from(done.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
    }

    /// Tokens that are issued from now on live so long.
    pub fn lifetimes(&self, access: Duration) {
        self.sandbox.set_default_lifetimes(Lifetimes { access, refresh: super::YEAR });
    }

    /// So many connections, each with a grant of its own.
    pub async fn declare(&self, count: usize) -> anyhow::Result<()> {
        self.declare_at(&self.sandbox, "c", count).await
    }

    pub async fn declare_at(&self, sandbox: &Sandbox, prefix: &str, count: usize) -> anyhow::Result<()> {
        self.each(prefix, count, async |name| {
            let initial = format!("{name}-grant");
            self.secret(&initial, &[("refresh_token", &sandbox.consent(&name))]).await?;
            let connection = json!({
                "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection",
                "metadata": {"name": name},
                "spec": {
                    "server": {"tokenURL": sandbox.token_url(), "caBundle": sandbox.ca_pem()},
                    "client": {"secretRef": {"name": "pleo-client"}},
                    "initialGrant": {"secretRef": {"name": initial}},
                    "secretName": format!("{name}-token"),
                },
            });
            self.connections().create(&PostParams::default(), &serde_json::from_value(connection)?).await?;
            Ok(())
        })
        .await
    }

    pub async fn request_refresh(&self, count: usize) -> anyhow::Result<()> {
        self.request_refresh_of("c", count).await
    }

    pub async fn request_refresh_of(&self, prefix: &str, count: usize) -> anyhow::Result<()> {
        let at = format!("{:?}", self.sandbox.now());
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"pleo.io/refresh-requested-at": at}}}));
        self.each(prefix, count, async |name| {
            self.connections().patch_metadata(&name, &PatchParams::default(), &patch).await?;
            Ok(())
        })
        .await
    }

    async fn each(
        &self,
        prefix: &str,
        count: usize,
        call: impl AsyncFn(String) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let calls = (0..count).map(|number| call(name(prefix, number)));
        stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await
    }

    pub fn operator(&self, identity: &str, more: &[&str]) -> anyhow::Result<Operator> {
        let program = std::env::var_os("PLEO_OPERATOR").context("PLEO_OPERATOR is not set: run `make bench`")?;
        let kubeconfig = self.cluster.kubeconfig_for(USER, &["system:masters"])?;
        let mut command = Command::new(program);
        command
            .args(["run", "--lease-namespace", &self.namespace, "--identity", identity, "--log-format", "text"])
            .args([
                "--allowed-server",
                &self.sandbox.origin(),
                "--admin-address",
                &format!("127.0.0.1:{}", free_port()),
            ])
            .args(more)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "MALLOC_ARENA_MAX" || name == "RUST_LOG"))
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null());
        // It goes with the cluster.
        let log = fs::File::create(self.cluster.folder().join(format!("operator-{identity}.log")))?;
        Ok(Operator(command.stderr(log).spawn().context("the operator does not start")?))
    }

    pub fn exchanges(&self) -> usize {
        self.sandbox.read(|authority| authority.exchanges().len())
    }

    pub async fn until_exchanges(&self, count: usize) -> anyhow::Result<()> {
        until_exchanges(&self.sandbox, count).await
    }

    /// Until it computes next to nothing for three seconds; the instant at which that began.
    pub async fn until_quiet(&self, operator: &Operator) -> anyhow::Result<Instant> {
        let (began, step) = (Instant::now(), Duration::from_millis(500));
        let (mut quiet_since, mut computed) = (Instant::now(), Duration::ZERO);
        while quiet_since.elapsed() < 6 * step {
            ensure!(began.elapsed() < PATIENCE, "the operator never came to rest");
            let now = cpu(&[operator.id()])?;
            if now - computed > Duration::from_millis(20) {
                quiet_since = Instant::now();
            }
            computed = now;
            sleep(step).await;
        }
        Ok(quiet_since)
    }

    /// The operator's requests so far, in this namespace and in all.
    fn requests(&self) -> anyhow::Result<[Vec<Request>; 2]> {
        let ours = |namespace: &str| {
            let mut requests = self.cluster.requests(namespace)?;
            requests.retain(|request| request.user == USER && request.resource != "leases");
            anyhow::Ok(requests)
        };
        Ok([ours(&self.namespace)?, ours("")?])
    }

    /// From here on requests are counted.
    pub fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark(self.requests()?.map(|requests| requests.len())))
    }

    /// The operator's requests since then: verb and resource.
    pub fn requests_since(&self, mark: Mark) -> anyhow::Result<Vec<String>> {
        let kind = |name: &str| match name {
            name if name.starts_with("pleo-grant-") => " grant",
            name if name.ends_with("-token") => " token",
            name if name.ends_with("-grant") => " initial grant",
            "pleo-client" => " client",
            _ => "",
        };
        let new =
            self.requests()?.into_iter().zip(mark.0).flat_map(|(requests, before)| requests.into_iter().skip(before));
        let texts = new.map(|request| {
            let what = if request.resource == "secrets" { kind(&request.name) } else { "" };
            format!("{} {}/{}{what}", request.verb, request.resource, request.subresource)
        });
        Ok(texts.collect())
    }

    pub async fn restart_api_server(&self) -> anyhow::Result<()> {
        self.cluster.restart()?;
        Ok(())
    }

    /// How many connections have this condition.
    pub async fn count_reason(&self, kind: &str, status: &str) -> anyhow::Result<usize> {
        let all = self.connections().list(&ListParams::default()).await?;
        let has = |connection: &&PleoConnection| {
            let conditions = connection.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == status)
        };
        Ok(all.items.iter().filter(has).count())
    }
}
