//! Silence that lasts: after a refusal (I3), while suspended, and beside a grant that was restored.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use pleo_operator::api::names::grant_secret;
use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::stage::{
    process::{Pod, Process},
    world::{NAMESPACE, World, days, hours, minutes, seconds},
};

const ALL: [&str; 4] = ["refused", "refused-at-first", "suspended", "restored"];

/// Four connections, each waiting for a human in its own way, and the process that looks after them.
async fn waiting_connections() -> (World, Process) {
    let world = World::new().await;
    for name in ALL {
        world.connect(name, minutes(15)).await;
    }
    world.pleo.revoke("refused-at-first");
    let process = Pod::new(&world, "pod-a").start(&world);
    sleep(minutes(1)).await;
    process.stop().await;
    world.pleo.revoke("refused");
    world.edit("suspended", json!({"suspend": true})).await;
    // A namesake that is gone, or a backup: the grant stays, and belongs to another uid.
    world.delete_connection("restored").await;
    world.declare("restored").await;
    let process = Pod::new(&world, "pod-a").start(&world);
    sleep(hours(1)).await;
    (world, process)
}

async fn thirty_days_of_asking(world: &World, mut process: Process) -> Process {
    for day in 0..30 {
        for name in ALL {
            world.request_refresh(name, &format!("day {day}")).await;
        }
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

fn what_is_told(world: &World) -> Vec<[String; 3]> {
    ALL.map(|name| ["Ready", "ReauthRequired", "Stalled"].map(|kind| world.condition(name, kind))).to_vec()
}

/// For 30 days nothing is sent and nothing is written, whatever refresh requests are made, and over restarts. What each
/// of them waits for brings it back at once.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_human_waits_in_silence() {
    let (world, process) = waiting_connections().await;
    let expected = [
        ["False ReauthRequired", "True GrantRefused", "True ReauthRequired"],
        ["False ReauthRequired", "True GrantRefused", "True ReauthRequired"],
        ["False Suspended", "False GrantValid", ""],
        ["False ReauthRequired", "True GrantRestored", "True ReauthRequired"],
    ];
    assert_eq!(what_is_told(&world), expected);
    for (name, state) in ALL.into_iter().zip(["ReauthRequired", "ReauthRequired", "Expired", "ReauthRequired"]) {
        let token = format!("{name}-token");
        assert_eq!(world.secret(&token, "state").as_deref(), Some(state), "{name}");
        assert_eq!(world.secret(&token, "access_token").is_some(), state == "Expired", "{name}");
    }
    assert_eq!(world.secret(&grant_secret("refused"), "refresh_token"), None, "what was refused is wiped");
    world.server.reset_trace();
    let exchanges = world.pleo.exchanged();

    let _process = thirty_days_of_asking(&world, process).await;
    assert_eq!(world.pleo.exchanged(), exchanges);
    assert_eq!(world.writes(), []);
    assert_eq!(what_is_told(&world), expected);

    for name in ["refused", "refused-at-first", "restored"] {
        world.consent(name).await;
    }
    world.edit("suspended", json!({"suspend": false})).await;
    sleep(seconds(5)).await;
    for name in ALL {
        assert!(world.is_ready(name) && world.token_works(name), "{name} is back");
        assert_eq!(world.pleo.counters(name).resent, 0, "{name}");
    }
    assert_eq!(world.pleo.exchanged(), exchanges + ALL.len());
}

/// `invalid_token` has a reason of its own, and is as final.
#[tokio::test(start_paused = true)]
async fn an_invalid_token_is_told_as_such() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let refusal = pleo_sandbox::script::Step::error("invalid_token").with_status(401);
    world.pleo.repeat("acme", refusal);
    world.next_exchange("acme", minutes(15)).await;
    sleep(days(1)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True TokenInvalid");
    assert_eq!(world.pleo.counters("acme").exchanges, 2);
}

/// A bad new consent costs nothing: it is refused once, and the living grant goes on (I9).
#[tokio::test(start_paused = true)]
async fn a_refused_consent_beside_a_living_grant_is_tried_once() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.put_secret("acme-grant", &[("refresh_token", "made up by somebody")]).await;
    sleep(hours(6)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    let strangers = world.pleo.exchanged() - world.pleo.exchanges("acme").len();
    assert_eq!(strangers, 1, "what was made up was sent once");
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// A process with a refusal in hand, which it cannot store.
async fn refused_and_cut_off() -> (World, Process) {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.pleo.script("acme", [Step::error("invalid_grant").delayed_after(seconds(5))]);
    world.next_exchange("acme", minutes(15)).await;
    process.client.cut_off();
    (world, process)
}

/// The API server is away when the refusal comes. Nobody else knows of it, so it is kept until it can be stored, and the token
/// is not sent again (I3).
#[tokio::test(start_paused = true)]
async fn a_refusal_is_remembered_until_it_can_be_stored() {
    let (world, process) = refused_and_cut_off().await;
    sleep(minutes(10)).await;
    process.client.restore();
    let refused = |world: &World| world.condition("acme", "ReauthRequired") == "True GrantRefused";
    world.until("the refusal is told", refused).await;
    sleep(hours(1)).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 2, "the first, and the one that was refused");
}

/// Nobody is held up by it: a process that is to end gives the API server as long as a claim stands.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_cannot_be_stored_does_not_keep_a_process_from_ending() {
    let (world, process) = refused_and_cut_off().await;
    sleep(minutes(5)).await;
    let began = world.server.elapsed();
    process.stop().await;
    assert!(world.server.elapsed() - began < minutes(1), "it was kept for longer than that already");
}

/// Somebody puts a backup back in which the token still lives. The status tells of the refusal, and a backup does not bring
/// a status back: the token is not sent again (I3).
#[tokio::test(start_paused = true)]
async fn a_backup_does_not_revive_a_refused_token() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let secrets: Api<Secret> = Api::namespaced(world.user(), NAMESPACE);
    let mut backup = secrets.get(&grant_secret("acme")).await.unwrap();
    world.pleo.revoke("acme");
    let refused = |world: &World| world.condition("acme", "ReauthRequired") == "True GrantRefused";
    world.until("the refusal is told", refused).await;
    backup.metadata.resource_version = None;
    secrets.replace(&grant_secret("acme"), &PostParams::default(), &backup).await.unwrap();
    world.request_refresh("acme", "now").await;
    sleep(days(1)).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 2, "the first, and the one that was refused");
    assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRestored");

    // A tool that does not overwrite is helped by who deletes the Secret first.
    secrets.delete(&grant_secret("acme"), &DeleteParams::default()).await.unwrap();
    sleep(minutes(1)).await;
    secrets.create(&PostParams::default(), &backup).await.unwrap();
    sleep(days(1)).await;
    assert_eq!(world.pleo.counters("acme").exchanges, 2);

    world.consent("acme").await;
    sleep(minutes(1)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}
