//! An operator as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::PATIENCE;

/// How an operator is started. Short waits, so that nothing takes a minute.
#[derive(Clone)]
pub struct Flags {
    pub identity: String,
    pub lease: String,
    pub extra: Vec<String>,
    pub kubeconfig: Option<PathBuf>,
}

impl Flags {
    pub fn identity(identity: &str) -> Self {
        Self { identity: identity.into(), lease: "pleo-operator".into(), extra: Vec::new(), kubeconfig: None }
    }

    /// A Lease of its own: two of these lead at once.
    pub fn lease(self, lease: &str) -> Self {
        Self { lease: lease.into(), ..self }
    }

    pub fn with(mut self, flag: &str) -> Self {
        self.extra.push(flag.into());
        self
    }
}

/// An operator as a process of its own.
pub struct Operator {
    child: Child,
    admin: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Operator {
    pub(super) fn start(mut command: Command, admin: String, logs: Arc<Mutex<String>>) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let own = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut logs = logs.lock().unwrap();
                logs.push_str(&line);
                logs.push('\n');
                own.lock().unwrap().push(line);
            }
        });
        Self { child, admin, lines }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until it has printed this.
    pub async fn until_printed(&self, what: &str) {
        let begun = Instant::now();
        while !self.printed().contains(what) {
            assert!(begun.elapsed() < PATIENCE, "never printed {what:?}:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until it has printed this more often than so many times.
    pub async fn until_printed_more(&self, what: &str, times: usize) {
        let begun = Instant::now();
        while self.printed().matches(what).count() <= times {
            assert!(begun.elapsed() < PATIENCE, "never printed {what:?} again:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit status.
    pub async fn stop(self) -> i32 {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for its end.
    pub async fn ended(mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "did not end:\n{}", self.printed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A page of its admin endpoint: `200 body`, or nothing while it does not listen.
    pub fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.admin) else { return String::new() };
        write!(stream, "GET {path} HTTP/1.0\r\nHost: admin\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.strip_prefix("HTTP/1.0 ").map(str::to_owned).unwrap_or(answer)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
