//! I7, and few authorizations lost: a server that does not answer, and then rejects every token that it is shown.

use std::time::Duration;

use pleo_sandbox::script::{ANY, Step};
use tokio::time::sleep;

use crate::stage::{
    process::{Pod, Process},
    world::{World, minutes, seconds},
};

fn name(number: usize) -> String {
    format!("c{number}")
}

/// So many connections with tokens of a quarter of an hour, all refreshed once.
async fn fleet(count: usize) -> (World, Process) {
    let world = World::new().await;
    for number in 0..count {
        world.connect(&name(number), minutes(15)).await;
    }
    let process = Pod::new(&world, "pod-a").start(&world);
    until_ready(&world, count, count).await;
    (world, process)
}

/// Waits until so many of them are ready: a look at all of them takes its time.
async fn until_ready(world: &World, wanted: usize, count: usize) {
    for _ in 0..600 {
        if ready(world, count) == wanted {
            return;
        }
        sleep(seconds(1)).await;
    }
    panic!("{} of {count} are ready", ready(world, count));
}

fn lost(world: &World, count: usize) -> usize {
    (0..count).filter(|number| world.condition(&name(*number), "ReauthRequired").starts_with("True")).count()
}

fn ready(world: &World, count: usize) -> usize {
    (0..count).filter(|number| world.is_ready(&name(*number))).count()
}

#[tokio::test(start_paused = true)]
async fn a_bad_day_costs_few_of_six_hundred_authorizations_and_the_rest_heals_without_a_user() {
    let (world, _process) = fleet(600).await;
    sleep(minutes(12)).await;
    world.pleo.repeat(ANY, Step::status(503));
    sleep(minutes(2)).await;
    world.pleo.repeat(ANY, Step::error("invalid_grant"));
    sleep(minutes(10)).await;
    assert_eq!(ready(&world, 600), 0, "all tokens have expired by now");
    world.pleo.behave(ANY);
    let lost = lost(&world, 600);
    assert!(lost <= 25, "{lost} of 600 need a user");
    until_ready(&world, 600 - lost, 600).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_held_says_so_once_its_token_has_expired_and_asks_no_user() {
    let (world, _process) = fleet(60).await;
    world.pleo.repeat(ANY, Step::error("invalid_grant"));
    sleep(minutes(14)).await;
    world.server.reset_trace();
    sleep(minutes(2)).await;
    let held: Vec<String> =
        (0..60).map(name).filter(|name| world.condition(name, "ReauthRequired") == "False GrantValid").collect();
    assert!(held.len() >= 35, "{} of 60 are held", held.len());
    for name in &held {
        assert_eq!(world.condition(name, "Ready"), "False ServerRefusing");
        assert_eq!(world.secret(&format!("{name}-token"), "state").as_deref(), Some("Expired"));
    }
    let written = world.writes().len();
    assert!(written <= 3 * held.len() + 12, "{written} writes for {} that are held, and a probe", held.len());
    // The probes come ever more rarely.
    sleep(minutes(5)).await;
    world.server.reset_trace();
    sleep(minutes(5)).await;
    assert_eq!(world.writes(), [], "I6: a server that is closed is not worth a write");
}

#[tokio::test(start_paused = true)]
async fn one_refresh_request_that_is_accepted_opens_the_server_for_all() {
    let (world, _process) = fleet(60).await;
    world.pleo.repeat(ANY, Step::error("invalid_grant"));
    sleep(minutes(20)).await;
    let held: Vec<String> =
        (0..60).map(name).filter(|name| world.condition(name, "Ready") == "False ServerRefusing").collect();
    world.pleo.behave(ANY);
    world.request_refresh(&held[0], "now").await;
    let all = |world: &World| held.iter().all(|name| world.is_ready(name));
    world.until_within(seconds(10), "all that were held are ready", all).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_counts_what_the_old_one_met() {
    let (world, process) = fleet(60).await;
    world.pleo.repeat(ANY, Step::error("invalid_grant"));
    world.until("the server is held", |world| lost(world, 60) >= 5).await;
    sleep(seconds(30)).await;
    let before = lost(&world, 60);
    let _process = process.kill().start(&world);
    sleep(minutes(5)).await;
    let after = lost(&world, 60);
    assert!(after <= before + 5, "{before} lost before, {after} after");
}

#[tokio::test(start_paused = true)]
async fn a_new_authorization_is_not_held() {
    let (world, _process) = fleet(60).await;
    world.pleo.repeat(ANY, Step::error("invalid_grant"));
    sleep(minutes(20)).await;
    let lost: String =
        (0..60).map(name).find(|name| world.condition(name, "ReauthRequired").starts_with("True")).unwrap();
    // Only new tokens are good today.
    world.pleo.script(&lost, [Step::normal()]);
    world.consent(&lost).await;
    world.until_within(seconds(10), "it works again", |world| world.is_ready(&lost)).await;
    let (before, others) = (world.pleo.counters(&name(59)).exchanges, Duration::from_secs(30));
    sleep(others).await;
    assert_eq!(world.pleo.counters(&name(59)).exchanges, before, "which shows nothing of the old tokens");
}
