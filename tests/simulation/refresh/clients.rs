//! I8: a token belongs to the client that it was issued to. Whatever the client Secret says meanwhile, nothing is sent as
//! another one, nothing is lost, and the old id brings it back.

use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    links::{
        browser::{Browser, PUBLIC},
        visits::{dead_acme, link},
    },
    stage::{
        pleo::{CLIENT_ID, CLIENT_SECRET, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET},
        process::Pod,
        world::{CLIENT, World, days, minutes, seconds},
    },
};

async fn put_client(world: &World, id: &str, secret: &str) {
    world.put_secret(CLIENT, &[("client_id", id), ("client_secret", secret)]).await;
}

/// Another id for as long as it stays: nothing is sent, and the connection asks for a user while its token still works.
#[tokio::test(start_paused = true)]
async fn another_client_sends_nothing_and_the_old_id_brings_the_grant_back() {
    let (world, process) = World::with_acme(minutes(15)).await;
    let exchanges = world.pleo.exchanged();
    put_client(&world, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET).await;
    world.until("it is seen", |world| world.condition("acme", "ReauthRequired") == "True ClientChanged").await;
    assert!(world.is_ready("acme"), "the token still works");
    assert_eq!(world.condition("acme", "Stalled"), "True ReauthRequired");
    assert!(world.events("acme").contains(&"ClientChanged".to_owned()));

    sleep(days(1)).await;
    let process = process.stop().await.start(&world);
    world.request_refresh("acme", "now").await;
    sleep(days(1)).await;
    assert_eq!(world.condition("acme", "Ready"), "False ReauthRequired");
    assert_eq!(world.pleo.exchanged(), exchanges, "nothing was sent");

    put_client(&world, CLIENT_ID, CLIENT_SECRET).await;
    world.until_within(minutes(1), "it is back", |world| world.is_ready("acme") && world.token_works("acme")).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "False GrantValid");
    assert_eq!((world.pleo.counters("acme").refusals, world.pleo.counters("acme").families), (0, 1));
    drop(process);
}

/// The same where the spec names another Secret.
#[tokio::test(start_paused = true)]
async fn another_secret_with_another_client_sends_nothing_either() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    let exchanges = world.pleo.exchanged();
    let other = [("client_id", OTHER_CLIENT_ID), ("client_secret", OTHER_CLIENT_SECRET)];
    world.put_secret("other-client", &other).await;
    world.edit("acme", json!({"client": {"secretRef": {"name": "other-client"}}})).await;
    sleep(minutes(30)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True ClientChanged");
    assert_eq!(world.pleo.exchanged(), exchanges);
    world.edit("acme", json!({"client": {"secretRef": {"name": CLIENT}}})).await;
    world.until_within(minutes(1), "it is back", |world| world.is_ready("acme")).await;
}

/// A new secret of the same client is no other client.
#[tokio::test(start_paused = true)]
async fn a_client_secret_that_was_rotated_changes_nothing() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.set_client_secret("rotated");
    put_client(&world, CLIENT_ID, "rotated").await;
    world.next_exchange("acme", minutes(15)).await;
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// A new authorization for the new client replaces the grant, by either way in.
#[tokio::test(start_paused = true)]
async fn a_new_authorization_replaces_the_grant_of_another_client() {
    let (world, process) = World::with_acme_on(minutes(15), |pod| pod.with_pages(PUBLIC)).await;
    world.pleo.allow_redirect(&format!("{PUBLIC}/callback"));
    put_client(&world, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET).await;
    world.until("there is a link", |world| link(world).is_some()).await;
    let pages = process.pages.clone().unwrap();
    let mut user = Browser::default();
    let there = user.open(&pages, &link(&world).unwrap()).await;
    assert_eq!(user.come_back(&pages, &world.pleo.allow(&there, "acme")).await.title(), "Connected");
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));

    put_client(&world, CLIENT_ID, CLIENT_SECRET).await;
    world.until("it is seen", |world| world.condition("acme", "ReauthRequired") == "True ClientChanged").await;
    world.consent("acme").await;
    world.until("it is back", |world| world.condition("acme", "ReauthRequired") == "False GrantValid").await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// A mistyped id that is corrected before anything was accepted costs nothing: be it an id that the server does not know, or
/// that of another client.
#[tokio::test(start_paused = true)]
async fn a_mistyped_id_costs_no_consent() {
    for (id, secret, told, expected) in [
        ("sandbox-clietn", CLIENT_SECRET, "False InvalidClient", 3),
        (OTHER_CLIENT_ID, OTHER_CLIENT_SECRET, "False ReauthRequired", 2),
    ] {
        let world = World::new().await;
        put_client(&world, id, secret).await;
        world.connect("acme", minutes(15)).await;
        let _process = Pod::new(&world, "pod-a").start(&world);
        world.until("it is told", |world| world.condition("acme", "Ready") == told).await;
        put_client(&world, CLIENT_ID, CLIENT_SECRET).await;
        world.until_within(minutes(1), "it works", |world| world.is_ready("acme") && world.token_works("acme")).await;
        assert_eq!(world.pleo.exchanged(), expected, "once for each client, and method that was tried");
    }
}

/// A token that the server may have accepted stays with the client that presented it.
#[tokio::test(start_paused = true)]
async fn a_consent_in_doubt_stays_with_its_client() {
    let world = World::new().await;
    world.connect("acme", minutes(15)).await;
    world.pleo.script("acme", [Step::answer_lost()]);
    let _process = Pod::new(&world, "pod-a").start(&world);
    world
        .until("it is in doubt", |world| world.ledger("acme")["candidate"]["attempts"]["outcomeUnknown"] == true)
        .await;
    put_client(&world, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET).await;
    sleep(minutes(10)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True ClientChanged");
    assert_eq!(world.pleo.exchanged(), 1);
}

/// So does one whose holder died right after its claim.
#[tokio::test(start_paused = true)]
async fn a_consent_whose_holder_died_stays_with_its_client() {
    let world = World::new().await;
    world.connect("acme", minutes(15)).await;
    world.pleo.script("acme", [Step::normal().held_after()]);
    let process = Pod::new(&world, "pod-a").start(&world);
    world.until("it was sent", |world| world.pleo.exchanged() == 1).await;
    let pod = process.kill();
    put_client(&world, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET).await;
    let _process = pod.start(&world);
    sleep(minutes(10)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True ClientChanged");
    assert_eq!(world.pleo.exchanged(), 1);
}

/// The client Secret changes while a user is at the server: the code was issued to the client of the link.
#[tokio::test(start_paused = true)]
async fn a_code_is_only_exchanged_by_the_client_of_its_link() {
    let (world, process) = dead_acme().await;
    let (pages, mut user) = (process.pages.clone().unwrap(), Browser::default());
    let there = user.open(&pages, &link(&world).unwrap()).await;
    put_client(&world, OTHER_CLIENT_ID, OTHER_CLIENT_SECRET).await;
    let exchanges = world.pleo.exchanged();
    let callback = world.pleo.allow(&there, "acme");
    assert_eq!(user.get(&pages, &callback).await.status, 303);
    sleep(seconds(20)).await;
    assert_eq!(world.pleo.exchanged(), exchanges, "nothing was sent");
    put_client(&world, CLIENT_ID, CLIENT_SECRET).await;
    world.until_within(seconds(10), "it is back", |world| world.is_ready("acme") && world.token_works("acme")).await;
}

/// What stops the next refresh is seen while the token still works, and its end is seen at once.
#[tokio::test(start_paused = true)]
async fn a_client_secret_that_is_deleted_is_told_at_once() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.delete_secret(CLIENT).await;
    world.until_within(seconds(10), "it is seen", |world| !world.condition("acme", "Stalled").is_empty()).await;
    assert_eq!(world.condition("acme", "Stalled"), "True ClientSecretMissing");
    assert!(world.is_ready("acme") && world.token_works("acme"), "the token still works");
    let warned = world.server.all("events.events.k8s.io");
    assert!(warned.iter().any(|event| event["reason"] == "ClientSecretMissing" && event["type"] == "Warning"));

    put_client(&world, CLIENT_ID, CLIENT_SECRET).await;
    world.until_within(seconds(10), "it is seen", |world| world.condition("acme", "Stalled").is_empty()).await;
    world.next_exchange("acme", minutes(15)).await;
}
