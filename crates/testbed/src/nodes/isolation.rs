//! A place for nodes: this program once more, in namespaces of its own (mounts, processes, network, IPC, host name), with
//! all its state in one folder. Nothing in there reaches the machine's network, and when it ends nothing is left.

use std::{
    env, fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use super::packages::Packages;
use crate::{
    access::random,
    assets::{Assets, NodeAssets},
    error::{Error, file},
};

/// Set in the place: the folder that holds its state.
const VARIABLE: &str = "PLEO_TESTBED_PLACE";
/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// On which side of the wall this process is.
#[must_use]
pub enum Isolation {
    /// In the place.
    Inside(Place),
    /// Outside; the program in the place has ended, with this code.
    Outside(ExitCode),
}

/// Namespaces of one's own, in which nodes can be started.
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// All state of the place; it is removed at the end.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The control group of everything on this node, as a path below the root of each controller.
    pub(crate) fn cgroup(&self, node: &str) -> String {
        format!("/{}/{node}", cgroup(&self.folder))
    }

    /// Makes that group in each controller.
    pub(crate) fn make_cgroup(&self, node: &str) -> Result<(), Error> {
        for root in cgroup_roots()? {
            let group = root.join(self.cgroup(node).trim_start_matches('/'));
            fs::create_dir_all(&group).map_err(file("make the control group", group))?;
        }
        Ok(())
    }
}

/// Starts this program again in namespaces of its own, and waits for its end; or tells that this is that place. To be called
/// first of all, before there is a second thread.
///
/// # Errors
/// If this is not root, or the machine lacks what it takes.
pub fn isolate() -> Result<Isolation, Error> {
    if let Some(folder) = env::var_os(VARIABLE) {
        return Ok(Isolation::Inside(Place { folder: folder.into() }));
    }
    if !is_root()? {
        return Err(Error::NotRoot);
    }
    // In there is no network to fetch them by.
    Assets::find()?;
    NodeAssets::find()?;
    Packages::find()?;
    let folder = env::temp_dir().join(format!("pleo-nodes-{}", random()?.split_off(24)));
    fs::create_dir_all(&folder).map_err(file("make the folder", &folder))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(file("start a runtime for", "the place"))?.block_on(run(&folder));
    remove_cgroups(&cgroup(&folder))?;
    fs::remove_dir_all(&folder).map_err(file("remove the folder", &folder))?;
    let ended = ended?;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(Isolation::Outside(ExitCode::from(u8::try_from(code).unwrap_or(1))))
}

/// Runs the program in the place. A signal that asks this process to end ends the place, so that what it leaves is removed.
async fn run(folder: &Path) -> Result<ExitStatus, Error> {
    let program = env::current_exe().map_err(file("find", "this program"))?;
    let awaited = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [interrupt, terminate, hangup] = awaited.map(signal);
    let cannot_listen = || file("listen for signals of", &program);
    let (mut interrupt, mut terminate, mut hangup) =
        (interrupt.map_err(cannot_listen())?, terminate.map_err(cannot_listen())?, hangup.map_err(cannot_listen())?);
    // setpriv: when this process dies, however that happens, all of it does.
    let arguments = ["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork"];
    let cannot_run = |source| Error::Run { program: "setpriv (Debian package util-linux)".into(), source };
    let mut child = Command::new("setpriv")
        .args(arguments)
        .args(["--kill-child=KILL", "--mount-proc", "sh", "-c", include_str!("isolation.sh"), "isolation"])
        .arg(folder)
        .arg(&program)
        .args(env::args_os().skip(1))
        .env(VARIABLE, folder)
        .stdin(Stdio::null())
        // Ctrl-C in a terminal is for this process alone.
        .process_group(0)
        .spawn()
        .map_err(cannot_run)?;
    tokio::select! {
        ended = child.wait() => return ended.map_err(cannot_run),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    child.start_kill().map_err(cannot_run)?;
    child.wait().await.map_err(cannot_run)
}

fn is_root() -> Result<bool, Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(file("read", "/proc/self/status"))?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Ok(uid.is_some_and(|uid| uid.split_whitespace().nth(1) == Some("0")))
}

fn cgroup(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The one root of version 2, or that of each controller of version 1.
fn cgroup_roots() -> Result<Vec<PathBuf>, Error> {
    let root = Path::new(CGROUPS);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.into()]);
    }
    let entries = fs::read_dir(root).map_err(file("read the folder", root))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect())
}

/// Removes what is left of the groups. A group whose last process has just been killed is busy for a moment.
fn remove_cgroups(name: &str) -> Result<(), Error> {
    for root in cgroup_roots()? {
        let group = root.join(name);
        for _ in 0..100 {
            if !group.exists() || remove_tree(&group).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// The folders alone: the files in them belong to the kernel.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
