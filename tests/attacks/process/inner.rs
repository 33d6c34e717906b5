//! Attacks in a process of their own, for what belongs to a process: its variables, its memory, its log. The process is
//! this very program, asked for one test that is ignored otherwise.

use std::{
    env,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

/// Set in the inner process: tells it from somebody who asks for all ignored tests.
const MARK: &str = "ATTACKED_FROM_OUTSIDE";

/// Runs this test with these variables, to its good end.
pub async fn run(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut inner = Command::new(env::current_exe().unwrap());
    inner.args(["--exact", test, "--ignored", "--nocapture"]).env(MARK, "yes").envs(variables.iter().copied());
    let output = inner.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(60), output).await.expect("the process ends by itself").unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Whether this is such a process.
pub fn is_here() -> bool {
    env::var_os(MARK).is_some()
}
