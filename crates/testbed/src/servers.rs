//! The flags of etcd and kube-apiserver, and how each is started until it is ready.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    access::{Access, random},
    assets::Assets,
    client,
    error::{Error, file},
    guard::{Folder, Guarded},
};

/// How long a server may take to be ready; some seconds are usual.
const READY: Duration = Duration::from_secs(120);

/// How often a server that starts is asked whether it is ready.
const INTERVAL: Duration = Duration::from_millis(50);

/// Ports below those that the system hands out by itself, so that a stopped API server finds its own again.
const PORTS: (u16, u16) = (20_000, 32_000);

/// Where etcd listens, and its peers would: sockets in the folder that it runs in, since a path to one must not
/// be long, and the folder's may be. Older versions of etcd want what looks like a port at the end.
const SOCKET: &str = "etcd.sock:0";
const PEER_SOCKET: &str = "peer.sock:0";

/// etcd and the folder are in place; the API server can be started, any number of times.
pub(crate) struct Servers {
    assets: Assets,
    access: Access,
    extra_flags: Vec<String>,
    // Only kept, never used: the mutex makes it fit for threads to share. The order matters, since a folder is
    // removed after everything in it has ended.
    _etcd: Mutex<Guarded>,
    folder: Folder,
}

impl Servers {
    /// Starts etcd, and prepares what the API server needs.
    pub(crate) fn start(assets: Assets, folder: Folder, extra_flags: Vec<String>) -> Result<Self, Error> {
        let access = Access::create(folder.path())?;
        let policy = policy_file(folder.path());
        fs::write(&policy, include_str!("audit-policy.yaml")).map_err(file("write", policy))?;
        let etcd = start_etcd(&assets, &folder)?;
        Ok(Self { assets, access, extra_flags, _etcd: Mutex::new(etcd), folder })
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn assets(&self) -> &Assets {
        &self.assets
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the API server answered to whom.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }

    fn log(&self) -> PathBuf {
        self.folder().join("kube-apiserver.log")
    }

    /// Starts the API server on a port that is free; another program may take it in that moment, so several
    /// ports are tried.
    pub(crate) fn start_apiserver_anywhere(&self) -> Result<(Guarded, u16), Error> {
        let mut tries = 0;
        loop {
            let port = free_port()?;
            tries += 1;
            match self.start_apiserver(port) {
                Err(Error::Ended { log, .. }) if log.contains("address already in use") && tries < 10 => {}
                result => return result.map(|server| (server, port)),
            }
        }
    }

    /// Starts the API server, and returns once it is ready.
    pub(crate) fn start_apiserver(&self, port: u16) -> Result<Guarded, Error> {
        self.access.write(port)?;
        let log = self.log();
        let log_start = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let server = self.folder.run(&self.assets.kube_apiserver, &self.apiserver_flags(port), [], &log)?;
        let kubeconfig = self.access.own();
        let certificate = self.access.certificate_folder().join("apiserver.crt");
        // Without the certificate it is another program that listens, and ours will end for it.
        let is_ready = || Ok(is_listening(port) && certificate.exists() && client::is_ready(&kubeconfig)?);
        until_ready("kube-apiserver", &server, &log, log_start, is_ready)?;
        Ok(server)
    }

    /// Runs another server, which ends at the latest with this process.
    pub(crate) fn run_beside(
        &self,
        name: &str,
        program: &Path,
        arguments: &[String],
        search_path: &str,
    ) -> Result<Guarded, Error> {
        let log = self.folder().join(format!("{name}.log"));
        self.folder.run(program, arguments, [("PATH", search_path)], &log)
    }

    /// That the API server has not stopped in time, with what it wrote.
    pub(crate) fn too_slow_to_stop(&self, limit: Duration) -> Error {
        Error::TooSlow {
            program: "kube-apiserver",
            awaited: "stopped",
            seconds: limit.as_secs(),
            log: tail(&self.log(), 0),
        }
    }

    fn apiserver_flags(&self, port: u16) -> Vec<String> {
        let certificates = self.access.certificate_folder();
        let certificate = certificates.join("apiserver.crt");
        let key = certificates.join("apiserver.key");
        let path = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut flags = vec![
            format!("--etcd-servers=unix://{SOCKET}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            // A loopback address cannot be an endpoint of the Service `kubernetes`: there are none to keep.
            "--endpoint-reconciler-type=none".into(),
            "--service-cluster-ip-range=10.96.0.0/24".into(),
            "--allow-privileged=true".into(),
            "--authorization-mode=Node,RBAC".into(),
            path("token-auth-file", &self.access.token_file()),
            // It makes its certificate and key there, and they serve for service accounts, too.
            path("cert-dir", &certificates),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            path("service-account-key-file", &certificate),
            path("service-account-signing-key-file", &key),
            path("audit-policy-file", &policy_file(self.folder())),
            path("audit-log-path", &self.audit_log()),
            // A request is not answered before its line is written, so that counts are exact.
            "--audit-log-mode=blocking".into(),
            // In megabytes; beyond it the log would be split.
            "--audit-log-maxsize=100000".into(),
            // Or else SIGTERM waits a minute for every watch that is open.
            "--shutdown-watch-termination-grace-period=1s".into(),
        ];
        flags.extend(self.extra_flags.iter().cloned());
        flags
    }
}

fn policy_file(folder: &Path) -> PathBuf {
    folder.join("audit-policy.yaml")
}

/// Starts etcd on sockets in the folder: the API server's port is the only one of a testbed.
fn start_etcd(assets: &Assets, folder: &Folder) -> Result<Guarded, Error> {
    let socket = folder.path().join(SOCKET);
    let flags = [
        format!("--data-dir={}", folder.path().join("etcd").display()),
        format!("--listen-client-urls=unix://{SOCKET}"),
        format!("--listen-peer-urls=unix://{PEER_SOCKET}"),
        // Required beside the first; a lone member's address is never used.
        "--advertise-client-urls=http://localhost:2379".into(),
    ];
    // As variables, because an etcd that is too old to know one only warns of it. The data need not survive
    // the machine's end.
    let variables = [("ETCD_UNSAFE_NO_FSYNC", "true"), ("ETCD_LOG_LEVEL", "warn")];
    let log = folder.path().join("etcd.log");
    let etcd = folder.run(&assets.etcd, &flags, variables, &log)?;
    until_ready("etcd", &etcd, &log, 0, || Ok(socket.exists()))?;
    Ok(etcd)
}

fn until_ready(
    program: &'static str,
    server: &Guarded,
    log: &Path,
    log_start: u64,
    is_ready: impl Fn() -> Result<bool, Error>,
) -> Result<(), Error> {
    let start = Instant::now();
    while !is_ready()? {
        if let Ok(code) = server.ended_within(INTERVAL) {
            let how = code.map_or(String::new(), |code| format!(" with exit code {code}"));
            return Err(Error::Ended { program, how, log: tail(log, log_start) });
        }
        if start.elapsed() > READY {
            let seconds = READY.as_secs();
            return Err(Error::TooSlow { program, awaited: "ready", seconds, log: tail(log, log_start) });
        }
    }
    Ok(())
}

/// The last lines that a server has written since `start`.
fn tail(log: &Path, start: u64) -> String {
    const LINES: usize = 20;
    let mut bytes = Vec::new();
    let read = fs::File::open(log).and_then(|mut log| {
        log.seek(SeekFrom::Start(start))?;
        log.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return format!("(cannot read {}: {error})", log.display());
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), INTERVAL).is_ok()
}

/// A port that nothing listens on; the first to be tried is random, since many testbeds may start at once.
fn free_port() -> Result<u16, Error> {
    let (first, last) = PORTS;
    let count = last - first;
    let digits = random()?;
    let start = u32::from_str_radix(digits.get(..6).unwrap_or_default(), 16).unwrap_or_default();
    (0..u32::from(count))
        .filter_map(|step| u16::try_from((start + step) % u32::from(count)).ok())
        .map(|offset| first + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(Error::NoPort { first, last })
}
