//! I2: a pair that was received is committed. Not a slow server, a lost Lease, a SIGTERM or an API server that is down
//! lets go of it.

use std::time::Duration;

use pleo_operator::api::names::grant_secret;
use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault, Faults, Record, Verb},
    stage::{
        process::Pod,
        world::{World, hours, minutes, seconds, settles},
    },
};

fn is_ready_and_works(world: &World) -> bool {
    world.is_ready("acme") && world.token_works("acme")
}

/// SIGTERM while a slow server is at work: the Lease is given back at once, and the answer is awaited, stored and published
/// before the process is gone.
#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_answer_and_its_commit() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.script("acme", [Step::normal().held_after()]);
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    process.terminate();
    sleep(seconds(1)).await;
    assert_eq!(world.lease_holder("pleo-operator"), None);
    sleep(seconds(49)).await;
    assert!(!process.has_ended(), "the answer is still to come");
    world.pleo.release("acme");
    world.until("the process has ended", |_| process.has_ended()).await;
    assert_eq!(world.ledger("acme")["rotation"], 2);
    assert!(is_ready_and_works(&world));
}

/// I7: a request that hangs delays its own connection. The next leader refreshes another one within seconds, and keeps its
/// hands off the claim (I1).
#[tokio::test(start_paused = true)]
async fn a_shutdown_during_a_request_that_hangs_delays_no_other_connection() {
    let (world, process) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    world.connect("beta", minutes(15)).await;
    world.until("both are ready", |world| world.is_ready("beta")).await;
    let _successor = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    world.pleo.script("acme", [Step::normal().held_after()]);
    world.request_refresh("acme", "now").await;
    world.until("the request is sent", |world| world.pleo.counters("acme").exchanges == 2).await;
    process.terminate();
    world.request_refresh("beta", "now").await;
    let other = |world: &World| world.pleo.counters("beta").exchanges == 2;
    world.until_within(seconds(5), "the other connection is refreshed", other).await;
    sleep(seconds(40)).await;
    world.pleo.release("acme");
    world.until("the process has ended", |_| process.has_ended()).await;
    world.until("the successor reports it", is_ready_and_works).await;
    assert_eq!((world.pleo.counters("acme").exchanges, world.ledger("acme")["rotation"].as_u64()), (2, Some(2)));
}

/// I1: nobody else may lead between the look for another adopter and the adoption, or two connections adopt one token.
#[tokio::test(start_paused = true)]
async fn a_shutdown_during_an_adoption_lets_no_other_connection_adopt_the_token() {
    let world = World::new().await;
    let leader = Pod::new(&world, "pod-a").with_brief_lease().start(&world);
    world.until("it leads", |_| leader.leads()).await;
    let _successor = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(5)).await;
    world.server.reset_trace();
    let adopts = |call: &Call| call.verb == Verb::Create && call.name == "pleo-grant-zeta";
    world.server.once(adopts, Fault::Late(seconds(6)));
    world.connect("zeta", minutes(15)).await;
    let has_looked =
        |world: &World| world.server.trace().iter().any(|call| call.verb == Verb::List && call.client == "pod-a");
    world.until("it has looked for another adopter", has_looked).await;
    leader.terminate();
    // The user moves the token to another connection.
    world.edit("zeta", json!({"initialGrant": null})).await;
    world.declare("beta").await;
    world.edit("beta", json!({"initialGrant": {"secretRef": {"name": "zeta-grant"}}})).await;
    sleep(minutes(2)).await;
    let counted = world.pleo.counters("zeta");
    assert_eq!((counted.exchanges, counted.resent, counted.replays), (1, 0, 0));
    assert_eq!((world.is_ready("zeta"), world.condition("beta", "Ready")), (true, "False GrantShared".into()));
}

/// The same after the Lease was lost as well, with a standby that leads meanwhile: it keeps its hands off the claim.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_does_not_cut_what_is_in_flight() {
    let (world, process) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(20)).await;
    world.pleo.script("acme", [Step::normal().delayed_after(seconds(55))]);
    world.next_exchange("acme", minutes(15)).await;
    world
        .server
        .always(|call| call.client == "pod-a" && call.resource == "leases.coordination.k8s.io", Fault::Unreachable);
    world.until("the standby leads", |_| standby.leads() && !process.leads()).await;
    process.terminate();
    sleep(seconds(5)).await;
    assert!(!process.has_ended());
    world.until("the process has ended", |_| process.has_ended()).await;
    assert_eq!(world.ledger("acme")["rotation"], 2);
    world.until("the standby has seen it", is_ready_and_works).await;
    world.next_exchange("acme", minutes(15)).await;
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.exchanges, counters.resent, counters.overlapping), (3, 0, 0));
    assert_eq!(world.lease_holder("pleo-operator"), Some("pod-b_process-2".into()), "nobody released another's Lease");
}

/// The API server is down for ten minutes while a pair is in hand: tried every two seconds at most, stored at last and
/// published. The exchange is not repeated, not by another pod either.
#[tokio::test(start_paused = true)]
async fn a_pair_in_hand_outlives_an_outage_of_the_api_server() {
    let (world, process) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(20)).await;
    world.pleo.script("acme", [Step::normal().delayed_after(seconds(5))]);
    world.next_exchange("acme", minutes(15)).await;
    process.client.cut_off();
    standby.client.cut_off();
    world.server.reset_trace();
    sleep(minutes(10)).await;
    let grant = grant_secret("acme");
    let about_it = |record: &&Record| record.client == "pod-a" && record.name == grant;
    let tries: Vec<Duration> = world.server.trace().iter().filter(about_it).map(|record| record.at).collect();
    let longest = tries.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(
        tries.len() >= 290 && longest <= seconds(2) + Duration::from_millis(50),
        "{} tries, {longest:?}",
        tries.len()
    );

    process.client.restore();
    standby.client.restore();
    sleep(seconds(3)).await;
    assert_eq!(world.ledger("acme")["rotation"], 2, "stored as soon as that is possible");
    world.until("it is published", is_ready_and_works).await;
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.exchanges, counters.resent), (2, 0));
}

/// The next token is due when the pair is stored at last, and what the user wants has changed since: it is not sent on the old look.
#[tokio::test(start_paused = true)]
async fn after_a_commit_that_took_long_nothing_is_sent_before_the_connection_is_read_again() {
    let (world, process) = World::with_acme(seconds(40)).await;
    world.pleo.script("acme", [Step::normal().delayed_after(seconds(5))]);
    world.next_exchange("acme", seconds(40)).await;
    let exchanges = world.pleo.counters("acme").exchanges;
    process.client.cut_off();
    sleep(minutes(1)).await;
    world.edit("acme", json!({"suspend": true})).await;
    sleep(minutes(2)).await;
    process.client.restore();
    world.until("the pair is stored", |world| world.ledger("acme")["rotation"] == exchanges).await;
    sleep(minutes(1)).await;
    assert_eq!(world.pleo.counters("acme").exchanges, exchanges, "it is suspended");
}

/// What the API server does with a commit, and does not tell: the pair is stored once and the exchange is not repeated.
#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_found_to_be_stored() {
    for fault in
        [Fault::AnswerLost, Fault::DoneThenStatus(504), Fault::AnswerLate(seconds(15)), Fault::Late(seconds(15))]
    {
        let (world, _process) = World::with_acme(minutes(15)).await;
        world.server.once(|call| settles(call, "acme"), fault);
        world.next_exchange("acme", minutes(15)).await;
        sleep(seconds(30)).await;
        assert_eq!(world.server.rules_left(), 0);
        assert!(is_ready_and_works(&world), "{fault:?}");
        assert_eq!(world.ledger("acme")["rotation"], 2, "{fault:?}");
        let commits = world.server.trace().iter().filter(|record| record.verb == Verb::Patch && record.changed).count();
        assert!(commits <= 4, "{commits} writes for {fault:?}");
        assert_eq!(world.pleo.counters("acme").exchanges, 2);
    }
}

/// A backup of the same connection is put back in the middle of an exchange. Its pair is spent; the one in hand is newer, and
/// takes its place.
#[tokio::test(start_paused = true)]
async fn a_backup_that_is_put_back_during_an_exchange_does_not_win() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let grant = grant_secret("acme");
    let keys = ["ledger", "refresh_token", "access_token"];
    let backup = keys.map(|key| (key, world.secret(&grant, key).unwrap()));
    world.next_exchange("acme", minutes(15)).await;
    world.until("the second pair is published", is_ready_and_works).await;
    sleep(seconds(1)).await;

    world.pleo.script("acme", [Step::normal().held_after()]);
    world.next_exchange("acme", minutes(15)).await;
    world.put_secret(&grant, &backup.each_ref().map(|(key, text)| (*key, text.as_str()))).await;
    world.pleo.release("acme");

    world
        .until("the third pair is published", |world| {
            world.ledger("acme")["rotation"] == 3 && is_ready_and_works(world)
        })
        .await;
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.rotations, counters.refusals, counters.resent), (4, 0, 0));
}

/// The grant is deleted while an answer is awaited, and a tool puts an earlier consent back: the other replica begins a grant
/// that remembers nothing, and its token is refused. That replaces nothing: the pair in hand is stored.
#[tokio::test(start_paused = true)]
async fn a_consent_that_is_refused_meanwhile_does_not_supersede_a_pair_in_hand() {
    let world = World::new().await;
    world.connect("acme", minutes(15)).await;
    let first = world.secret("acme-grant", "refresh_token").unwrap();
    let _leader = Pod::new(&world, "pod-a").start(&world);
    world.until("the first consent is proved", is_ready_and_works).await;
    world.consent("acme").await;
    world
        .until("the second one, too", |world| world.ledger("acme")["rotation"] == 2 && is_ready_and_works(world))
        .await;
    let _other_leader = Pod::new(&world, "pod-b").with_lease("another").start(&world);
    sleep(seconds(20)).await;

    world.pleo.script("acme", [Step::normal().delayed_after(seconds(40))]);
    world.request_refresh("acme", "now").await;
    world.until("it is under way", |world| world.pleo.exchanged() == 3).await;
    world.put_secret("acme-grant", &[("refresh_token", &first)]).await;
    world.delete_secret(&grant_secret("acme")).await;
    world.until("the old consent is refused", |world| world.ledger("acme")["lastRejection"].is_object()).await;
    assert_eq!(world.pleo.counters("acme").refusals, 1);

    world.until_within(minutes(2), "the pair in hand is stored", is_ready_and_works).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    assert!(is_ready_and_works(&world));
    assert_eq!(world.pleo.counters("acme").refusals, 1, "and the old consent is not sent again");
}

/// Somebody puts a Secret of his own in the place of the grant, in the middle of an exchange. The pair is kept in hand until
/// he takes it away; if the connection goes first, nobody waits for that, and a shutdown ends.
#[tokio::test(start_paused = true)]
async fn a_pair_whose_place_is_taken_is_kept_as_long_as_its_connection_lives() {
    for goes_first in [false, true] {
        let (world, process) = World::with_acme(minutes(15)).await;
        let grant = grant_secret("acme");
        world.pleo.script("acme", [Step::normal().held_after()]);
        world.next_exchange("acme", minutes(15)).await;
        world.delete_secret(&grant).await;
        world.put_secret(&grant, &[("mine", "now")]).await;
        world.pleo.release("acme");
        sleep(minutes(5)).await;
        process.terminate();
        sleep(minutes(1)).await;
        assert!(!process.has_ended(), "a pair is in hand");
        if goes_first {
            world.delete_connection("acme").await;
        } else {
            world.delete_secret(&grant).await;
        }
        world.until_within(seconds(10), "the process has ended", |_| process.has_ended()).await;
        if !goes_first {
            assert_eq!(world.ledger("acme")["rotation"], 2);
            assert!(world.token_works("acme"));
        }
    }
}

/// An API server that loses, delays and refuses a request every now and then costs no grant: every pair that was issued
/// is stored, and no token is sent twice.
#[tokio::test(start_paused = true)]
async fn a_day_of_a_bad_api_server_loses_nothing() {
    let (world, _process) = World::with_acme(minutes(5)).await;
    let _standby = Pod::new(&world, "pod-b").with_lease("another").start(&world);
    world.server.set_faults(Faults::storm());
    sleep(hours(24)).await;
    world.server.set_faults(Faults::default());
    sleep(minutes(10)).await;
    assert!(is_ready_and_works(&world));
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.resent, counters.refusals, counters.overlapping), (0, 0, 0));
    assert_eq!(world.ledger("acme")["rotation"], counters.rotations);
    assert!(counters.rotations > 300, "{} rotations", counters.rotations);
}
