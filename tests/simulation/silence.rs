//! Silence that users ask for, or that keeps a living authorisation safe.

use crate::{
    process::Pod,
    world::{World, days, hours, minutes, seconds},
};
use serde_json::json;
use tokio::time::sleep;

/// Suspended for 30 days: nothing is sent, whatever is asked. Unset, it goes on at once.
#[tokio::test(start_paused = true)]
async fn a_suspended_connection_sends_nothing() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.edit("acme", json!({"suspend": true})).await;
    sleep(hours(1)).await;
    assert_eq!(world.condition("acme", "Ready"), "False Suspended");
    assert_eq!(world.secret("acme-token", "state").as_deref(), Some("Expired"));
    world.server.reset_trace();
    sleep(days(10)).await;
    world.request_refresh("acme", "please").await;
    let process = process.stop().await.start(&world);
    sleep(days(10)).await;
    let _process = process.kill().start(&world);
    sleep(days(10)).await;
    assert_eq!(world.pleo.exchanged(), 1);
    assert_eq!(world.writes(), []);
    world.edit("acme", json!({"suspend": false})).await;
    sleep(seconds(2)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// A grant of a namesake that is gone, or from a backup, is never used: an old token could kill a living authorisation.
#[tokio::test(start_paused = true)]
async fn a_restored_grant_is_never_used() {
    let (world, process) = World::with_acme(minutes(15)).await;
    process.stop().await;
    world.delete_connection("acme").await;
    world.declare("acme").await;
    let process = Pod::new(&world, "pod-a").start(&world);
    sleep(seconds(10)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRestored");
    assert_eq!(world.secret("acme-token", "access_token"), None);
    world.server.reset_trace();
    sleep(days(15)).await;
    world.request_refresh("acme", "please").await;
    let _process = process.kill().start(&world);
    sleep(days(15)).await;
    assert_eq!(world.pleo.exchanged(), 1);
    assert_eq!(world.writes(), []);
    world.consent("acme").await;
    sleep(seconds(5)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}
