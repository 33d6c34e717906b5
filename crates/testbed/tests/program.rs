//! The program `pleo-testbed`: what it prints, and that nothing is left, however it ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pleo-testbed");

/// Long enough for the slowest machine: reached only when something is wrong.
const DEADLINE: Duration = Duration::from_secs(60);

struct Running {
    program: Child,
    stdin: Option<ChildStdin>,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
}

impl Running {
    fn start(settings: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("cluster").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = settings(&mut command).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            PathBuf::from(line.strip_prefix(name).unwrap())
        };
        let kubectl = value("KUBECTL=");
        let kubeconfig = value("KUBECONFIG=");
        Self { stdin: program.stdin.take(), program, kubectl, kubeconfig }
    }

    fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap()
    }

    /// Waits until the folder is gone, and with it every process that names it.
    fn assert_nothing_is_left(&self) {
        let start = Instant::now();
        while self.folder().exists() || !processes(self.folder()).is_empty() {
            assert!(start.elapsed() < DEADLINE, "left: {:?} {:?}", self.folder(), processes(self.folder()));
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        signal(self.program.id(), name);
    }
}

fn signal(process: u32, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(kill.success());
}

/// The ids and command lines of processes that have this folder among their arguments.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = String::from_utf8(fs::read(entry.path().join("cmdline")).ok()?).ok()?;
            line.contains(folder.to_str()?).then_some((id, line.replace('\0', " ")))
        })
        .collect()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn sigkill_leaves_nothing_even_when_a_server_is_frozen() {
    let mut running = Running::start(|command| command);
    let servers = processes(running.folder());
    let is_server = |(_, line): &&(u32, String)| line.contains("--etcd-servers") && !line.starts_with("sh ");
    let (server, _) = servers.iter().find(is_server).unwrap();
    signal(*server, "STOP");
    running.program.kill().unwrap();
    running.assert_nothing_is_left();
    running.program.wait().unwrap();
}

#[test]
fn signals_end_it_with_0_and_leave_nothing() {
    for name in ["INT", "TERM"] {
        let mut running = Running::start(|command| command);
        running.signal(name);
        assert_eq!(running.program.wait().unwrap().code(), Some(0));
        assert!(!running.folder().exists());
        running.assert_nothing_is_left();
    }
}

#[test]
fn it_ends_when_its_input_closes_and_its_own_build_serves_as_given_programs() {
    let built = run(&["build"]);
    assert!(built.status.success());
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/testbed");
    let mut running = Running::start(|command| command.env("KUBEBUILDER_ASSETS", &assets));
    let version = Command::new(&running.kubectl)
        .args(["get", "--raw", "/version"])
        .env("KUBECONFIG", &running.kubeconfig)
        .output()
        .unwrap();
    assert!(version.status.success());
    running.stdin.take();
    assert_eq!(running.program.wait().unwrap().code(), Some(0));
    running.assert_nothing_is_left();
}

#[test]
fn input_that_is_no_pipe_does_not_end_it() {
    let mut running = Running::start(|command| command.stdin(Stdio::null()));
    let pods = Command::new(PROGRAM)
        .args(["kubectl", "get", "pods", "--all-namespaces"])
        .env("KUBECONFIG", &running.kubeconfig)
        .output()
        .unwrap();
    assert!(pods.status.success());
    assert!(running.program.try_wait().unwrap().is_none());
    running.signal("TERM");
    assert_eq!(running.program.wait().unwrap().code(), Some(0));
    running.assert_nothing_is_left();
}

#[test]
fn a_folder_with_something_in_it_is_refused() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let output = run(&["cluster", "--dir", folder]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("is not empty"), "{words}");
    assert!(Path::new(folder).join("Cargo.toml").exists());
}

#[test]
fn a_given_folder_without_the_programs_is_refused() {
    let output = Command::new(PROGRAM).arg("build").env("KUBEBUILDER_ASSETS", "/").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("KUBEBUILDER_ASSETS is /, but there is no etcd in it"), "{words}");
}
