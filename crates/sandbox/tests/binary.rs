//! The program: what it prints, what it writes, how it ends. It is ended by its pid or its pipe.

mod common;

use common::{LONG, client_builder};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

/// A running program, killed at the latest when a test ends.
struct Program {
    child: Child,
    printed: BTreeMap<String, String>,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_pleo-sandbox"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut program = Self { child, printed: BTreeMap::new() };
        let output = program.child.stdout.take().unwrap();
        for line in BufReader::new(output).lines().map(Result::unwrap) {
            let (name, value) = line.split_once('=').unwrap();
            if name == "READY" {
                return program;
            }
            program.printed.insert(name.to_owned(), value.to_owned());
        }
        panic!("it ended before it was ready");
    }

    /// Waits for its end, and returns its status and what it wrote to standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut errors = self.child.stderr.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            sender.send(text).unwrap();
        });
        let text = receiver.recv_timeout(LONG).expect("it goes on");
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_prints_where_it_is_and_a_line_per_exchange_without_a_token() {
    let folder = std::env::temp_dir().join(format!("pleo-sandbox-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (ca, token) = (folder.join("ca.pem"), folder.join("acme"));
    let connection = format!("acme={}", token.display());
    let ca_text = ca.display().to_string();
    let arguments =
        ["--ca-file", &ca_text, "--connection", &connection, "--connection", "two", "--access-lifetime", "20s"];
    let mut program = Program::start(&arguments);
    let names: Vec<&str> = program.printed.keys().map(String::as_str).collect();
    let expected = ["API_URL", "AUTHORIZATION_URL", "CA_FILE", "CONTROL_URL", "REFRESH_TOKEN_two", "TOKEN_URL"];
    assert_eq!(names, expected);

    let client = client_builder(&std::fs::read_to_string(&program.printed["CA_FILE"]).unwrap()).build().unwrap();
    let first = std::fs::read_to_string(&token).unwrap();
    let send = || {
        client
            .post(&program.printed["TOKEN_URL"])
            .form(&[("grant_type", "refresh_token"), ("refresh_token", &first)])
            .basic_auth("sandbox-client", Some("sandbox-secret"))
            .send()
    };
    assert_eq!(send().await.unwrap().status().as_u16(), 200);
    assert_eq!(send().await.unwrap().status().as_u16(), 400);
    drop(program.child.stdin.take());
    let (code, log) = program.end();
    assert_eq!(code, Some(0));
    assert!(log.contains(" acme: refresh #1 -> rotated (expires in 20s)\n"), "{log}");
    assert!(log.contains(" acme: refresh #2 -> refused: invalid_grant (spent token"), "{log}");
    assert!(!log.contains(&first));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn it_ends_with_0_after_sigterm_and_goes_on_without_stdin_if_told_to() {
    let mut program = Program::start(&["--ignore-stdin"]);
    drop(program.child.stdin.take());
    let pid = program.child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM $0", &pid]).status().unwrap().success());
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn the_same_seed_makes_the_same_first_token() {
    let first = |seed| {
        let mut program = Program::start(&["--seed", seed, "--connection", "acme"]);
        drop(program.child.stdin.take());
        let token = program.printed["REFRESH_TOKEN_acme"].clone();
        assert_eq!(program.end().0, Some(0));
        token
    };
    assert_eq!(first("1"), first("1"));
    assert_ne!(first("1"), first("2"));
}

#[test]
fn bad_arguments_end_with_2_and_one_line() {
    let cases: [&[&str]; 7] = [
        &["--port", "x"],
        &["--access-lifetime", "soon"],
        &["--connection", "a b"],
        &["--connection", "acme="],
        &["--san", "a b"],
        &["--client-id", ""],
        &["--no-such-option"],
    ];
    for arguments in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_pleo-sandbox")).args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(2), 1), "{arguments:?}: {errors}");
    }
}

#[test]
fn what_it_cannot_do_ends_with_1_and_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for arguments in [["--port", &port], ["--ca-file", "/nowhere/ca.pem"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_pleo-sandbox")).args(arguments).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    }
}
