//! What the demo runs on: an API server and an authorization server, both of its own.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use pleo_sandbox::{Options, Sandbox, authority::Lifetimes};
use pleo_testbed::Cluster;

use crate::screen::Screen;

/// The name of the connection in `examples/`, and in the sandbox.
pub const CONNECTION: &str = "acme";
/// Short, so that one need not wait. A token that lives for less than a minute is rotated after half its life.
pub const ACCESS_LIFE: Duration = Duration::from_secs(8);

const SANDBOX_YAML: &str = include_str!("../sandbox.yaml");
const CONSENT_YAML: &str = include_str!("../consent.yaml");

/// The servers. Fields are dropped in this order.
pub struct World {
    pub screen: Screen,
    pub sandbox: Arc<Sandbox>,
    pub cluster: Cluster,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let starting = tokio::task::spawn_blocking(|| {
            let lifetimes = Lifetimes { access: ACCESS_LIFE, ..Lifetimes::default() };
            let sandbox = Sandbox::start(Options { lifetimes, ..Options::default() }).context("no sandbox")?;
            let cluster = Cluster::start().context("no API server")?;
            anyhow::Ok((Arc::new(sandbox), cluster))
        });
        let (sandbox, cluster) = starting.await.context("the servers were not started")??;
        Ok(Self { screen: Screen::new(Arc::clone(&sandbox)), sandbox, cluster })
    }

    /// The connection of `examples/sandbox.yaml`, to this sandbox, as a file.
    pub fn connection_file(&self) -> anyhow::Result<PathBuf> {
        let filled = SANDBOX_YAML
            .replace("${TOKEN_URL}", &quoted(&self.sandbox.token_url())?)
            .replace("${AUTHORIZATION_URL}", &quoted(&self.sandbox.authorization_url())?)
            .replace("${CA_BUNDLE}", &quoted(self.sandbox.ca_pem())?);
        self.private_file("sandbox.yaml", &filled)
    }

    /// A user authorizes: `examples/consent.yaml` with the refresh token that it returned, as a file.
    pub fn consent_file(&self) -> anyhow::Result<PathBuf> {
        let token = self.sandbox.consent(CONNECTION);
        self.private_file("consent.yaml", &CONSENT_YAML.replace("${REFRESH_TOKEN}", &quoted(&token)?))
    }

    /// Beside the cluster's own files, in a folder that no one else can read, and that is removed with them.
    pub fn private_file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.cluster.folder().join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(content.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// JSON is YAML: this way any characters may be in it.
fn quoted(text: &str) -> anyhow::Result<String> {
    serde_json::to_string(text).context("a text that JSON cannot hold")
}
