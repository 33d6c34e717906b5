//! The instant of sending: within ten seconds of the claim's beginning by both clocks, and within the Lease. Else
//! nothing is sent, and the token is unspent.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    apiserver::Fault,
    stage::{
        process::{Pod, Process},
        world::{World, claims, minutes, seconds},
    },
};

/// Waits until the claim of the next rotation is stored.
async fn claimed(world: &World) {
    world.until("the claim is stored", |world| world.ledger("acme")["claim"].is_object()).await;
}

/// The attempt was given up as one that was not sent. The next, under a claim of its own, goes through.
async fn not_sent_and_then_sent(world: &World) {
    let failed = |world: &World| world.ledger("acme")["lastFailure"]["reason"] == "NotSent";
    world.until("the attempt is given up", failed).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 1, "nothing was sent under a claim that was too old");
    world.until("it rotates", |world| world.pleo.counters("acme").rotations == 2).await;
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.exchanges, counters.resent), (2, 0));
}

/// A node that was suspended for a minute after the claim: the wall clock has jumped, the monotonic one has not noticed.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_suspended_after_its_claim_sends_nothing() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.server.once(|call| claims(call, "acme"), Fault::AnswerLate(seconds(2)));
    claimed(&world).await;
    process.pod.clock.jump(60);
    not_sent_and_then_sent(&world).await;
}

/// The same while the connection to the server is being made: the fence is asked once more when it stands.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_suspended_while_connecting_sends_nothing() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.set_connecting(seconds(3));
    claimed(&world).await;
    sleep(seconds(1)).await;
    process.pod.clock.jump(60);
    world.pleo.set_connecting(Duration::ZERO);
    not_sent_and_then_sent(&world).await;
}

/// An API server that takes its time to store the claim, or a server that takes its time to let us connect.
#[tokio::test(start_paused = true)]
async fn a_claim_that_has_become_too_old_is_not_used() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.server.once(|call| claims(call, "acme"), Fault::AnswerLate(seconds(9)));
    world.pleo.set_connecting(seconds(2));
    claimed(&world).await;
    sleep(seconds(10)).await;
    world.pleo.set_connecting(Duration::ZERO);
    not_sent_and_then_sent(&world).await;
}

async fn with_lease_of_six_seconds() -> (World, Process) {
    World::with_acme_on(minutes(15), |pod| Pod { lease_duration: seconds(6), ..pod }).await
}

/// The Lease is lost between claim and send: whoever leads now must not be raced.
#[tokio::test(start_paused = true)]
async fn a_lease_lost_after_the_claim_stops_the_sending() {
    let (world, process) = with_lease_of_six_seconds().await;
    world.pleo.set_connecting(seconds(8));
    claimed(&world).await;
    process.client.cut_off();
    sleep(seconds(9)).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 1);
    world.pleo.set_connecting(Duration::ZERO);
    process.client.restore();
    not_sent_and_then_sent(&world).await;
}
