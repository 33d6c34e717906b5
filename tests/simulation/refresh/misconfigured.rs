//! A server that rejects the client, or calls the request wrong: the grant is kept and probed ever more rarely, and at once when
//! the client Secret or the spec changes.

use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::stage::{
    process::Process,
    world::{CLIENT, World, days, hours, minutes, seconds},
};

/// Two days over restarts: a probe an hour of so many requests, and nothing is lost.
async fn two_days_of_probes(world: &World, process: Process, requests_each: usize) -> Process {
    let exchanges = world.pleo.exchanged();
    sleep(days(1)).await;
    let process = process.stop().await.start(world);
    sleep(hours(12)).await;
    let process = process.kill().start(world);
    sleep(hours(12)).await;
    let requests = world.pleo.exchanged() - exchanges;
    assert!((requests_each * 47..=requests_each * 72).contains(&requests), "{requests} requests in two days");
    process
}

/// `invalid_client`: a client Secret that is fixed is tried at once, and so is one that fixes nothing, once.
#[tokio::test(start_paused = true)]
async fn a_rejected_client_is_probed_until_its_secret_changes() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.set_client_secret("another");
    world.next_exchange("acme", minutes(15)).await;
    // By both methods.
    let process = two_days_of_probes(&world, process, 2).await;
    assert_eq!(world.condition("acme", "Ready"), "False InvalidClient");
    assert_eq!(world.condition("acme", "Stalled"), "True InvalidClient");
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");

    let exchanges = world.pleo.exchanged();
    world.put_secret(CLIENT, &[("client_secret", "mistyped")]).await;
    sleep(seconds(10)).await;
    assert_eq!(world.pleo.exchanged(), exchanges + 1, "it is no probe");
    let _process = two_days_of_probes(&world, process, 2).await;

    world.put_secret(CLIENT, &[("client_secret", "another")]).await;
    sleep(seconds(2)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// `invalid_request`: the same, for the spec.
#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_probed_until_the_spec_changes() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.repeat("acme", Step::error("invalid_request"));
    world.next_exchange("acme", minutes(15)).await;
    let _process = two_days_of_probes(&world, process, 1).await;
    assert_eq!(world.condition("acme", "Ready"), "False InvalidRequest");
    world.pleo.behave("acme");
    world.edit("acme", json!({"client": {"authentication": "Basic"}})).await;
    sleep(seconds(2)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// I7: a server whose database is down for a moment may call every client invalid.
#[tokio::test(start_paused = true)]
async fn one_invalid_client_is_over_within_three_minutes() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.script("acme", [Step::error("invalid_client").with_status(401)]);
    world.next_exchange("acme", minutes(15)).await;
    world.until("it is halted", |world| world.condition("acme", "Stalled") == "True InvalidClient").await;
    let rotation = world.ledger("acme")["rotation"].as_u64();
    world
        .until_within(minutes(3), "it is refreshed", |world| {
            world.ledger("acme")["rotation"].as_u64() > rotation && world.is_ready("acme") && world.token_works("acme")
        })
        .await;
    world
        .until_within(seconds(1), "and the status says so", |world| world.condition("acme", "Stalled").is_empty())
        .await;
}
