//! The operator as a process of its own, which never outlives the demo.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::process::Child;

use crate::{End, world::World};

/// How long it may take to end after SIGTERM.
const DRAINED: Duration = Duration::from_secs(30);
/// Sends the signal whose name it reads, or SIGKILL when this process is gone, however that ended.
const GUARD: &str = r#"read -r signal; kill -s "${signal:-KILL}" "$1""#;

/// A running operator. When this is dropped, it is killed.
pub struct Operator {
    pub about: About,
    child: Child,
    guard: Option<ChildStdin>,
}

/// What one may know of it while it runs.
#[derive(Clone)]
pub struct About {
    /// The command as one would type it.
    pub command: String,
    /// Where it serves its metrics.
    pub admin: SocketAddr,
    /// Where it logs to.
    pub log_file: PathBuf,
}

impl About {
    /// What it logged so far.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log_file).with_context(|| format!("cannot read {}", self.log_file.display()))
    }
}

impl Operator {
    /// Starts `pleo-operator run`, against the demo's two servers.
    pub fn start(world: &World) -> anyhow::Result<Self> {
        let [admin, pages] = free_addresses().context("no free ports")?;
        let (pages, server) = (pages.to_string(), world.sandbox.origin());
        let public = format!("http://{pages}");
        world.sandbox.allow_redirect("sandbox-client", &format!("{public}/callback"));
        let admin_address = admin.to_string();
        let arguments = ["run", "--allowed-server", &server, "--admin-address", &admin_address];
        let arguments = [&arguments[..], &["--public-url", &public, "--link-address", &pages]].concat();
        let log_file = world.cluster.folder().join("operator.log");
        let log = File::create(&log_file).with_context(|| format!("cannot write {}", log_file.display()))?;
        let program = program()?;
        let mut command = tokio::process::Command::new(&program);
        command.args(&arguments).env_clear().env("KUBECONFIG", world.cluster.kubeconfig());
        command.env("PLEO_LOG_FORMAT", "text").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // In a process group of its own, or Ctrl-C would reach it before us.
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot run {}", program.display()))?;
        let guard = guard(&child).context("cannot run sh")?;
        let about = About { command: format!("pleo-operator {}", arguments.join(" ")), admin, log_file };
        Ok(Self { about, child, guard: Some(guard) })
    }

    /// Waits until it ends, which it should not do unasked.
    pub async fn ended(&mut self) -> anyhow::Result<End> {
        let status = self.child.wait().await.context("cannot wait for the operator")?;
        bail!("not as expected: the operator ended unasked ({status})")
    }

    /// SIGTERM: it drains, gives the Lease back, and ends with 0.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut guard) = self.guard.take() {
            writeln!(guard, "TERM").context("the operator's guard is gone")?;
        }
        let ended = tokio::time::timeout(DRAINED, self.child.wait()).await;
        let status = ended.context("not as expected: the operator did not end after SIGTERM")?;
        let status = status.context("cannot wait for the operator")?;
        crate::expect(ExitStatus::success(&status), || format!("the operator ended with {status} after SIGTERM"))
    }
}

/// Cargo puts the operator beside the folder of the examples.
fn program() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe().context("where is this program?")?;
    let folder = demo.parent().and_then(Path::parent).context("this program is not where cargo puts it")?;
    let program = folder.join("pleo-operator");
    if !program.is_file() {
        bail!("{} is not there: build it with `cargo build`, or use `make demo`", program.display());
    }
    Ok(program)
}

fn guard(child: &Child) -> anyhow::Result<ChildStdin> {
    use std::os::unix::process::CommandExt as _;
    let process = child.id().context("the operator ended at once")?.to_string();
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard", &process]).process_group(0);
    let guard = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    guard.stdin.context("no pipe")
}

/// Two that differ: both ports are held until both are known.
fn free_addresses() -> std::io::Result<[SocketAddr; 2]> {
    let held = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([held[0].local_addr()?, held[1].local_addr()?])
}
