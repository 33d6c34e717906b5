//! I3: after a refusal that token is never sent again, and nothing is sent until another token is there.

use crate::{
    process::Process,
    world::{World, days, hours, minutes, seconds},
};
use pleo_operator::api::names::grant_secret;
use pleo_sandbox::script::Step;
use tokio::time::sleep;

async fn thirty_days_of_asking(world: &World, mut process: Process) -> Process {
    for day in 0..30 {
        world.request_refresh("acme", &format!("day {day}")).await;
        sleep(hours(12)).await;
        if day % 10 == 5 {
            process = process.stop().await.start(world);
        }
        if day % 10 == 8 {
            process = process.kill().start(world);
        }
        sleep(hours(12)).await;
    }
    process
}

/// For 30 days nothing is sent and nothing is written, whatever refresh requests are made, and over restarts. A new
/// consent brings the connection back at once.
#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_silent_until_a_new_consent() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.revoke("acme");
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    assert_eq!(world.condition("acme", "Ready"), "False ReauthRequired");
    assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRefused");
    assert_eq!(world.condition("acme", "Stalled"), "True ReauthRequired");
    assert_eq!(world.secret("acme-token", "access_token"), None);
    assert_eq!(world.secret("acme-token", "state").as_deref(), Some("ReauthRequired"));
    assert_eq!(world.secret(&grant_secret("acme"), "refresh_token"), None);
    world.server.reset_trace();
    let exchanges = world.pleo.exchanged();

    let _process = thirty_days_of_asking(&world, process).await;
    assert_eq!(world.pleo.exchanged(), exchanges);
    assert_eq!(world.writes(), []);

    world.consent("acme").await;
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(world.pleo.exchanged(), exchanges + 1);
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// The same for a consent that was refused when it was first tried.
#[tokio::test(start_paused = true)]
async fn a_first_consent_that_is_refused_is_not_tried_again() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.connect("late", minutes(15)).await;
    world.pleo.revoke("late");
    world.until("it is refused", |world| world.condition("late", "ReauthRequired") == "True GrantRefused").await;
    for n in 0..5 {
        world.request_refresh("late", &n.to_string()).await;
        sleep(hours(1)).await;
    }
    let _process = process.stop().await.start(&world);
    sleep(hours(1)).await;
    assert_eq!(world.pleo.counters("late").exchanges, 1);
    world.consent("late").await;
    world.until("it is ready", |world| world.is_ready("late")).await;
}

/// `invalid_token` has a reason of its own.
#[tokio::test(start_paused = true)]
async fn an_invalid_token_is_told_as_such() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.repeat("acme", Step::error("invalid_token").with_status(401));
    world.next_exchange("acme", minutes(15)).await;
    sleep(days(1)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True TokenInvalid");
    assert_eq!(world.pleo.counters("acme").exchanges, 2);
}
