//! Where the programs come from: the folder that `KUBEBUILDER_ASSETS` names, or else a build of the Go module beside this
//! crate, which is made once and kept under `target/testbed`. What nodes need is a second program of that module, built
//! only where somebody asks for nodes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, file};

/// The variable that other projects' tests use for the same thing (envtest).
const VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The version that the Go module requires; without it in the linker's flags the programs say v0.0.0.
const KUBERNETES: &str = "v1.36.3";
const HELM: &str = "v4.2.4";

/// Several upstream commands in one static program; which one runs is told by the name of the link that it is called by.
struct Program {
    name: &'static str,
    /// Its main package in the Go module.
    package: &'static str,
    links: &'static [&'static str],
    takes: &'static str,
}

const CONTROL_PLANE: Program = Program {
    name: "pleo-kubernetes",
    package: ".",
    links: &["etcd", "kube-apiserver", "kubectl"],
    takes: "about 5 minutes",
};

const NODE: Program = Program {
    name: "pleo-node",
    package: "./node",
    links: &["kube-controller-manager", "kube-scheduler", "kubelet", "helm"],
    takes: "some minutes",
};

/// What is built from: any change in it asks for another build.
const SOURCES: [(&str, &str); 9] = [
    ("go.mod", include_str!("../kubernetes/go.mod")),
    ("go.sum", include_str!("../kubernetes/go.sum")),
    ("main.go", include_str!("../kubernetes/main.go")),
    ("etcd.go", include_str!("../kubernetes/etcd.go")),
    ("apiserver.go", include_str!("../kubernetes/apiserver.go")),
    ("kubectl.go", include_str!("../kubernetes/kubectl.go")),
    ("node/components.go", include_str!("../kubernetes/node/components.go")),
    ("node/helm.go", include_str!("../kubernetes/node/helm.go")),
    ("node/main.go", include_str!("../kubernetes/node/main.go")),
];
const SHARED_SOURCE: (&str, &str) = ("parts/parts.go", include_str!("../kubernetes/parts/parts.go"));

/// The programs of every cluster.
#[derive(Clone, Debug)]
pub struct Assets {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
}

impl Assets {
    /// Finds the programs. Without `KUBEBUILDER_ASSETS` it builds them where that was not done yet, which takes
    /// about five minutes; several processes may call it at once, and one of them builds.
    pub fn find() -> Result<Self, Error> {
        match std::env::var_os(VARIABLE) {
            Some(folder) if !folder.is_empty() => Self::given(Path::new(&folder)),
            _ => Ok(Self::of(&CONTROL_PLANE.built()?)),
        }
    }

    fn given(folder: &Path) -> Result<Self, Error> {
        let folder = std::path::absolute(folder).map_err(file("find the folder", folder))?;
        for program in ["etcd", "kube-apiserver", "kubectl"] {
            if !folder.join(program).is_file() {
                return Err(Error::AssetMissing { folder, program });
            }
        }
        Ok(Self::of(&folder))
    }

    fn of(folder: &Path) -> Self {
        Self {
            etcd: folder.join("etcd"),
            kube_apiserver: folder.join("kube-apiserver"),
            kubectl: folder.join("kubectl"),
        }
    }
}

/// The programs of a cluster with nodes, beside those of every cluster.
#[derive(Clone, Debug)]
pub struct NodeAssets {
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// kube-scheduler.
    pub scheduler: PathBuf,
    /// kubelet.
    pub kubelet: PathBuf,
    /// helm.
    pub helm: PathBuf,
}

impl NodeAssets {
    /// Finds the programs, and builds them where that was not done yet.
    pub fn find() -> Result<Self, Error> {
        let folder = NODE.built()?;
        Ok(Self {
            controller_manager: folder.join("kube-controller-manager"),
            scheduler: folder.join("kube-scheduler"),
            kubelet: folder.join("kubelet"),
            helm: folder.join("helm"),
        })
    }
}

/// Where all that is built or fetched for testbeds is kept.
pub(crate) fn build_folder() -> Result<PathBuf, Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testbed");
    fs::create_dir_all(&folder).map_err(file("make the folder", &folder))?;
    folder.canonicalize().map_err(file("find the folder", &folder))
}

/// Waits until no other process builds or fetches anything there; the lock ends with the value.
pub(crate) fn lock(folder: &Path) -> Result<File, Error> {
    let lock = folder.join("lock");
    let held = File::create(&lock).map_err(file("make the lock", &lock))?;
    held.lock().map_err(file("take the lock", &lock))?;
    Ok(held)
}

impl Program {
    /// Builds it where that was not done yet, and gives the folder with its links.
    fn built(&self) -> Result<PathBuf, Error> {
        let folder = build_folder()?;
        let _lock = lock(&folder)?;
        let built_from = folder.join(format!("{}.built-from", self.name));
        let sources = self.sources();
        let program = folder.join(self.name);
        if fs::read_to_string(&built_from).is_ok_and(|text| text == sources) && program.exists() {
            return Ok(folder);
        }
        self.build(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes"), &program)?;
        for name in self.links {
            link(self.name, &folder.join(name))?;
        }
        fs::write(&built_from, sources).map_err(file("write", &built_from))?;
        Ok(folder)
    }

    /// All that this program is made of: the other one's files do not matter to it.
    fn sources(&self) -> String {
        let is_node = self.package != ".";
        let mine = |name: &str| name.starts_with("go.") || name.starts_with("node/") == is_node;
        let mine = SOURCES.into_iter().filter(|(name, _)| mine(name)).chain([SHARED_SOURCE]);
        let texts: String = mine.map(|(name, text)| format!("{name}:\n{text}")).collect();
        format!("{KUBERNETES} {HELM}\n{texts}")
    }

    fn build(&self, module: &Path, program: &Path) -> Result<(), Error> {
        let (parts, takes) = (self.links.join(", "), self.takes);
        eprintln!("pleo-testbed: building {parts} {KUBERNETES} into {}. This takes {takes}, once.", program.display());
        let set = |package: &str, version: &str| format!("-X {package}={version}");
        let versions = [
            set("k8s.io/component-base/version.gitVersion", KUBERNETES),
            set("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES),
            set("helm.sh/helm/v4/internal/version.version", HELM),
        ];
        let output = Command::new("go")
            .args(["build", "-trimpath", "-ldflags", &format!("-s -w {}", versions.join(" ")), "-o"])
            .arg(program)
            .arg(self.package)
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .output()
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Error::GoMissing(source),
                _ => Error::Run { program: "go".into(), source },
            })?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::Build {
            parts,
            folder: module.into(),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn link(target: &str, name: &Path) -> Result<(), Error> {
    match symlink(target, name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(file("make the link", name)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                files(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn all_sources_are_known() {
        let mut there = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes"), "", &mut there);
        let mut known: Vec<&str> = SOURCES.into_iter().chain([SHARED_SOURCE]).map(|(name, _)| name).collect();
        there.sort();
        known.sort_unstable();
        assert_eq!(there, known);
    }

    #[test]
    fn the_versions_are_the_ones_required() {
        for required in [format!("k8s.io/kubernetes {KUBERNETES}\n"), format!("helm.sh/helm/v4 {HELM}\n")] {
            assert!(SOURCES.iter().any(|(_, text)| text.contains(&required)), "{required}");
        }
    }
}
