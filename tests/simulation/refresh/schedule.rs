//! I6, the other half: a wake-up is never late. And what a rotation costs.

use std::time::Duration;

use crate::{
    apiserver::{Record, Verb},
    stage::world::{World, hours, minutes, seconds},
};
use pleo_operator::api::names::grant_secret;
use serde_json::json;
use tokio::time::sleep;

/// What may pass between an instant that is due and the exchange: reads, the claim, the way to the server.
const SLACK: Duration = Duration::from_millis(100);

/// How long the tokens were used, one after the other.
fn gaps(world: &World) -> Vec<Duration> {
    let begins = world.pleo.counters("acme").begins;
    begins.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Each exchange begins at the documented instant: 10 % of the life before the end, earlier by up to a tenth of that
/// margin. So before the token ends, and not before half its life.
#[tokio::test(start_paused = true)]
async fn every_rotation_begins_at_the_documented_instant() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    sleep(hours(48)).await;
    let (latest, margin) = (minutes(15) - seconds(90) + SLACK, seconds(90));
    for used in gaps(&world) {
        assert!(used <= latest && used >= minutes(15) - margin.mul_f64(1.1), "a token was used for {used:?}");
    }
    let counters = world.pleo.counters("acme");
    assert!((213..=216).contains(&counters.rotations), "{} rotations in 48 hours", counters.rotations);
    assert_eq!((counters.resent, counters.refusals, counters.overlapping), (0, 0, 0));
    assert!(world.token_works("acme"));
}

/// A margin from the spec is treated in the same way.
#[tokio::test(start_paused = true)]
async fn a_margin_of_the_users_own_is_kept() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.edit("acme", json!({"refreshBefore": "5m"})).await;
    sleep(hours(12)).await;
    for used in gaps(&world) {
        assert!(used <= minutes(10) + SLACK && used >= minutes(10) - seconds(30), "a token was used for {used:?}");
    }
}

/// However short the life: not before half of it, and never less than a second apart.
#[tokio::test(start_paused = true)]
async fn tokens_that_live_for_seconds_are_no_storm() {
    for (life, used_for) in [(seconds(40), seconds(20)), (seconds(6), seconds(3)), (seconds(1), seconds(1))] {
        let (world, _process) = World::with_acme(life).await;
        sleep(seconds(90)).await;
        let gaps = gaps(&world);
        assert!(gaps.len() > 2, "{} rotations", gaps.len());
        for used in gaps {
            assert!(
                used >= used_for - SLACK / 5 && used <= used_for + SLACK,
                "a token of {life:?} was used for {used:?}"
            );
        }
    }
}

/// In the steady state a rotation is four writes (claim, commit, token Secret, status) and one look.
#[tokio::test(start_paused = true)]
async fn a_rotation_costs_four_writes_and_one_look() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.next_exchange("acme", minutes(15)).await;
    sleep(minutes(1)).await;
    world.server.reset_trace();
    let before = world.pleo.counters("acme").rotations;
    sleep(hours(12)).await;
    let rotations = usize::try_from(world.pleo.counters("acme").rotations - before).unwrap();
    assert!(rotations > 50);
    let told = |record: &Record| {
        format!("{:?} {} {}{}", record.verb, record.name, record.subresource, record.code.unwrap_or(0))
    };
    let writes: Vec<String> = world.writes().iter().map(told).collect();
    let grant = grant_secret("acme");
    let expected = [
        format!("Patch {grant} 200"),
        format!("Patch {grant} 200"),
        "Patch acme-token 200".to_owned(),
        "Update acme status200".to_owned(),
    ];
    assert_eq!(writes, vec![expected; rotations].concat());
    assert_eq!(world.looks("acme"), rotations);
    let reads = world
        .server
        .trace()
        .iter()
        .filter(|read| read.verb == Verb::Get && read.resource != "leases.coordination.k8s.io")
        .count();
    assert!(reads <= 5 * rotations, "{reads} reads for {rotations} rotations");
}
