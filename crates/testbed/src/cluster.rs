//! A cluster: an API server with its etcd, which can be asked, stopped, started again and frozen.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::Client;

use crate::{
    access::random,
    assets::Assets,
    audit::{self, Request, Write},
    client,
    error::Error,
    guard::{Folder, Guarded},
    servers::Servers,
};

/// How long the API server may take to stop by itself; a second or two are usual.
const STOPPED: Duration = Duration::from_secs(60);

/// An etcd and a kube-apiserver of its own, with nothing in it but what Kubernetes itself makes.
///
/// There is no controller-manager, scheduler or kubelet: nothing collects garbage, makes service accounts, or
/// runs pods. All methods block, but for [`client`](Self::client) and [`client_with`](Self::client_with); they
/// may be called in async tests as they are, or by `spawn_blocking` where others of the runtime must go on.
///
/// Dropping it ends both servers and removes all their files. So does the end of the process, in any way.
pub struct Cluster {
    port: u16,
    // The order matters: the API server ends before its etcd.
    apiserver: Mutex<Option<Guarded>>,
    servers: Servers,
}

/// How a cluster is to be.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    folder: Option<PathBuf>,
    apiserver_flags: Vec<String>,
    port: Option<u16>,
}

impl Builder {
    /// Keeps all files in this folder, which must be empty or new. It is removed at the end. Without it, a new
    /// one among the system's temporary files is used.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Adds a flag of kube-apiserver, such as `--feature-gates=X=true`; it takes the place of the testbed's own
    /// one of that name.
    pub fn apiserver_flag(mut self, flag: impl Into<String>) -> Self {
        self.apiserver_flags.push(flag.into());
        self
    }

    /// Listens on this port instead of one that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the cluster, and returns once it is ready.
    pub fn start(self) -> Result<Cluster, Error> {
        let assets = Assets::find()?;
        let folder = match self.folder {
            Some(folder) => folder,
            None => std::env::temp_dir().join(format!("pleo-testbed-{}", random_suffix()?)),
        };
        let servers = Servers::start(assets, Folder::create(&folder)?, self.apiserver_flags)?;
        let (apiserver, port) = match self.port {
            Some(port) => (servers.start_apiserver(port)?, port),
            None => servers.start_apiserver_anywhere()?,
        };
        Ok(Cluster { port, apiserver: Mutex::new(Some(apiserver)), servers })
    }
}

impl Cluster {
    /// Starts a cluster, and returns once it is ready, which takes some seconds.
    pub fn start() -> Result<Self, Error> {
        Self::builder().start()
    }

    /// Chooses how a cluster is to be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The kubeconfig of the administrator, who is the user `admin`.
    pub fn kubeconfig(&self) -> &Path {
        self.servers.access().admin()
    }

    /// Makes a kubeconfig of another user, who has no rights but those that a test gives to the name or to one
    /// of the groups.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        self.servers.access().write_for(self.port, user, groups)
    }

    /// Makes a kubeconfig of whoever has that token, such as one of a service account.
    pub fn kubeconfig_with_token(&self, token: &str) -> Result<PathBuf, Error> {
        self.servers.access().write_with_token(self.port, token)
    }

    /// The address of the API server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The folder with all files of the cluster, among them the servers' logs.
    pub fn folder(&self) -> &Path {
        self.servers.folder()
    }

    /// A new client of the administrator, as kube sets it up by itself.
    pub async fn client(&self) -> Result<Client, Error> {
        self.client_with(self.kubeconfig()).await
    }

    /// A new client with that kubeconfig.
    pub async fn client_with(&self, kubeconfig: &Path) -> Result<Client, Error> {
        client::connect(kubeconfig).await
    }

    /// The program kubectl.
    pub fn kubectl_program(&self) -> &Path {
        &self.servers.assets().kubectl
    }

    /// A kubectl of the administrator, for a test to add arguments to. It keeps its cache in the cluster's
    /// folder.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.kubectl_program());
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.folder().join("kubectl-cache"))
            .env("KUBERC", "off");
        command
    }

    /// Runs kubectl, and gives what it prints.
    pub fn run_kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        let cannot_run = |source| Error::Run { program: self.kubectl_program().into(), source };
        let output = self.kubectl().args(arguments).output().map_err(cannot_run)?;
        printed(arguments, &output)
    }

    /// For what runs beside the API server.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Applies objects, one or several YAML documents, as `kubectl apply` does.
    pub fn apply(&self, yaml: &str) -> Result<(), Error> {
        let arguments = ["apply", "-f", "-"];
        let cannot_run = |source| Error::Run { program: self.kubectl_program().into(), source };
        let mut child = self
            .kubectl()
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot_run)?;
        if let Some(mut stdin) = child.stdin.take() {
            // kubectl may end before it has read everything; then its own words say why.
            let _ = stdin.write_all(yaml.as_bytes());
        }
        let output = child.wait_with_output().map_err(cannot_run)?;
        printed(&arguments, &output).map(drop)
    }

    /// Creates a namespace whose name starts with `prefix` and is nobody else's; gives the name.
    pub fn namespace(&self, prefix: &str) -> Result<String, Error> {
        let name = format!("{prefix}-{}", random_suffix()?);
        client::create_namespace(&self.servers.access().own(), &name)?;
        Ok(name)
    }

    /// All requests about objects in that namespace which were answered so far, in that order; with an empty
    /// name, those about objects of the whole cluster. The testbed's own requests are not among them.
    ///
    /// A request whose answer was read is always there. One that the client has given up may come later.
    pub fn requests(&self, namespace: &str) -> Result<Vec<Request>, Error> {
        let mut requests = audit::read(&self.servers.audit_log())?;
        requests.retain(|request| request.namespace == namespace);
        Ok(requests)
    }

    /// Those of [`requests`](Self::requests) that asked for a change, granted or not.
    pub fn writes(&self, namespace: &str) -> Result<Vec<Write>, Error> {
        let mut writes = self.requests(namespace)?;
        writes.retain(Request::is_write);
        Ok(writes)
    }

    /// Stops the API server as SIGTERM does, and starts it again on the same port, with the same objects.
    pub fn restart(&self) -> Result<(), Error> {
        self.stop()?;
        self.start_again()
    }

    /// Stops the API server as SIGTERM does, and returns once it is gone; etcd stays.
    pub fn stop(&self) -> Result<(), Error> {
        let mut apiserver = self.lock();
        let mut server = apiserver.take().ok_or(Error::Stopped)?;
        // A frozen one would never notice.
        server.signal("CONT");
        server.signal("TERM");
        match server.ended_within(STOPPED) {
            Ok(_code) => Ok(()),
            // It is killed now, when it is dropped.
            Err(_still_runs) => Err(self.servers.too_slow_to_stop(STOPPED)),
        }
    }

    /// Starts the API server again after [`stop`](Self::stop), and returns once it is ready.
    pub fn start_again(&self) -> Result<(), Error> {
        let mut apiserver = self.lock();
        if apiserver.is_some() {
            return Err(Error::Running);
        }
        *apiserver = Some(self.servers.start_apiserver(self.port)?);
        Ok(())
    }

    /// Freezes the API server: it takes connections, and never answers, until [`thaw`](Self::thaw).
    pub fn freeze(&self) -> Result<(), Error> {
        self.signal("STOP")
    }

    /// Lets a frozen API server go on where it was.
    pub fn thaw(&self) -> Result<(), Error> {
        self.signal("CONT")
    }

    /// Kills the API server, as SIGKILL does, and returns once it is gone; [`start_again`](Self::start_again)
    /// brings it back.
    pub fn kill(&self) -> Result<(), Error> {
        // That kills it.
        self.lock().take().map(drop).ok_or(Error::Stopped)
    }

    fn signal(&self, name: &str) -> Result<(), Error> {
        match self.lock().as_mut() {
            Some(server) => {
                server.signal(name);
                Ok(())
            }
            None => Err(Error::Stopped),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Guarded>> {
        // A test that panics while it holds this leaves nothing half done.
        self.apiserver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What kubectl printed, or why it failed.
fn printed(arguments: &[&str], output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Kubectl {
        arguments: arguments.join(" "),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).trim().into(),
    })
}

/// Enough to tell testbeds and namespaces apart, and short.
fn random_suffix() -> Result<String, Error> {
    Ok(random()?.split_off(24))
}
