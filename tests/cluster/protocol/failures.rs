//! Each class of failure with what follows from it: is the token spent, and when is it tried again?

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use pleo_sandbox::script::{Malformed, RetryAfter, Step};
use serde_json::json;

use crate::harness::{Flags, World, condition, finish, many_rotating, told};

async fn rotating(name: &str) -> (World, crate::harness::Operator) {
    let world = World::new(name).await;
    let operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    (world, operator)
}

/// Whatever says nothing about the token: doubt, a settle time, one more exchange, and all is well again.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_nothing_is_tried_again_after_the_settle_time() {
    let steps = [
        Step::status(503),
        Step::status(503).retry_after(RetryAfter::Seconds(1)),
        Step::status(500),
        Step::status(404),
        Step::request_lost(),
        Step::redirect(307, "https://127.0.0.1:1/elsewhere"),
        Step::error("something_new"),
        Step::custom(200, "<html>a login page</html>"),
        Step::custom(200, ""),
        Step::custom(400, "{\"error\":\"invalid_grant\",\"error\":\"x\"}"),
        Step::malformed(Malformed::Huge(10_000_000)).not_rotating(),
    ];
    let (world, _operator, names) = many_rotating("unknown", steps.len()).await;
    for (name, step) in names.iter().zip(&steps) {
        world.sandbox.script(name, vec![step.clone()]);
        world.request_refresh(name, "1").await;
    }
    for (name, step) in names.iter().zip(&steps) {
        let status = world.until_rotation(name, 2).await;
        let is_named = *step == Step::error("something_new");
        let reason = if is_named { "UnknownRejection" } else { "OutcomeUnknown" };
        assert_eq!(status.last_failure.as_ref().unwrap().reason, reason, "{step:?}");
        assert_eq!(status.failures, Some(0), "{step:?}");
        assert!(world.published_token_is_good(name).await, "{step:?}");
        let counters = world.sandbox.counters(name);
        assert_eq!((counters.exchanges, counters.max_presented), (3, 2), "one more exchange, no more: {step:?}");
        assert_eq!(counters.overlapping, 0, "{step:?}");
    }
    finish(world).await;
}

/// A 200 that bears a token is committed first and judged later.
#[tokio::test(flavor = "multi_thread")]
async fn a_strange_success_is_still_a_success() {
    let kinds = [
        Malformed::ExpiresInString,
        Malformed::ExpiresInAbsent,
        Malformed::ExpiresInZero,
        Malformed::ExpiresInNegative,
        Malformed::ExpiresInHuge,
        Malformed::ExpiresInFloat,
    ];
    let (world, _operator, names) = many_rotating("strange", kinds.len() + 1).await;
    for (name, kind) in names.iter().zip(&kinds) {
        world.sandbox.script(name, vec![Step::malformed(kind.clone())]);
        world.request_refresh(name, "1").await;
    }
    // Without an access token the new refresh token is kept, and used soon.
    let last = names.last().unwrap();
    world.sandbox.script(last, vec![Step::malformed(Malformed::NoAccessToken)]);
    world.request_refresh(last, "1").await;
    for (name, kind) in names.iter().zip(&kinds) {
        world.until_rotation(name, 2).await;
        assert!(world.published_token_is_good(name).await, "{kind:?}");
    }
    let status = world.until_rotation(last, 3).await;
    assert_eq!(told(&status, "Ready"), "True Refreshed");
    assert_eq!(world.sandbox.counters(last).resent, 0);
    finish(world).await;
}

/// 429: unspent, at the time asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_exchange_waits_as_it_is_told() {
    let (world, _operator) = rotating("throttled").await;
    world.sandbox.script("acme", vec![Step::status(429).retry_after(RetryAfter::Seconds(7))]);
    world.request_refresh("acme", "1").await;
    let status = world.until("acme", |status| status.failures == Some(1)).await;
    assert_eq!(status.last_failure.unwrap().reason, "Throttled");
    assert_eq!(told(&status_now(&world).await, "Ready"), "True Refreshed");
    world.until_rotation("acme", 2).await;

    let begins = world.sandbox.counters("acme").begins;
    assert!(begins[2] - begins[1] >= Duration::from_secs(7), "{begins:?}");
    finish(world).await;
}

async fn status_now(world: &World) -> pleo_operator::api::PleoConnectionStatus {
    world.connections().get("acme").await.unwrap().status.unwrap()
}

/// An outage of the server: not a byte left, so the token is good; back by itself (I7).
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_costs_nothing() {
    let (world, _operator) = rotating("away").await;
    world.sandbox.stop();
    world.request_refresh("acme", "1").await;
    let status = world.until("acme", |status| status.failures >= Some(2)).await;
    assert_eq!(status.last_failure.unwrap().reason, "NotSent");
    world.sandbox.restart().unwrap();
    world.until_rotation("acme", 2).await;

    assert_eq!(world.sandbox.counters("acme").max_presented, 1);
    finish(world).await;
}

/// Wrong client credentials: nothing is sent until they are mended, and then at once, without a human's consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_waits_for_its_secret_and_keeps_the_grant() {
    let (world, _operator) = rotating("client").await;
    world.sandbox.set_client("sandbox-client", Some("another-secret"));
    world.request_refresh("acme", "1").await;
    let status = world.until("acme", |status| condition(status, "Stalled").is_some()).await;
    assert_eq!(told(&status, "Stalled"), "True InvalidClient");
    assert_eq!(told(&status, "Ready"), "True Refreshed", "the token lives as long as it lives");
    assert_eq!(told(&status, "ReauthRequired"), "False GrantValid");

    let patch = json!({"stringData": {"client_secret": "another-secret"}});
    world.secrets().patch("pleo-client", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let status = world.until_rotation("acme", 2).await;
    assert_eq!(told(&status, "Stalled"), "-");
    assert_eq!(world.sandbox.counters("acme").exchanges, 3);
    finish(world).await;
}

/// A request that the server calls wrong: waits for the spec.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_called_wrong_waits_for_the_spec() {
    let (world, _operator) = rotating("request-wrong").await;
    world.sandbox.script("acme", vec![Step::error("invalid_scope")]);
    world.request_refresh("acme", "1").await;
    let status = world.until("acme", |status| condition(status, "Stalled").is_some()).await;
    assert_eq!(told(&status, "Stalled"), "True InvalidRequest");
    assert_eq!(status.last_failure.unwrap().reason, "Misconfigured");

    world.edit("acme", json!({"spec": {"client": {"authentication": "Basic"}}})).await;
    world.until_rotation("acme", 2).await;
    finish(world).await;
}

/// Retries end; asking wakes the connection.
#[tokio::test(flavor = "multi_thread")]
async fn retries_are_bounded_and_asking_wakes_the_connection() {
    let (world, _operator) = rotating("exhausted").await;
    world.edit("acme", json!({"spec": {"retryTimeout": "3s"}})).await;
    world.sandbox.stop();
    world.request_refresh("acme", "1").await;
    let status = world.until("acme", |status| condition(status, "Stalled").is_some()).await;
    assert_eq!(told(&status, "Stalled"), "True RetriesExhausted");
    assert_eq!(status.next_refresh_time, None);

    world.sandbox.restart().unwrap();
    world.request_refresh("acme", "2").await;
    let status = world.until_rotation("acme", 2).await;
    assert_eq!(told(&status, "Stalled"), "-");
    finish(world).await;
}

/// A slow server is waited for; hanging up on it would throw away the pair it is about to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for() {
    let (world, _operator) = rotating("slow").await;
    world.sandbox.script("acme", vec![Step::normal().delayed_after(Duration::from_millis(1500))]);
    world.request_refresh("acme", "1").await;
    world.until_rotation("acme", 2).await;
    assert_eq!(world.sandbox.counters("acme").exchanges, 2);
    finish(world).await;
}
