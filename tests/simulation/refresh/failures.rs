//! Transient failures: when the next try is made, how long this goes on, and what cuts the wait short.

use std::time::Duration;

use pleo_sandbox::script::{RetryAfter, Step};
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault, Refusal, Verb},
    stage::{
        pleo::introspection::Introspection,
        process::Process,
        world::{World, days, hours, minutes, seconds},
    },
};

/// Reads, the claim and the way to the server.
const SLACK: Duration = Duration::from_millis(100);

/// Tokens of a quarter of an hour, and a server that cannot be reached from now on. Returns when the first try failed.
async fn unreachable_server() -> (World, Process, Duration) {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.set_reachable(false);
    world.until("the first try", |world| !world.pleo.turned_away().is_empty()).await;
    let first = world.pleo.turned_away()[0];
    (world, process, first)
}

/// The documented wait after so many failures: doubled from a second to a quarter of an hour, less up to a quarter.
fn backoff(failures: usize) -> (Duration, Duration) {
    let doubled = if failures > 10 { minutes(15) } else { seconds(1 << (failures - 1)).min(minutes(15)) };
    (doubled.mul_f64(0.75), doubled + SLACK)
}

/// The n-th wait is 2^(n-1) seconds, a quarter of an hour at most, less up to a quarter of it.
#[tokio::test(start_paused = true)]
async fn waits_are_doubled_from_a_second_to_a_quarter_of_an_hour() {
    let (world, _process, _) = unreachable_server().await;
    sleep(hours(24)).await;
    let tries = world.pleo.turned_away();
    for (at, pair) in tries.windows(2).enumerate() {
        let (waited, (least, most)) = (pair[1] - pair[0], backoff(at + 1));
        assert!(waited >= least && waited <= most, "after {} failures: {waited:?}, not {least:?} to {most:?}", at + 1);
    }
    assert!((100..150).contains(&tries.len()), "{} tries in a day", tries.len());
    assert_eq!(world.condition("acme", "Ready"), "False RefreshFailing");
    world.pleo.set_reachable(true);
    world.until("it comes back by itself", |world| world.is_ready("acme")).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 2);
}

/// A restart neither forgets the schedule nor begins with a try.
#[tokio::test(start_paused = true)]
async fn a_restart_neither_forgets_nor_storms() {
    let (world, mut process, _) = unreachable_server().await;
    sleep(hours(6)).await;
    for _ in 0..5 {
        let before = world.pleo.turned_away();
        let last = before[before.len() - 1];
        for _ in 0..10 {
            process = process.stop().await.start(&world);
            sleep(seconds(15)).await;
            process = process.kill().start(&world);
            sleep(seconds(15)).await;
        }
        let more = world.pleo.turned_away()[before.len()..].to_vec();
        assert!(more.len() <= 1, "{} tries in five minutes", more.len());
        world.until("the next try", |world| world.pleo.turned_away().len() > before.len()).await;
        let waited = world.pleo.turned_away()[before.len()] - last;
        assert!(waited >= minutes(15).mul_f64(0.75) && waited <= minutes(15) + seconds(1), "{waited:?}");
    }
}

/// When `retryTimeout` is over, one last try is made; then it stalls and is silent, until somebody asks.
#[tokio::test(start_paused = true)]
async fn retries_end_after_three_days_and_begin_anew_when_asked() {
    let (world, process, first) = unreachable_server().await;
    sleep(hours(73)).await;
    let tries = world.pleo.turned_away();
    let last = tries[tries.len() - 1] - first;
    assert!(last >= hours(72) && last <= hours(72) + seconds(1), "the last try was made after {last:?}");
    assert_eq!(world.condition("acme", "Ready"), "False RetriesExhausted");
    assert_eq!(world.condition("acme", "Stalled"), "True RetriesExhausted");
    world.server.reset_trace();
    let process = process.stop().await.start(&world);
    sleep(days(2)).await;
    let _process = process.kill().start(&world);
    sleep(days(2)).await;
    assert_eq!(world.pleo.turned_away().len(), tries.len(), "a stalled connection is not tried");
    assert_eq!(world.writes(), []);

    world.request_refresh("acme", "now").await;
    sleep(seconds(2)).await;
    let resumed = world.pleo.turned_away()[tries.len()..].to_vec();
    assert_eq!(resumed.len(), 2, "a new row of tries begins with a wait of a second");
    world.pleo.set_reachable(true);
    world.until("it is ready", |world| world.is_ready("acme")).await;
    assert_eq!(world.status("acme")["lastHandledRefreshRequest"], "now");
    assert_eq!(world.status("acme")["failures"], 0);
}

/// A refresh request skips the backoff.
#[tokio::test(start_paused = true)]
async fn a_refresh_request_skips_the_backoff() {
    let (world, _process, _) = unreachable_server().await;
    sleep(hours(6)).await;
    let tries = world.pleo.turned_away().len();
    world.until("a try has just failed", |world| world.pleo.turned_away().len() > tries).await;
    world.pleo.set_reachable(true);
    world.request_refresh("acme", "now").await;
    sleep(seconds(1)).await;
    assert!(world.is_ready("acme"));
    assert_eq!(world.status("acme")["lastHandledRefreshRequest"], "now");
}

/// When nobody knows what became of an exchange, the next is not sent before the settle time, whoever asks.
#[tokio::test(start_paused = true)]
async fn after_an_unknown_outcome_the_server_is_given_time_to_settle() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.script("acme", (0..8).map(|_| Step::status(500)));
    let mut last = world.next_exchange("acme", minutes(15)).await;
    for failures in 1..=8 {
        sleep(seconds(5)).await;
        if failures < 4 {
            world.request_refresh("acme", &failures.to_string()).await;
        }
        let next = world.next_exchange("acme", minutes(20)).await;
        let (least, most) = backoff(failures);
        let (least, most) = (least.max(seconds(30)), most.max(seconds(30) + SLACK));
        assert!(next - last >= least && next - last <= most, "after {failures} failures: {:?}", next - last);
        last = next;
    }
    world.until("it comes back by itself", |world| world.is_ready("acme")).await;
    assert_eq!(world.ledger("acme")["current"]["attempts"]["outcomeUnknown"], false);
}

/// An answer is awaited for the whole request time-out. Then the server may still be at work: the settle time follows.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_waited_for_and_then_given_time_to_settle() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.script("acme", [Step::status(500).delayed_before(seconds(85))]);
    let begun = world.next_exchange("acme", minutes(15)).await;
    let next = world.next_exchange("acme", minutes(15)).await;
    let waited = next - begun;
    assert!(waited >= seconds(90) && waited <= seconds(90) + SLACK, "{waited:?}");
    sleep(seconds(5)).await;
    assert_eq!(world.pleo.counters("acme").overlapping, 0);
    assert!(world.is_ready("acme"));
}

/// `Retry-After` is honored, for a quarter of an hour at most. Neither a refresh request nor a restart shortens it.
#[tokio::test(start_paused = true)]
async fn what_the_server_asks_for_is_honored_within_reason() {
    let asks = |status, seconds| Step::status(status).retry_after(RetryAfter::Seconds(seconds));
    let date = Step::status(429).retry_after(RetryAfter::DateIn(minutes(3)));
    let cases = [
        (asks(429, 7), seconds(7)),
        (asks(429, 120), minutes(2)),
        (asks(429, 7200), minutes(15)),
        (asks(503, 120), minutes(2)),
        (asks(503, 7200), minutes(15)),
        (asks(503, 7), seconds(30)),
        (date, minutes(3)),
    ];
    for (step, wait) in cases {
        let (world, process) = World::with_acme(minutes(15)).await;
        world.pleo.script("acme", [step.clone()]);
        let asked = world.next_exchange("acme", minutes(15)).await;
        sleep(seconds(1)).await;
        let throttled = step.clone() == asks(429, 120);
        let _process = if throttled { process.kill().start(&world) } else { process };
        if throttled {
            world.request_refresh("acme", "impatient").await;
        }
        let waited = world.next_exchange("acme", hours(3)).await - asked;
        // A date has whole seconds.
        let early = if step == asks(429, 120) { Duration::ZERO } else { seconds(1) };
        assert!(waited + early >= wait && waited <= wait + SLACK, "{step:?}: {waited:?}, not {wait:?}");
    }
}

/// A lost answer spends the token: the next exchange is refused, and that is told as a pair lost on the way.
#[tokio::test(start_paused = true)]
async fn a_pair_lost_on_the_way_is_told_as_such() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.set_introspection(Introspection::Silent);
    world.pleo.script("acme", [Step::answer_lost()]);
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(1)).await;
    assert_eq!(world.ledger("acme")["current"]["attempts"]["outcomeUnknown"], true);
    assert_eq!(world.condition("acme", "Ready"), "True Refreshed", "in doubt it counts as usable until it ends");
    world.next_exchange("acme", minutes(1)).await;
    sleep(days(1)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True RotationLost");
    assert_eq!(world.pleo.counters("acme").exchanges, 3);
}

/// Writes that the API server refuses are tried again after 15 s, doubled to a minute and no more: nobody tells us when a
/// right is given back. Nothing is spent meanwhile.
#[tokio::test(start_paused = true)]
async fn a_refused_write_is_tried_again_every_minute() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let refused = |call: &Call| call.client == "pod-a" && call.resource == "secrets" && call.verb == Verb::Patch;
    world.server.always(refused, Fault::Status(403));
    sleep(minutes(20)).await;
    let looks = world.looks("acme");
    sleep(minutes(60)).await;
    let looks = world.looks("acme") - looks;
    assert!((58..=62).contains(&looks), "{looks} in an hour");
    assert_eq!(world.pleo.counters("acme").exchanges, 1, "nothing is sent that could not be stored");
    assert_eq!(world.condition("acme", "Stalled"), "True StorageRefused");
    world.server.clear_rules();
    world
        .until_within(seconds(65), "it is well again", |world| world.is_ready("acme") && world.token_works("acme"))
        .await;
    assert_eq!(world.pleo.counters("acme").refusals, 0);
}

/// A first-grant Secret that may not be read costs the living grant nothing.
#[tokio::test(start_paused = true)]
async fn a_consent_that_may_not_be_read_keeps_no_token_waiting() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let reads = |call: &Call| call.client == "pod-a" && call.name == "acme-grant" && call.verb == Verb::Get;
    world.server.always(reads, Fault::Status(403));
    for _ in 0..3 {
        world.next_exchange("acme", minutes(15)).await;
        world.until("the new token works", |world| world.is_ready("acme") && world.token_works("acme")).await;
    }
}

/// Nobody tells when a right is given back: a status that was refused is tried again by itself (I7).
#[tokio::test(start_paused = true)]
async fn a_status_that_was_refused_is_written_when_the_right_is_back() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let no_right = |call: &Call| (call.subresource == "status").then(|| Refusal::new(403, "Forbidden", "no right"));
    world.server.refuse_writes(move |call, _| no_right(call));
    world.pleo.script("acme", [Step::error("invalid_grant")]);
    world.next_exchange("acme", minutes(15)).await;
    sleep(minutes(5)).await;
    assert!(world.is_ready("acme"), "the old words stand");
    world.server.refuse_nothing();
    let told = |world: &World| world.condition("acme", "ReauthRequired") == "True GrantRefused";
    world.until_within(minutes(2), "the status is written", told).await;
}
