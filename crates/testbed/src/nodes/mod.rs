//! Real nodes: containerd and kubelet, with the scheduler and the controller-manager, so that pods run, Secrets are mounted,
//! Deployments roll and garbage is collected. They live in a [`Place`] of their own; see [`isolate`].
//!
//! | file | |
//! |---|---|
//! | `isolation` | the place: namespaces that this program is started in once more |
//! | `packages` | what nodes need of Debian's packages |
//! | `image` | images without a registry |

mod image;
mod isolation;
mod packages;

use std::fs;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use image::Image;
pub use isolation::{Isolation, Place, isolate};
pub use packages::Packages;

use crate::assets::NodeAssets;
use crate::cluster::Cluster;
use crate::error::{Error, file};
use crate::guard::Guarded;

/// The address of the place that pods, too, can reach: what listens here is the internet to them.
pub const HOST: &str = "10.99.0.1";

/// The sandbox container of each pod.
const PAUSE: &str = "localhost/pause:1";
/// How long a server may take to answer for the first time.
const STARTED: Duration = Duration::from_secs(60);

/// A cluster with nodes. It ends with the place, all at once: dropping it ends nothing, for containers would outlive their
/// containerd.
pub struct Nodes {
    names: Vec<String>,
    assets: NodeAssets,
    packages: Packages,
    // The mutex makes it fit for threads to share.
    servers: ManuallyDrop<Mutex<Vec<Guarded>>>,
    cluster: ManuallyDrop<Cluster>,
}

impl Nodes {
    /// Starts a cluster with so many nodes, `node-1` and on, which have these images; returns once pods can run.
    ///
    /// # Errors
    /// With the end of the log of what did not start.
    pub fn start(place: &Place, count: u8, images: &[Image]) -> Result<Self, Error> {
        let cluster = Cluster::builder()
            .folder(place.folder().join("cluster"))
            // The port of the Service `kubernetes`.
            .port(443)
            .apiserver_flag("--bind-address=0.0.0.0")
            .apiserver_flag("--kubelet-preferred-address-types=InternalIP")
            .start()?;
        let (assets, packages) = (NodeAssets::find()?, Packages::find()?);
        let mut nodes = Self {
            names: Vec::new(),
            assets,
            packages,
            servers: ManuallyDrop::default(),
            cluster: ManuallyDrop::new(cluster),
        };
        nodes.start_control_plane()?;
        let pause = Image::new(PAUSE, &["/bin/sleep", "infinity"]);
        let pause = pause.file(nodes.packages.busybox(), "bin/busybox").link("bin/sleep", "busybox");
        for number in 1..=count {
            let name = format!("node-{number}");
            nodes.start_containerd(&name, number)?;
            for image in images.iter().chain([&pause]) {
                nodes.load(&name, image)?;
            }
            nodes.start_kubelet(place, &name, number)?;
            nodes.names.push(name);
        }
        nodes.wait_until_ready()?;
        Ok(nodes)
    }

    /// The cluster that the nodes belong to.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The names of the nodes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A helm of the administrator, for a test to add arguments to.
    pub fn helm(&self) -> Command {
        let mut command = Command::new(&self.assets.helm);
        command.env("KUBECONFIG", self.cluster.kubeconfig());
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.cluster.folder().join("helm").join(folder));
        }
        command
    }

    /// Where the containers of a pod see a mounted Secret: the folder on its node.
    pub fn mounted_secret(&self, pod_uid: &str, volume: &str) -> PathBuf {
        // Each kubelet has a root of its own.
        let place =
            |node: &String| kubelet_root(node).join(format!("pods/{pod_uid}/volumes/kubernetes.io~secret/{volume}"));
        let places: Vec<PathBuf> = self.names.iter().map(place).collect();
        let here = places.iter().find(|folder| folder.exists()).or(places.first());
        here.cloned().unwrap_or_default()
    }

    fn start_control_plane(&mut self) -> Result<(), Error> {
        let kubeconfig = format!("--kubeconfig={}", self.cluster.kubeconfig().display());
        let certificates = self.cluster.servers().access().certificate_folder();
        let common = [kubeconfig, "--leader-elect=false".into(), "--secure-port=0".into()];
        let controllers = [
            format!("--service-account-private-key-file={}", certificates.join("apiserver.key").display()),
            format!("--root-ca-file={}", certificates.join("apiserver.crt").display()),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=500".into(),
            "--flex-volume-plugin-dir=/run/volume-plugins".into(),
        ];
        let (manager, scheduler) = (self.assets.controller_manager.clone(), self.assets.scheduler.clone());
        self.run("kube-controller-manager", &manager, &[common.as_slice(), controllers.as_slice()].concat())?;
        self.run("kube-scheduler", &scheduler, &common)
    }

    fn start_containerd(&mut self, name: &str, number: u8) -> Result<(), Error> {
        let fill = |text: &str| {
            text.replace("$NODE", name)
                .replace("$NUMBER", &number.to_string())
                .replace("$PAUSE", PAUSE)
                .replace("$PLUGINS", &self.packages.network_plugins().display().to_string())
        };
        let network = PathBuf::from(format!("/run/network-{name}"));
        fs::create_dir_all(&network).map_err(file("make the folder", &network))?;
        write(&network.join("10-pods.conflist"), &fill(include_str!("network.json")))?;
        let config = PathBuf::from(format!("/run/containerd-{name}.toml"));
        write(&config, &fill(include_str!("containerd.toml")))?;
        let program = self.packages.file("usr/bin/containerd");
        self.run(&format!("containerd-{name}"), &program, &["--config".into(), config.display().to_string()])?;
        let socket = socket(name);
        self.wait("containerd", || {
            socket.exists() && self.ctr(name).arg("version").output().is_ok_and(|out| out.status.success())
        })
    }

    fn start_kubelet(&mut self, place: &Place, name: &str, number: u8) -> Result<(), Error> {
        place.make_cgroup(name)?;
        let address = format!("10.99.0.{number}");
        let text = include_str!("kubelet.yaml").replace("$NODE", name).replace("$IP", &address);
        let config = PathBuf::from(format!("/run/kubelet-{name}.yaml"));
        write(&config, &text.replace("$CGROUP", &place.cgroup(name)))?;
        let kubeconfig = self.cluster.kubeconfig_for(&format!("system:node:{name}"), &["system:nodes"])?;
        let flags = [
            format!("--config={}", config.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--root-dir={}", kubelet_root(name).display()),
            format!("--cert-dir={}", kubelet_root(name).join("pki").display()),
            format!("--hostname-override={name}"),
            format!("--node-ip={address}"),
        ];
        let program = self.assets.kubelet.clone();
        self.run(&format!("kubelet-{name}"), &program, &flags)
    }

    fn run(&mut self, name: &str, program: &Path, arguments: &[String]) -> Result<(), Error> {
        let path = self.packages.search_path();
        let server = self.cluster.servers().run_beside(name, program, arguments, &path)?;
        self.servers.get_mut().unwrap_or_else(PoisonError::into_inner).push(server);
        Ok(())
    }

    fn ctr(&self, node: &str) -> Command {
        let mut command = Command::new(self.packages.file("usr/bin/ctr"));
        command.arg("--address").arg(socket(node)).args(["--namespace", "k8s.io"]);
        command
    }

    /// Puts an image onto a node.
    fn load(&self, node: &str, image: &Image) -> Result<(), Error> {
        let archive = self.cluster.folder().join("image.tar");
        fs::write(&archive, image.archive()?).map_err(file("write", &archive))?;
        let output = self.ctr(node).args(["image", "import"]).arg(&archive).output();
        let output = output.map_err(|source| Error::Run { program: "ctr".into(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().into();
        Err(Error::Image { image: image.name().into(), node: node.into(), said })
    }

    fn wait_until_ready(&self) -> Result<(), Error> {
        let nodes = self.names.iter().map(|name| format!("node/{name}"));
        let awaited = nodes.flat_map(|node| [("create", node.clone()), ("condition=Ready", node)]);
        // Without these two, pods are refused.
        let account = ["serviceaccount/default", "configmap/kube-root-ca.crt"].map(|name| ("create", name.to_owned()));
        for (what, object) in awaited.chain(account) {
            let until = format!("--for={what}");
            self.cluster.run_kubectl(&["wait", &until, &object, &format!("--timeout={}s", STARTED.as_secs())])?;
        }
        Ok(())
    }

    fn wait(&self, program: &'static str, is_ready: impl Fn() -> bool) -> Result<(), Error> {
        let start = std::time::Instant::now();
        while !is_ready() {
            if start.elapsed() > STARTED {
                let log = format!("see {}", self.cluster.folder().display());
                return Err(Error::TooSlow { program, awaited: "ready", seconds: STARTED.as_secs(), log });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

fn socket(node: &str) -> PathBuf {
    format!("/run/containerd-{node}/containerd.sock").into()
}

fn kubelet_root(node: &str) -> PathBuf {
    format!("/var/lib/kubelet-{node}").into()
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(file("write", path))
}
