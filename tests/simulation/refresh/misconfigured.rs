//! A server that refuses the client, or calls the request wrong: the grant is kept, nothing is sent until the client
//! Secret or the spec changes, and then at once.

use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::stage::{
    process::Process,
    world::{CLIENT, World, days, hours, minutes, seconds},
};

/// Two days over restarts without an exchange or a write.
async fn two_quiet_days(world: &World, process: Process) -> Process {
    // The token ends, which is told; after that there is nothing to tell.
    sleep(minutes(5)).await;
    world.server.reset_trace();
    let exchanges = world.pleo.exchanged();
    sleep(days(1)).await;
    let process = process.stop().await.start(world);
    sleep(hours(12)).await;
    let process = process.kill().start(world);
    sleep(hours(12)).await;
    assert_eq!(world.pleo.exchanged(), exchanges);
    assert_eq!(world.writes(), []);
    process
}

/// `invalid_client`: silence until the client Secret is mended. A change of it that mends nothing costs one exchange.
#[tokio::test(start_paused = true)]
async fn a_refused_client_is_silent_until_its_secret_changes() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.set_client_secret("another");
    world.next_exchange("acme", minutes(15)).await;
    let process = two_quiet_days(&world, process).await;
    assert_eq!(world.condition("acme", "Ready"), "False InvalidClient");
    assert_eq!(world.condition("acme", "Stalled"), "True InvalidClient");
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");

    let exchanges = world.pleo.exchanged();
    world.put_secret(CLIENT, &[("client_secret", "mistyped")]).await;
    sleep(seconds(10)).await;
    assert_eq!(world.pleo.exchanged(), exchanges + 1);
    let _process = two_quiet_days(&world, process).await;

    world.put_secret(CLIENT, &[("client_secret", "another")]).await;
    sleep(seconds(2)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(world.pleo.exchanged(), exchanges + 2);
}

/// `invalid_request`: silence until the spec changes.
#[tokio::test(start_paused = true)]
async fn a_wrong_request_is_not_repeated_until_the_spec_changes() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.repeat("acme", Step::error("invalid_request"));
    world.next_exchange("acme", minutes(15)).await;
    let _process = two_quiet_days(&world, process).await;
    assert_eq!(world.condition("acme", "Ready"), "False InvalidRequest");
    world.pleo.behave("acme");
    world.edit("acme", json!({"client": {"authentication": "Basic"}})).await;
    sleep(seconds(2)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}
