//! Where etcd, kube-apiserver and kubectl come from: the folder that `KUBEBUILDER_ASSETS` names, or else a
//! build of the Go module beside this crate, which is made once and kept under `target/testbed`.

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

/// The one program which is all three, depending on the name of the link that it is called by.
const PROGRAM: &str = "pleo-kubernetes";

/// What is built from: any change in it asks for another build.
const SOURCES: [(&str, &str); 6] = [
    ("go.mod", include_str!("../kubernetes/go.mod")),
    ("go.sum", include_str!("../kubernetes/go.sum")),
    ("main.go", include_str!("../kubernetes/main.go")),
    ("etcd.go", include_str!("../kubernetes/etcd.go")),
    ("apiserver.go", include_str!("../kubernetes/apiserver.go")),
    ("kubectl.go", include_str!("../kubernetes/kubectl.go")),
];

/// The three programs.
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
            _ => Self::built(),
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

    fn built() -> Result<Self, Error> {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = crate_folder.join("../../target/testbed");
        fs::create_dir_all(&folder).map_err(file("make the folder", &folder))?;
        let folder = folder.canonicalize().map_err(file("find the folder", &folder))?;
        let lock = folder.join("lock");
        let lock_file = File::create(&lock).map_err(file("make the lock", &lock))?;
        lock_file.lock().map_err(file("take the lock", &lock))?;
        let built_from = folder.join("built-from");
        let sources = format!("{KUBERNETES}\n{}", SOURCES.map(|(name, text)| format!("{name}:\n{text}")).concat());
        if fs::read_to_string(&built_from).is_ok_and(|text| text == sources) && folder.join("kubectl").exists() {
            return Ok(Self::of(&folder));
        }
        build(&crate_folder.join("kubernetes"), &folder.join(PROGRAM))?;
        for name in ["etcd", "kube-apiserver", "kubectl"] {
            link(PROGRAM, &folder.join(name))?;
        }
        fs::write(&built_from, sources).map_err(file("write", &built_from))?;
        Ok(Self::of(&folder))
    }
}

fn build(module: &Path, program: &Path) -> Result<(), Error> {
    eprintln!(
        "pleo-testbed: building etcd, kube-apiserver and kubectl {KUBERNETES} into {}. This takes about 5 minutes, once.",
        program.display()
    );
    let version = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .map(|package| format!("-X {package}.gitVersion={KUBERNETES}"))
        .join(" ");
    let output = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", &format!("-s -w {version}"), "-o"])
        .arg(program)
        .arg(".")
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
        folder: module.into(),
        status: output.status,
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
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

    #[test]
    fn all_sources_are_known() {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes");
        let names = |name: io::Result<fs::DirEntry>| name.unwrap().file_name().into_string().unwrap();
        let mut there: Vec<String> = fs::read_dir(module).unwrap().map(names).collect();
        let mut known = SOURCES.map(|(name, _)| name);
        there.sort();
        known.sort();
        assert_eq!(there, known);
    }

    #[test]
    fn the_version_is_the_one_required() {
        let required = format!("k8s.io/kubernetes {KUBERNETES}\n");
        assert!(SOURCES.iter().any(|(_, text)| text.contains(&required)));
    }
}
