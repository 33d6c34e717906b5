//! I6: idle is quiet. Nothing due means no write at all, and no look either.

use tokio::time::sleep;

use crate::{
    apiserver::Verb,
    stage::{
        process::Pod,
        world::{World, days, hours, is_about_leases, minutes, seconds},
    },
};

/// Between two rotations nothing happens but the Lease: no write, and nobody even looks.
#[tokio::test(start_paused = true)]
async fn between_two_rotations_nothing_is_read_or_written() {
    let (world, _process) = World::with_acme(days(1)).await;
    sleep(hours(12)).await;
    assert_eq!(world.writes(), []);
    assert_eq!(world.looks("acme"), 0);
    assert!(world.token_works("acme"));
}

/// What waits for a change is looked at a few times a day, in case that an event was missed.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_change_is_looked_at_a_few_times_a_day() {
    let (world, _process) = World::with_acme(days(1)).await;
    world.declare("beta").await;
    world
        .until("it says what is missing", |world| world.condition("beta", "Ready") == "False InitialGrantMissing")
        .await;
    world.server.reset_trace();
    sleep(hours(24)).await;
    let looks = world.looks("beta");
    assert!((2..=4).contains(&looks), "{looks} looks");
    let about_beta = |name: &str| name.contains("beta");
    assert!(!world.writes().iter().any(|record| about_beta(&record.name)), "{:?}", world.writes());
}

/// The same for many connections.
#[tokio::test(start_paused = true)]
async fn fifty_idle_connections_are_as_quiet_as_one() {
    let world = World::new().await;
    let names: Vec<String> = (0..50).map(|n| format!("c{n}")).collect();
    for name in &names {
        world.connect(name, days(1)).await;
    }
    let _process = Pod::new(&world, "pod-a").start(&world);
    world.until("all are ready", |world| names.iter().all(|name| world.is_ready(name))).await;
    sleep(seconds(5)).await;
    world.server.reset_trace();
    sleep(hours(12)).await;
    assert_eq!(world.writes(), []);
    assert_eq!(names.iter().map(|name| world.looks(name)).sum::<usize>(), 0);
    assert_eq!(world.pleo.exchanged(), 50);
}

/// A new process looks at every connection once, and writes nothing.
#[tokio::test(start_paused = true)]
async fn a_restart_reads_and_writes_nothing() {
    let (world, process) = World::with_acme(days(1)).await;
    sleep(hours(1)).await;
    let _process = process.stop().await.start(&world);
    sleep(hours(1)).await;
    assert_eq!(world.writes(), []);
    assert_eq!(world.looks("acme"), 1);
}

/// A watch that has to begin anew, because the API server has forgotten its version, brings every object again. That
/// may cost a look for each list, but no write.
#[tokio::test(start_paused = true)]
async fn a_list_that_begins_anew_writes_nothing() {
    let (world, process) = World::with_acme(days(1)).await;
    process.client.cut_off();
    sleep(seconds(10)).await;
    world.consent("somebody-else").await;
    world.server.compact();
    process.client.restore();
    sleep(hours(1)).await;
    let lists = world.server.trace().iter().filter(|record| record.verb == Verb::List).count();
    assert_eq!(lists, 2, "connections and Secrets are listed anew");
    assert_eq!(world.writes(), []);
    assert!(world.looks("acme") <= lists, "{} looks", world.looks("acme"));
}

/// The Lease is all that a replica writes, and no more often than once in an eighth of its length.
#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_without_haste() {
    let (world, _process) = World::with_acme_on(days(1), Pod::with_brief_lease).await;
    sleep(minutes(10)).await;
    let writes = world.server.writes();
    assert!(writes.iter().all(is_about_leases), "{writes:?}");
    assert!((240..=320).contains(&writes.len()), "{} renewals in ten minutes", writes.len());
}

/// What somebody else does to the token Secret is mended at once, from the grant: that costs one write and no exchange.
#[tokio::test(start_paused = true)]
async fn a_token_secret_that_was_deleted_is_made_again() {
    let (world, _process) = World::with_acme(days(1)).await;
    world.delete_secret("acme-token").await;
    sleep(seconds(1)).await;
    assert!(world.token_works("acme"));
    assert_eq!(world.writes().len(), 1, "{:?}", world.writes());
    assert_eq!(world.pleo.exchanged(), 1);
}
