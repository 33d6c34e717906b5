//! A claim without an end: its holder is dead, or cannot be heard. Who takes it over, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pleo_operator::api::names::grant_secret;
use pleo_sandbox::script::Step;
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault, Verb},
    stage::{
        pleo::introspection::Introspection,
        process::{Pod, Process},
        world::{World, claims, days, hours, minutes, seconds, settles},
    },
};

const SLACK: Duration = Duration::from_secs(1);

/// The process dies right after its claim was stored, before it sent anything.
async fn killed_right_after_its_claim(life: Duration) -> (World, Pod) {
    let (world, process) = World::with_acme_on(life, Pod::with_brief_lease).await;
    world.server.once(|call| claims(call, "acme"), Fault::CrashAfter);
    if life > hours(1) {
        world.request_refresh("acme", "now").await;
    }
    world.until("it has claimed", |_| process.client.is_crashed()).await;
    assert!(world.ledger("acme")["claim"].is_object());
    (world, process.kill())
}

/// When a client read the grant first since the last reset.
fn first_look(world: &World, client: &str) -> Option<Duration> {
    let grant = grant_secret("acme");
    let looks = |verb, name: &str, who: &str| verb == Verb::Get && name == grant && who == client;
    world.server.trace().iter().find(|read| looks(read.verb, &read.name, &read.client)).map(|read| read.at)
}

/// What another pod owes that claim, by the times in the ledger: max(claim end + 5 s, min(expiry, claim start + 5 min)).
fn patience(world: &World) -> Duration {
    let ledger = world.ledger("acme");
    let at = |value: &serde_json::Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let (start, end) = (at(&ledger["claim"]["startedAt"]), at(&ledger["claim"]["endsAt"]));
    let life = Duration::from_millis(ledger["current"]["lifetimeMs"].as_u64().unwrap());
    let expiry = at(&ledger["current"]["issuedAt"]) + life;
    let since_start = |time: Timestamp| Duration::try_from(time.duration_since(start)).unwrap();
    (since_start(end) + seconds(5)).max(since_start(expiry).min(minutes(5)))
}

/// Another pod leads from now on, and takes the claim over when it is time. Returns how long it waited since it had
/// first seen that claim.
async fn taken_over_after(world: &World, pod: &Pod) -> (Process, Duration) {
    world.server.reset_trace();
    let process = pod.start(world);
    world.pleo.script("acme", [Step::normal().delayed_after(seconds(3))]);
    let sent = world.next_exchange("acme", hours(1)).await;
    assert_eq!(
        world.ledger("acme")["current"]["attempts"]["outcomeUnknown"],
        true,
        "the claim that was taken over may have been used"
    );
    (process, sent - first_look(world, &pod.name).unwrap())
}

async fn back_to_normal(world: &World) {
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(world.ledger("acme")["current"]["attempts"]["outcomeUnknown"], false);
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.resent, counters.overlapping, counters.refusals), (0, 0, 0));
}

/// Another pod waits until the claim is over and the token is about to end, on its own clock, since it saw the claim.
#[tokio::test(start_paused = true)]
async fn another_pod_waits_until_the_holder_must_be_done() {
    let (world, _) = killed_right_after_its_claim(minutes(15)).await;
    let patience = patience(&world);
    assert!(patience >= seconds(75) && patience <= seconds(100), "{patience:?}");
    let (_process, waited) = taken_over_after(&world, &Pod::new(&world, "pod-b").with_brief_lease()).await;
    assert!(waited >= patience && waited <= patience + SLACK, "{waited:?}, not {patience:?}");
    back_to_normal(&world).await;
}

/// The longer the token lives, the longer it can be waited for; but five minutes are enough.
#[tokio::test(start_paused = true)]
async fn five_minutes_are_enough_for_any_claim() {
    let (world, _) = killed_right_after_its_claim(days(1)).await;
    let (_process, waited) = taken_over_after(&world, &Pod::new(&world, "pod-b").with_brief_lease()).await;
    assert!(waited >= minutes(5) && waited <= minutes(5) + SLACK, "{waited:?}");
    back_to_normal(&world).await;
}

/// The wait is measured on a monotonic clock: it does not matter how wrong the two wall clocks are.
#[tokio::test(start_paused = true)]
async fn the_wait_does_not_trust_wall_clocks() {
    for skew in [-40, 40] {
        let (world, _) = killed_right_after_its_claim(minutes(15)).await;
        let (patience, pod) = (patience(&world), Pod::new(&world, "pod-b").with_brief_lease());
        pod.clock.jump(skew);
        let (_process, waited) = taken_over_after(&world, &pod).await;
        assert!(waited >= patience && waited <= patience + SLACK, "{waited:?}, not {patience:?}");
    }
}

/// The same pod's next process knows that the holder is dead. Only its request may still live: the settle time.
#[tokio::test(start_paused = true)]
async fn the_same_pod_waits_only_for_the_server_to_settle() {
    let (world, pod) = killed_right_after_its_claim(minutes(15)).await;
    let (_process, waited) = taken_over_after(&world, &pod).await;
    assert!(waited >= seconds(30) && waited <= seconds(30) + SLACK, "{waited:?}");
    back_to_normal(&world).await;
}

/// A holder that could not reach the API server either may still commit: an outage begins the wait anew.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_api_server_begins_the_wait_anew() {
    let (world, _) = killed_right_after_its_claim(minutes(15)).await;
    let patience = patience(&world);
    world.server.reset_trace();
    let process = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    world.until("the claim was seen", |world| first_look(world, "pod-b").is_some()).await;
    sleep(seconds(60)).await;
    process.client.cut_off();
    sleep(seconds(5)).await;
    process.client.restore();
    let over = world.server.elapsed();
    let sent = world.next_exchange("acme", hours(1)).await;
    let waited = sent - over;
    // The last call that failed was made some time within those five seconds.
    assert!(waited + seconds(3) >= patience && waited <= patience + SLACK, "{waited:?}, not {patience:?}");
    back_to_normal(&world).await;
}

/// A pair that was issued and not stored is lost. The take-over finds that out by itself, and it is told as our doing.
#[tokio::test(start_paused = true)]
async fn a_process_that_dies_with_a_pair_in_hand_loses_it() {
    let (world, process) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    world.pleo.set_introspection(Introspection::Silent);
    world.server.once(|call| settles(call, "acme"), Fault::CrashBefore);
    world.next_exchange("acme", minutes(15)).await;
    world.until("it is dead", |_| process.client.is_crashed()).await;
    let _process = process.kill().start(&world);
    sleep(minutes(1)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True RotationLost");
    assert_eq!(world.secret("acme-token", "access_token"), None);
    assert_eq!(world.pleo.counters("acme").max_presented, 2);
    world.consent("acme").await;
    world.until("it is back", |world| world.is_ready("acme")).await;
}

/// A claim whose write was never heard of, in a process that lives on, was not used: no doubt, and no wait.
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_certainly_not_used_costs_neither_doubt_nor_time() {
    for fault in [Fault::Unreachable, Fault::AnswerLost, Fault::DoneThenStatus(504)] {
        let (world, _process) = World::with_acme(minutes(15)).await;
        let (claimed, grant) = (Arc::new(AtomicBool::new(false)), grant_secret("acme"));
        let has_claimed = Arc::clone(&claimed);
        let claim = move |call: &Call| claims(call, "acme") && !claimed.swap(true, Ordering::Relaxed);
        let look_after_it =
            move |call: &Call| has_claimed.load(Ordering::Relaxed) && call.verb == Verb::Get && call.name == grant;
        world.server.once(claim, fault);
        world.server.once(look_after_it, Fault::Unreachable);
        world.until("it has claimed", |world| world.server.rules_left() == 0).await;
        let claimed = world.server.elapsed();
        let sent = world.next_exchange("acme", minutes(15)).await;
        assert!(sent - claimed <= seconds(10), "{fault:?}: {:?}", sent - claimed);
        sleep(seconds(5)).await;
        assert!(world.is_ready("acme"));
        assert_eq!(world.pleo.counters("acme").resent, 0);
    }
}
