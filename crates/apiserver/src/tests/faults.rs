//! What goes wrong when it should, and only then; and that it goes wrong in the same way again.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use kube_runtime::{
    WatchStreamExt,
    watcher::{self, watcher},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{Fault, Faults, Record, Rng, Verb};

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

async fn count(client: &SimClient, number: u32) -> kube::Result<Secret> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"count": number.to_string()}}}));
    secrets(client).patch("grant", &PatchParams::default(), &patch).await
}

fn counted(server: &ApiServer) -> String {
    let grant = server.object("secrets", "acme", "grant").unwrap();
    grant["metadata"]["labels"]["count"].as_str().unwrap_or("none").to_owned()
}

#[tokio::test(start_paused = true)]
async fn each_scripted_fault() {
    let second = Duration::from_secs(1);
    for (fault, done, heard, code) in [
        (Fault::Unreachable, false, Err(None), None),
        (Fault::Status(500), false, Err(Some(500)), Some(500)),
        (Fault::Status(429), false, Err(Some(429)), Some(429)),
        (Fault::AnswerLost, true, Err(None), Some(200)),
        (Fault::DoneThenStatus(504), true, Err(Some(504)), Some(200)),
        (Fault::Late(second), true, Ok(()), Some(200)),
        (Fault::AnswerLate(second), true, Ok(()), Some(200)),
    ] {
        let server = ApiServer::new(1);
        let client = server.client("operator");
        create(&client, "grant", &[]).await;
        server.once(|call| call.verb == Verb::Patch && call.name == "grant", fault);
        let began = Instant::now();
        let answer = count(&client, 1).await.map(drop).map_err(|error| match error {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        });
        assert_eq!((answer, counted(&server) == "1"), (heard, done), "{fault:?}");
        let slow = matches!(fault, Fault::Late(_) | Fault::AnswerLate(_));
        assert_eq!(began.elapsed() >= second, slow, "{fault:?}");
        let record = server.writes().pop().unwrap();
        assert_eq!((record.fault, record.code, record.changed), (Some(fault), code, done));
        assert_eq!(server.rules_left(), 0);
        count(&client, 2).await.expect("once is once");
    }
}

#[tokio::test(start_paused = true)]
async fn rules_last_as_long_as_they_are_told() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[]).await;
    server.times(2, |call| call.client == "operator", Fault::Status(503));
    let user = server.client("user");
    count(&user, 1).await.expect("it is another client's");
    for _ in 0..2 {
        assert_eq!(refusal(count(&client, 1).await).0, 503);
    }
    count(&client, 1).await.unwrap();
    server.always(|call| call.verb.is_write(), Fault::Status(403));
    for _ in 0..3 {
        assert_eq!(refusal(count(&client, 2).await), (403, "Forbidden".into()));
    }
    server.clear_rules();
    count(&client, 2).await.unwrap();
    assert_eq!(server.calls_by_client(), BTreeMap::from([("operator".into(), 8), ("user".into(), 1)]));
    server.reset_trace();
    assert_eq!(server.trace(), []);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_takes_nothing_back() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[]).await;
    server.once(|call| call.verb == Verb::Patch, Fault::Late(Duration::from_secs(20)));
    assert!(timeout(Duration::from_secs(10), count(&client, 1)).await.is_err());
    assert_eq!(counted(&server), "none");
    sleep(Duration::from_secs(15)).await;
    assert_eq!(counted(&server), "1");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_client_hangs_until_it_is_thawed() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[]).await;
    client.freeze();
    assert!(timeout(Duration::from_secs(3600), count(&client, 1)).await.is_err());
    assert_eq!(counted(&server), "none");
    client.restore();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counted(&server), "1", "what was held back comes through, wanted or not");

    // Frozen between the request and its answer.
    server.once(|call| call.verb == Verb::Patch, Fault::AnswerLate(Duration::from_secs(5)));
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { count(&client, 2).await }
    });
    sleep(Duration::from_secs(1)).await;
    client.freeze();
    sleep(Duration::from_secs(60)).await;
    assert_eq!((counted(&server).as_str(), waiting.is_finished()), ("2", false));
    client.restore();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_fails_alone() {
    let server = ApiServer::new(1);
    let (client, other) = (server.client("operator"), server.client("other"));
    create(&client, "grant", &[]).await;
    client.cut_off();
    assert!(matches!(count(&client, 1).await, Err(kube::Error::Service(_))));
    count(&other, 2).await.unwrap();
    client.restore();
    count(&client, 3).await.unwrap();
    assert_eq!(counted(&server), "3");
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_or_after_the_deed() {
    for (fault, expected) in [(Fault::CrashBefore, "none"), (Fault::CrashAfter, "1")] {
        let server = ApiServer::new(1);
        let client = server.client("operator");
        create(&client, "grant", &[]).await;
        server.once(|call| call.verb == Verb::Patch, fault);
        let process = tokio::spawn({
            let client = client.clone();
            async move { count(&client, 1).await }
        });
        client.crashed().await;
        sleep(Duration::from_secs(60)).await;
        assert!(!process.is_finished(), "a dead process hears nothing");
        process.abort();
        client.restore();
        assert!(client.is_crashed(), "and does not rise again");
        assert!(timeout(Duration::from_secs(60), count(&client, 2)).await.is_err());
        assert_eq!(counted(&server), expected);
    }
    let client = ApiServer::new(1).client("operator");
    client.crash();
    assert!(client.is_crashed());
}

/// A process of its own runtime is dropped with its request on the way.
#[test]
fn the_server_outlives_the_runtime_of_a_client() {
    let (world, process) = (paused(), paused());
    let (server, client) = world.block_on(async {
        let server = ApiServer::new(1);
        let client = server.client("operator");
        create(&client, "grant", &[]).await;
        server.once(|call| call.verb == Verb::Patch, Fault::Late(Duration::from_secs(5)));
        (server, client)
    });
    let begun = server.elapsed();
    process.block_on(async {
        tokio::spawn({
            let client = client.clone();
            async move { count(&client, 1).await }
        });
        sleep(Duration::from_secs(100)).await;
        assert_eq!(server.elapsed(), begun, "each runtime has a clock of its own");
    });
    drop(process);
    world.block_on(async { sleep(Duration::from_secs(10)).await });
    assert_eq!(counted(&server), "1");
    assert_eq!(server.elapsed(), begun + Duration::from_secs(10));
}

/// A process that is ticked in turn with the world.
#[test]
fn a_process_on_a_runtime_of_its_own() {
    let (world, process) = (paused(), paused());
    let tick = |runtime: &Runtime| runtime.block_on(async { sleep(Duration::from_millis(100)).await });
    let server = world.block_on(async { ApiServer::new(1) });
    let (client, user) = (server.client("operator"), server.client("user"));
    let seen = process.spawn(async move {
        let mut events = Box::pin(watcher(secrets(&client), watcher::Config::default()).touched_objects());
        version(&events.next().await.unwrap().unwrap())
    });
    let made = world.spawn(async move {
        sleep(Duration::from_secs(2)).await;
        create(&user, "grant", &[]).await
    });
    for _ in 0..25 {
        tick(&process);
        tick(&world);
    }
    let made = world.block_on(made).unwrap();
    assert_eq!(process.block_on(seen).unwrap(), version(&made));
}

/// Two writers that retry blindly, and a watcher, through a storm.
fn stormy(seed: u64) -> (u64, Vec<Record>, Vec<String>) {
    paused().block_on(async move {
        let server = ApiServer::new(seed);
        create(&server.undisturbed_client("user"), "grant", &[]).await;
        server.set_faults(Faults { watch_cut: 2, ..Faults::storm() });
        let mut rng = Rng::new(seed);
        let watching = server.client("watcher");
        let seen = tokio::spawn(async move {
            let events = watcher(secrets(&watching), watcher::Config::default());
            // Its own backoff is jittered by the real clock's randomness; a fixed one is not.
            let events = events.backoff(Every(Duration::from_secs(1))).touched_objects();
            let found = events.filter_map(|event| async { event.ok().map(|object| version(&object)) });
            let mut until = Box::pin(sleep(Duration::from_secs(7200)));
            found.take_until(&mut until).collect::<Vec<_>>().await
        });
        for number in 0..300 {
            let client = server.client(if number % 2 == 0 { "even" } else { "odd" });
            while count(&client, number).await.is_err() {
                sleep(Duration::from_millis(500)).await;
            }
            sleep(Duration::from_millis(rng.below(20_000))).await;
        }
        let seen = seen.await.unwrap();
        (server.fingerprint(), server.trace(), seen)
    })
}

struct Every(Duration);

impl Iterator for Every {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl kube_runtime::utils::Backoff for Every {
    fn reset(&mut self) {}
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, second) = (stormy(3), stormy(3));
    for (one, two) in first.1.iter().zip(&second.1) {
        assert_eq!(one.to_string(), two.to_string());
    }
    assert_eq!(first, second);
    assert_ne!(first.0, stormy(4).0, "another seed is another world");
    let faults: std::collections::BTreeSet<_> =
        first.1.iter().filter_map(|record| record.fault).map(|fault| format!("{fault:?}")).collect();
    assert!(faults.len() > 5, "the storm was a calm: {faults:?}");
}
