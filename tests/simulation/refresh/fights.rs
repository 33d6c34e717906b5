//! Other programs that insist on what they write: each is answered once, told of, and then answered with minutes in between.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use crate::{
    apiserver::Verb,
    stage::{
        process::Pod,
        world::{NAMESPACE, World, hours, minutes, seconds},
    },
};

/// A program that writes `patch` into a Secret as soon as `is_undone` says so.
fn insists(world: &Arc<World>, secret: &'static str, patch: Value, is_undone: fn(&World) -> bool) -> JoinHandle<()> {
    let (world, api) = (Arc::clone(world), Api::<Secret>::namespaced(world.user(), NAMESPACE));
    tokio::spawn(async move {
        loop {
            if is_undone(&world) {
                let _ = api.patch(secret, &PatchParams::default(), &Patch::Merge(patch.clone())).await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
}

fn writes_to(world: &World, secret: &str) -> usize {
    world.writes().iter().filter(|write| write.name == secret && write.verb == Verb::Patch && write.changed).count()
}

/// External Secrets, or a controller of sealed Secrets, puts an adopted token back each time that it is removed.
#[tokio::test(start_paused = true)]
async fn an_owner_who_insists_on_the_initial_token_is_not_fought() {
    let world = Arc::new(World::new().await);
    world.connect("acme", hours(1)).await;
    let token = world.secret("acme-grant", "refresh_token").unwrap();
    let owner = insists(&world, "acme-grant", json!({"stringData": {"refresh_token": token}}), |world| {
        world.secret("acme-grant", "refresh_token").is_none()
    });
    let _process = Pod::new(&world, "pod-a").start(&world);
    world.until("it is ready", |world| world.is_ready("acme")).await;
    sleep(seconds(20)).await;
    assert_eq!(writes_to(&world, "acme-grant"), 1, "it is removed once");
    let returned: Vec<_> = world
        .server
        .all("events.events.k8s.io")
        .into_iter()
        .filter(|event| event["reason"] == "InitialGrantReturned")
        .collect();
    assert_eq!(returned.len(), 1);
    assert!(returned[0]["note"].as_str().unwrap().contains("spec.initialGrant.keep"), "{returned:?}");

    sleep(minutes(30)).await;
    let removals = writes_to(&world, "acme-grant");
    assert!((2..=5).contains(&removals), "{removals} removals in half an hour");
    owner.abort();
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// The same in the token Secret: pods get what is right at once, and again with each rotation.
#[tokio::test(start_paused = true)]
async fn a_program_that_insists_on_the_token_secret_is_not_fought() {
    let (world, _process) = World::with_acme(hours(1)).await;
    let world = Arc::new(world);
    let mine = json!({"stringData": {"state": "mine"}});
    let program =
        insists(&world, "acme-token", mine, |world| world.secret("acme-token", "state").as_deref() != Some("mine"));
    sleep(seconds(20)).await;
    let repairs = writes_to(&world, "acme-token");
    assert_eq!(repairs, 1, "it is put right once");
    assert_eq!(world.condition("acme", "Ready"), "False SecretConflict");
    assert_eq!(world.condition("acme", "Stalled"), "True SecretConflict");
    let told = |world: &World| world.events("acme").iter().filter(|reason| *reason == "SecretEdited").count();
    assert_eq!(told(&world), 1);
    sleep(minutes(30)).await;
    assert!((2..=6).contains(&writes_to(&world, "acme-token")), "{} repairs", writes_to(&world, "acme-token"));
    assert!(told(&world) <= 4, "{} events", told(&world));

    world.next_exchange("acme", hours(1)).await;
    program.abort();
    let _ = program.await;
    world
        .until_within(hours(1), "it is right again", |world| world.is_ready("acme") && world.token_works("acme"))
        .await;
}

/// A token Secret that is deleted all the time is made again all the time, for pods cannot start without it; but not at once.
#[tokio::test(start_paused = true)]
async fn a_token_secret_that_is_deleted_again_and_again_comes_back() {
    let (world, _process) = World::with_acme(hours(1)).await;
    for _ in 0..5 {
        world.delete_secret("acme-token").await;
        world.until_within(seconds(20), "it is back", |world| world.token_works("acme")).await;
    }
    let creates = world.writes().iter().filter(|write| write.name == "acme-token" && write.changed).count();
    assert_eq!(creates, 5);
}

/// The token Secret is no judge of a grant: a number that another program wrote into it voids nothing.
#[tokio::test(start_paused = true)]
async fn an_edited_rotation_costs_no_grant() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let api = Api::<Secret>::namespaced(world.user(), NAMESPACE);
    let edit = json!({"data": {"access_token": null, "token_type": null, "expires_at": null, "rotation": "OTk5"}});
    api.patch("acme-token", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    world.until_within(seconds(10), "it is repaired", |world| world.token_works("acme")).await;
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme"));
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    assert_eq!(world.status("acme")["rotation"], 1);
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    assert_eq!(world.status("acme")["rotation"], 2);
}
