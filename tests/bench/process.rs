//! What a process has computed, and how much memory it holds: from /proc, so on Linux only.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// Of the kernel's statistics.
const TICK: Duration = Duration::from_millis(10);

/// What these processes have computed so far.
pub fn cpu(processes: &[u32]) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for id in processes {
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        let (_, fields) = stat.rsplit_once(')').context("no statistics")?;
        // User and system time: proc(5).
        let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        for time in times {
            ticks += time?;
        }
    }
    Ok(TICK * ticks)
}

/// Resident now, in MiB.
pub fn resident(id: u32) -> anyhow::Result<u64> {
    memory(id, "VmRSS:")
}

/// In MiB.
pub fn memory(id: u32, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}
