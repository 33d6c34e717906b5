//! What a node needs and no registry of ours has: containerd, runc, network plugins and a shell, from Debian's packages.
//! They are unpacked under `target/testbed`; nothing is installed on the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    assets::{build_folder, lock},
    error::{Error, file},
};

const PACKAGES: [&str; 4] = ["containerd", "runc", "containernetworking-plugins", "busybox-static"];

/// The folder in which the packages are unpacked.
#[derive(Clone, Debug)]
pub struct Packages(PathBuf);

impl Packages {
    /// Fetches and unpacks them where that was not done yet, which takes some seconds.
    ///
    /// # Errors
    /// If this is not a Debian with its lists of packages.
    pub fn find() -> Result<Self, Error> {
        let folder = build_folder()?;
        let _lock = lock(&folder)?;
        let unpacked = folder.join("packages");
        let done = unpacked.join("unpacked");
        let wanted = PACKAGES.join(" ");
        if fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
            return Ok(Self(unpacked));
        }
        let fetched = folder.join("fetched");
        let _ = fs::remove_dir_all(&fetched);
        fs::create_dir_all(&fetched).map_err(file("make the folder", &fetched))?;
        // As whoever runs this: apt's own user may not write there.
        run(Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download"])
            .args(PACKAGES)
            .current_dir(&fetched))?;
        for entry in fs::read_dir(&fetched).map_err(file("read the folder", &fetched))?.flatten() {
            run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&unpacked))?;
        }
        fs::remove_dir_all(&fetched).map_err(file("remove the folder", &fetched))?;
        fs::write(&done, wanted).map_err(file("write", &done))?;
        Ok(Self(unpacked))
    }

    /// A file of one of the packages, by its path when installed.
    pub fn file(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// The programs first, then the machine's own.
    pub(crate) fn search_path(&self) -> String {
        let folder = |name: &str| self.0.join(name).display().to_string();
        format!(
            "{}:{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            folder("usr/bin"),
            folder("usr/sbin")
        )
    }

    /// Where the network plugins are.
    pub(crate) fn network_plugins(&self) -> PathBuf {
        self.0.join("usr/lib/cni")
    }

    /// A static busybox.
    pub fn busybox(&self) -> PathBuf {
        self.0.join("bin/busybox")
    }
}

fn run(command: &mut Command) -> Result<(), Error> {
    let program = Path::new(command.get_program()).to_path_buf();
    let output = command.output().map_err(|source| Error::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Packages { program, said })
}
