//! Servers that take HTTP Basic only, or the body only, or that have error codes of their own.

use pleo_sandbox::{authority::Authentication, script::Step};
use tokio::time::sleep;

use crate::stage::{
    process::Pod,
    world::{World, hours, minutes, seconds},
};

/// A server that takes one method: a connection that names none becomes Ready and rotates; the other method is tried once at most.
#[tokio::test(start_paused = true)]
async fn the_method_that_works_is_found_once() {
    for (accepts, requests, method) in [(Authentication::Basic, 1, "Basic"), (Authentication::Body, 2, "Body")] {
        let world = World::new().await;
        world.pleo.accept_only(accepts);
        world.connect("acme", minutes(15)).await;
        let process = Pod::new(&world, "pod-a").start(&world);
        world.until("it is ready", |world| world.is_ready("acme") && world.token_works("acme")).await;
        assert_eq!(world.pleo.exchanged(), requests, "{method}");
        assert_eq!(world.status("acme")["clientAuthentication"], method);

        let _process = process.kill().start(&world);
        sleep(hours(2)).await;
        let rotations = usize::try_from(world.ledger("acme")["rotation"].as_u64().unwrap()).unwrap();
        assert!(rotations > 6 && world.token_works("acme"), "{rotations}");
        assert_eq!(world.pleo.exchanged(), requests + rotations - 1, "{method}: no rotation tries the other");
        assert_eq!(world.pleo.counters("acme").resent, requests as u64 - 1, "in the one attempt with two requests");
    }
}

/// The server changes its mind: the connection halts, and the probe finds the other method.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_another_method_from_now_on_is_followed() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    assert_eq!(world.status("acme")["clientAuthentication"], "Basic");
    world.pleo.accept_only(Authentication::Body);
    world
        .until_within(minutes(20), "it is halted", |world| world.condition("acme", "Stalled") == "True InvalidClient")
        .await;
    world
        .until_within(minutes(3), "it is found", |world| {
            world.status("acme")["clientAuthentication"] == "Body"
                && world.is_ready("acme")
                && world.token_works("acme")
        })
        .await;
    assert_eq!(world.condition("acme", "Stalled"), "");
}

/// A code that is not known, three times: a user is asked. The token is kept, tried hourly, and may still turn out to be good.
#[tokio::test(start_paused = true)]
async fn an_unknown_code_asks_for_a_user_and_keeps_the_token() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let before = world.pleo.exchanged();
    world.pleo.repeat("acme", Step::error("invalid_refresh_token"));
    world.next_exchange("acme", minutes(15)).await;
    let asked = |world: &World| world.condition("acme", "ReauthRequired") == "True UnknownRejection";
    world.until_within(minutes(3), "a user is asked", asked).await;
    assert!(world.pleo.exchanged() - before <= 6, "{} requests", world.pleo.exchanged() - before);
    assert_eq!(world.status("acme")["lastFailure"]["reason"], "UnknownRejection");

    let before = world.pleo.exchanged();
    sleep(hours(12)).await;
    assert!((11..=17).contains(&(world.pleo.exchanged() - before)), "{} in 12 h", world.pleo.exchanged() - before);
    assert!(asked(&world));

    // Neither a refresh request nor an outage is a word for the token.
    world.request_refresh("acme", "try").await;
    world.pleo.script("acme", [Step::error("invalid_refresh_token"), Step::status(503)]);
    for _ in 0..100 {
        sleep(minutes(1)).await;
        assert!(asked(&world));
    }

    world.pleo.behave("acme");
    world.request_refresh("acme", "now").await;
    sleep(seconds(40)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// Two codes in turn are no pattern.
#[tokio::test(start_paused = true)]
async fn different_unknown_codes_are_retried() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let codes = ["a_code", "another_code"].map(Step::error);
    world.pleo.script("acme", codes.iter().cycle().take(6).cloned());
    world.next_exchange("acme", minutes(15)).await;
    sleep(minutes(20)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}
