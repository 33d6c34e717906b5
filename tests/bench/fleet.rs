//! `make bench`: many connections on a real API server, with the strict fake of Pleo. First it measures what the API server itself can do;
//! what the operator does is printed beside that. Nothing is asserted: machines are not always quiet.
//!
//! `N=10000` sets the number of connections (2,000 without it); `ONLY=fleet`, `hanging`, `refusing` or `drain` measures one thing only.

mod process;
mod stage;

use std::time::Duration;

use anyhow::Context as _;
use pleo_sandbox::{
    Sandbox,
    authority::Outcome,
    script::{ANY, Step},
};
use process::{cpu, memory, resident};
use stage::{Mark, Operator, Stage};
use tokio::time::{Instant, sleep};

/// How long a rate is measured.
const WINDOW: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count =
        std::env::var("N").ok().filter(|n| !n.is_empty()).map_or(Ok(2000), |n| n.parse()).context("N is a number")?;
    let only = std::env::var("ONLY").ok().filter(|only| !only.is_empty());
    let is_wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if is_wanted("fleet") {
        fleet(count).await?;
    }
    if is_wanted("hanging") {
        hanging().await?;
    }
    if is_wanted("refusing") {
        refusing().await?;
    }
    if is_wanted("drain") {
        drain().await?;
    }
    Ok(())
}

/// Adoption, idleness, rotation as fast as possible, overload, memory.
async fn fleet(count: usize) -> anyhow::Result<()> {
    let stage = Stage::new("fleet", count).await?;
    let (put, get) = stage.calibrate().await?;
    println!("API server: {put:.0} PUT/s, {get:.0} GET/s, with 32 writers");
    stage.lifetimes(HOUR);
    stage.declare(count).await?;
    let operator = adoption(&stage, count).await?;
    drop(operator);
    let operator = idle_start(&stage, count).await?;
    relist(&stage, &operator, "after a new list").await?;
    let rate = rotation(&stage, &operator, count, put).await?;
    overload(&stage, count, rate).await?;
    println!(
        "memory: {} MiB after the overload, {} MiB at its most",
        resident(operator.id())?,
        memory(operator.id(), "VmHWM:")?
    );
    stage.lifetimes(YEAR);
    Ok(())
}

async fn adoption(stage: &Stage, count: usize) -> anyhow::Result<Operator> {
    let operator = stage.operator("a", &[])?;
    let began = Instant::now();
    stage.until_exchanges(count).await?;
    let took = began.elapsed();
    stage.until_quiet(&operator).await?;
    let requests = stage.requests_since(Mark::default())?;
    let per_second = count as f64 / took.as_secs_f64();
    println!("adoption: {per_second:.0}/s, {:.1} requests each", requests.len() as f64 / count as f64);
    print_kinds(&requests, count);
    println!(
        "memory: {} MiB after that, {} MiB at its most",
        resident(operator.id())?,
        memory(operator.id(), "VmHWM:")?
    );
    Ok(operator)
}

/// A new process, and nothing to do.
async fn idle_start(stage: &Stage, count: usize) -> anyhow::Result<Operator> {
    let before = stage.mark()?;
    let began = Instant::now();
    let operator = stage.operator("a", &[])?;
    let quiet_at = stage.until_quiet(&operator).await?;
    let requests = stage.requests_since(before)?;
    println!(
        "start with {count} idle: quiet after {:.1} s, {} requests, {} MiB settled, {} MiB at its most",
        (quiet_at - began).as_secs_f64(),
        requests.len(),
        resident(operator.id())?,
        memory(operator.id(), "VmHWM:")?
    );
    Ok(operator)
}

/// The API server starts again, and has forgotten what watches have seen.
async fn relist(stage: &Stage, operator: &Operator, what: &str) -> anyhow::Result<()> {
    operator.reset_peak()?;
    let before = stage.mark()?;
    stage.restart_api_server().await?;
    // The watches come back after a pause that doubles with each try.
    for resource in ["pleoconnections", "secrets"] {
        let watch = format!("watch {resource}/");
        while !stage.requests_since(before)?.contains(&watch) {
            sleep(Duration::from_secs(1)).await;
        }
    }
    stage.until_quiet(operator).await?;
    let requests = stage.requests_since(before)?.len();
    println!(
        "memory: {} MiB {what}, {} MiB at its most; {requests} requests",
        resident(operator.id())?,
        memory(operator.id(), "VmHWM:")?
    );
    Ok(())
}

/// Ever more tokens are due in a second, until no more can be rotated. Returns how many that are.
async fn rotation(stage: &Stage, operator: &Operator, count: usize, put: f64) -> anyhow::Result<f64> {
    let mut due = 80.0;
    loop {
        // Due after half of their life; they do not expire on the way, which would cost more.
        stage.lifetimes(Duration::from_secs_f64(2.0 * count as f64 / due));
        stage.request_refresh(count).await?;
        stage.until_exchanges(stage.exchanges() + 2 * count).await?;
        let (exchanges, mark) = (stage.exchanges(), stage.mark()?);
        let (computed, began) = (cpu(&[operator.id()])?, Instant::now());
        // As long as it takes until all are due twice: they come in waves.
        sleep(Duration::from_secs_f64(2.0 * count as f64 / due)).await;
        let rotations = (stage.exchanges() - exchanges) as f64;
        let (computed, took) = (cpu(&[operator.id()])? - computed, began.elapsed());
        let rate = rotations / took.as_secs_f64();
        let requests = stage.requests_since(mark)?;
        println!(
            "rotation: {rate:.0}/s of {due:.0} due, {:.2} of what 4 PUTs would allow; {:.1} requests and {:.2} ms of CPU each",
            rate / (put / 4.0),
            requests.len() as f64 / rotations,
            computed.as_secs_f64() * 1e3 / rotations
        );
        if rate < 0.85 * due {
            print_kinds(&requests, rotations as usize);
            return Ok(rate);
        }
        due *= 1.3;
    }
}

/// Half as much again as it can do.
async fn overload(stage: &Stage, count: usize, rate: f64) -> anyhow::Result<()> {
    let due_after = Duration::from_secs_f64(count as f64 / (1.5 * rate));
    stage.lifetimes(due_after * 2);
    stage.until_exchanges(stage.exchanges() + 2 * count).await?;
    let from = stage.sandbox.now();
    sleep(due_after * 4).await;
    let mut last = std::collections::BTreeMap::new();
    let mut late = Vec::new();
    for exchange in stage.sandbox.exchanges() {
        let (Some(name), Some(at)) = (exchange.connection, exchange.finished_at) else { continue };
        if let Some(before) = last.insert(name, at)
            && exchange.began_at > from
        {
            late.push(exchange.began_at.saturating_sub(before + due_after).as_secs_f64());
        }
    }
    // Those that were not served at all count, too.
    let now = stage.sandbox.now();
    late.extend(last.values().map(|at| now.saturating_sub(*at + due_after).as_secs_f64()).filter(|late| *late > 0.0));
    let mean = late.iter().sum::<f64>() / late.len().max(1) as f64;
    let longest = late.iter().copied().fold(0.0, f64::max);
    println!("overload: {longest:.1} s late at the longest, {mean:.1} s on average, ratio {:.1}", longest / mean);
    Ok(())
}

fn print_kinds(requests: &[String], count: usize) {
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for request in requests {
        *kinds.entry(request).or_default() += 1;
    }
    for (kind, times) in kinds.iter().filter(|(_, times)| **times * 20 > count) {
        println!("    {:6.2} {kind}", *times as f64 / count as f64);
    }
}

/// A server that never answers, beside one that does.
async fn hanging() -> anyhow::Result<()> {
    let (healthy, sick) = (20, 300);
    let stage = Stage::new("hanging", 0).await?;
    let other = stage::sandbox()?;
    stage.lifetimes(HOUR);
    stage.declare(healthy).await?;
    stage.declare_at(&other, "sick", sick).await?;
    let operator = stage.operator("a", &["--allowed-server", &other.origin()])?;
    stage.until_exchanges(healthy).await?;
    stage::until_exchanges(&other, sick).await?;
    stage.until_quiet(&operator).await?;
    other.repeat(ANY, Step::normal().held_before());
    // The sick ones first.
    stage.request_refresh_of("sick", sick).await?;
    sleep(Duration::from_secs(5)).await;
    let (before, began) = (stage.exchanges(), stage.sandbox.now());
    stage.request_refresh(healthy).await?;
    sleep(WINDOW).await;
    let exchanges = stage.sandbox.exchanges();
    let late: Vec<_> =
        exchanges.iter().skip(before).map(|exchange| (exchange.began_at - began).as_secs_f64()).collect();
    let longest = late.iter().copied().fold(0.0, f64::max);
    println!(
        "beside {sick} on a hanging server: {} of {healthy} served within {WINDOW:?}, the last after {longest:.1} s",
        late.len()
    );
    Ok(())
}

/// A provider that answers everything with `invalid_grant` for a minute.
async fn refusing() -> anyhow::Result<()> {
    let count = 60;
    let stage = Stage::new("refusing", 0).await?;
    stage.lifetimes(Duration::from_secs(60));
    stage.declare(count).await?;
    let operator = stage.operator("a", &[])?;
    stage.until_exchanges(count).await?;
    stage.until_quiet(&operator).await?;
    stage.sandbox.repeat(ANY, Step::error("invalid_grant"));
    sleep(Duration::from_secs(60)).await;
    stage.sandbox.clear_script(ANY);
    let rejected = stage.sandbox.exchanges().iter().filter(|exchange| exchange.outcome == Outcome::NotJudged).count();
    let lost = stage.count_reason("ReauthRequired", "True").await?;
    println!(
        "a minute of invalid_grant to everything, {count} connections: {rejected} tokens rejected, {lost} need a user"
    );
    Ok(())
}

/// The leader is stopped while one request hangs; how soon does its successor refresh another connection?
async fn drain() -> anyhow::Result<()> {
    let stage = Stage::new("drain", 0).await?;
    stage.lifetimes(HOUR);
    stage.declare(2).await?;
    let leader = stage.operator("a", &[])?;
    stage.until_exchanges(2).await?;
    stage.until_quiet(&leader).await?;
    let _successor = stage.operator("b", &[])?;
    sleep(Duration::from_secs(3)).await;
    let held = stage::name("c", 0);
    stage.sandbox.script(&held, vec![Step::normal().held_before()]);
    stage.request_refresh_of("c", 1).await?;
    stage.until_exchanges(3).await?;
    leader.terminate()?;
    let began = Instant::now();
    stage.request_refresh(2).await?;
    let another = stage::name("c", 1);
    let refreshed = |sandbox: &Sandbox| sandbox.counters(&another).exchanges >= 2;
    while !refreshed(&stage.sandbox) && began.elapsed() < Duration::from_secs(90) {
        sleep(Duration::from_millis(50)).await;
    }
    println!(
        "stopped while a request hangs: another connection is refreshed after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    stage.sandbox.release(&held);
    Ok(())
}
