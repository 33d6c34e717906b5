//! What the acts play on: two nodes, the sandbox as the internet, and the tools of a user: kubectl and helm.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use pleo_sandbox::{Options, Sandbox, authority::Counters};
use pleo_testbed::{
    Cluster,
    nodes::{HOST, Image, Nodes, Packages, Place},
};
use serde_json::Value;

/// Where the operator is installed.
pub const SYSTEM: &str = "pleo-system";
/// Where the connection lives.
pub const NAMESPACE: &str = "finance";
/// The connection.
pub const CONNECTION: &str = "acme";
/// The image of the operator: what the Dockerfile makes, without a builder.
pub const OPERATOR_IMAGE: (&str, &str) = ("localhost/pleo-operator", "e2e");
pub const CONSUMER_IMAGE: &str = "localhost/consumer:1";
pub const SHELL_IMAGE: &str = "localhost/shell:1";

/// The longest wait for anything that should take seconds.
pub const SOON: Duration = Duration::from_secs(90);
const SANDBOX_PORT: u16 = 8443;

/// Two nodes and the internet.
pub struct Stage {
    pub sandbox: Sandbox,
    nodes: Nodes,
    requests: Mutex<u32>,
    /// Logs in which no token was found.
    searched: Mutex<BTreeSet<PathBuf>>,
}

impl Stage {
    /// Starts everything.
    pub fn set(place: &Place) -> anyhow::Result<Self> {
        let sandbox = Sandbox::start(Options {
            address: HOST.parse().context("an address")?,
            port: SANDBOX_PORT,
            extra_names: vec![HOST.to_owned()],
            ..Options::default()
        })?;
        let operator = Image::new(&format!("{}:{}", OPERATOR_IMAGE.0, OPERATOR_IMAGE.1), &["/pleo-operator"])
            .file(built("PLEO_OPERATOR")?, "pleo-operator")
            .file("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt");
        let consumer = Image::new(CONSUMER_IMAGE, &["/consumer"]).file(built("PLEO_CONSUMER")?, "consumer");
        let shell = Image::new(SHELL_IMAGE, &["/bin/sh"])
            .file(Packages::find()?.busybox(), "bin/busybox")
            .link("bin/sh", "busybox");
        let nodes = Nodes::start(place, 2, &[operator, consumer, shell])?;
        Ok(Self { sandbox, nodes, requests: Mutex::default(), searched: Mutex::default() })
    }

    pub fn cluster(&self) -> &Cluster {
        self.nodes.cluster()
    }

    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Prints a line, unless a secret stands in it.
    pub fn say(&self, line: &str) -> anyhow::Result<()> {
        ensure!(!self.holds_a_secret(line.as_bytes()), "a line that was about to be printed holds a token");
        writeln!(io::stdout(), "{line}").context("cannot write to standard output")
    }

    /// Runs kubectl as the administrator, and gives what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(self.cluster().run_kubectl(arguments)?)
    }

    /// The same, in the connection's namespace.
    pub fn finance(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl(&[&["-n", NAMESPACE], arguments].concat())
    }

    /// Reads an object, or a list of them.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    /// Runs helm, and gives what it prints.
    pub fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(self.nodes.helm().args(arguments))
    }

    /// Waits until that is so.
    pub fn until(&self, what: &str, limit: Duration, reached: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let last = reached();
            if let Ok(true) = last {
                return Ok(());
            }
            if start.elapsed() > limit {
                last.with_context(|| format!("not within {limit:?}: {what}"))?;
                bail!("not within {limit:?}: {what}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn counters(&self) -> Counters {
        self.sandbox.counters(CONNECTION)
    }

    /// Asks for a rotation, as a user does.
    pub fn ask_for_rotation(&self) -> anyhow::Result<()> {
        let number = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            *requests += 1;
            *requests
        };
        let request = format!("pleo.io/refresh-requested-at=request-{number}");
        self.finance(&["annotate", "pleo", CONNECTION, "--overwrite", &request]).map(drop)
    }

    /// Asks for a rotation; gives the time of day at which the server answered.
    pub fn rotate(&self) -> anyhow::Result<SystemTime> {
        let before = self.counters().rotations;
        self.ask_for_rotation()?;
        let rotated =
            |authority: &pleo_sandbox::authority::Authority| authority.counters(CONNECTION).rotations > before;
        self.sandbox.wait_for(SOON, rotated).map_err(|_| anyhow::anyhow!("no rotation within {SOON:?}"))?;
        let answered = |exchange: &pleo_sandbox::authority::ExchangeRecord| exchange.finished_at;
        self.until("the server has answered", SOON, || {
            Ok(self.sandbox.exchanges().last().and_then(answered).is_some())
        })?;
        let at = self.sandbox.exchanges().last().and_then(answered).context("no exchange")?;
        Ok(SystemTime::now() - self.sandbox.now().saturating_sub(at))
    }

    /// What pods that mount this Secret at `/var/run/pleo` see of it.
    pub fn mounted(&self, pod: &Value) -> PathBuf {
        self.nodes.mounted_secret(text(pod, "/metadata/uid"), "token")
    }

    /// Whether the token in that folder is the one that the server takes.
    pub fn holds_living_token(&self, folder: &Path) -> bool {
        let token = fs::read_to_string(folder.join("access_token")).unwrap_or_default();
        self.sandbox.access_is_good(&token).as_deref() == Some(CONNECTION)
    }

    /// The pod that leads.
    pub fn leader(&self) -> anyhow::Result<String> {
        let lease = self.get(&["lease", "pleo-operator", "-n", SYSTEM])?;
        let holder = text(&lease, "/spec/holderIdentity");
        let (pod, _process) = holder.rsplit_once('_').with_context(|| format!("nobody leads: {holder:?}"))?;
        Ok(pod.to_owned())
    }

    /// Whether text holds the client's secret or any token that was ever issued, plain or as Secrets keep it.
    fn holds_a_secret(&self, text: &[u8]) -> bool {
        let mut secrets = self.sandbox.issued_tokens();
        secrets.push("sandbox-secret".to_owned());
        let contains = |secret: &[u8]| text.windows(secret.len()).any(|window| window == secret);
        secrets.iter().any(|secret| contains(secret.as_bytes()) || contains(BASE64_STANDARD.encode(secret).as_bytes()))
    }

    /// Hunts for tokens in the logs of all containers that are there now; those of deleted pods do not stay for long.
    pub fn hunt(&self) -> anyhow::Result<()> {
        let mut folders: Vec<PathBuf> =
            self.nodes.names().iter().map(|node| PathBuf::from(format!("/var/log/pods-{node}"))).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)?.flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = fs::read(&path) {
                    ensure!(!self.holds_a_secret(&text), "a token stands in {}", path.display());
                    self.searched.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
                }
            }
        }
        Ok(())
    }

    /// What may tell why an act failed.
    pub fn last_words(&self) {
        let questions: [&[&str]; 3] = [
            &["get", "pods,pleo", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=pleo-operator", "--tail=20", "--prefix"],
        ];
        for question in questions {
            let said = self.kubectl(question).unwrap_or_else(|error| format!("{error:?}"));
            let end: Vec<&str> = said.lines().rev().take(40).collect();
            for line in end.iter().rev() {
                // A line that holds a secret is the failure, and not shown.
                let _ = self.say(line);
            }
        }
    }

    /// Stays until the input ends or a signal comes.
    pub fn stay(&self, told: &anyhow::Result<()>) -> anyhow::Result<()> {
        if let Err(error) = told {
            self.say(&format!("\n{error:#}"))?;
        }
        let kubeconfig = self.cluster().kubeconfig().display().to_string();
        self.say(&format!(
            "\nThe stage stays until Ctrl-C. In another terminal, as root:\n  nsenter -t $(pgrep -f 'examples/e2e' | tail -n 1) -a env KUBECONFIG={kubeconfig} {} get pods -A",
            self.cluster().kubectl_program().display()
        ))?;
        loop {
            thread::park();
        }
    }
}

/// Hunts for tokens in everything that any container printed, and says so.
pub fn no_token_in_any_log(stage: &Stage) -> anyhow::Result<()> {
    stage.hunt()?;
    let searched = stage.searched.lock().unwrap_or_else(PoisonError::into_inner).len();
    stage.say(&format!("   {} tokens were issued; none stands in {searched} logs", stage.sandbox.issued_tokens().len()))
}

/// A program that the Makefile built, by the variable that names it.
fn built(variable: &str) -> anyhow::Result<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable} is not set: run `make e2e`"))
}

/// Runs a command, and gives what it prints.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if !output.status.success() {
        bail!("{command:?} failed: {}{}", text(output.stdout), text(output.stderr));
    }
    Ok(text(output.stdout))
}

/// A text in an object, or nothing.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}
