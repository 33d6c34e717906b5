//! What floods cost: the memory that a process held at most.

use std::fs;

use crate::{
    process::inner,
    responses::lengths,
    support::{
        hunt::PAIR,
        siege::{Attack, answers},
    },
};

/// Sockets, TLS, what is read of an answer, and the hostile server itself, which runs in the same process.
const MOST: usize = 16 << 20;

#[tokio::test]
async fn floods_cost_little_memory() {
    inner::run("process::memory::floods_in_a_process_of_their_own", &[]).await;
}

#[tokio::test]
#[ignore = "measures a process of its own"]
async fn floods_in_a_process_of_their_own() {
    if !inner::is_here() {
        return;
    }
    // What a first exchange costs is no flood's.
    answers("200 OK", PAIR).unheard().carry_out().await;
    let before = most_held();
    let attacks: [fn() -> Attack; 4] =
        [lengths::endless_body, lengths::endless_chunks, lengths::endless_header, lengths::endless_bomb];
    for attack in attacks {
        attack().unheard().carry_out().await;
        let held = most_held() - before;
        assert!(held <= MOST, "{held} bytes more than before were held");
    }
}

/// The most that this process ever held, in bytes.
fn most_held() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}
