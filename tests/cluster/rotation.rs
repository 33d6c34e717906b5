//! The good days: adoption, rotation, and what they cost.

use serde_json::json;

use crate::harness::{Flags, World, finish, told};

/// A refresh token in a Secret becomes an access token in another, and is removed where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_becomes_a_token_that_the_server_takes() {
    let world = World::new("adoption").await;
    let operator = world.operator(&Flags::identity("a"));
    let first = world.consent("acme").await;
    world.connect("acme", json!({})).await;

    let status = world.until_rotation("acme", 1).await;

    assert_eq!(told(&status, "Ready"), "True Refreshed");
    assert_eq!(told(&status, "ReauthRequired"), "False GrantValid");
    assert_eq!(told(&status, "Stalled"), "-");
    assert!(world.published_token_is_good("acme").await);
    assert_eq!(world.value("acme-token", "state").await.as_deref(), Some("Ready"));
    assert_eq!(world.value("acme-grant", "refresh_token").await, None, "the spent token is removed");
    assert_eq!(world.value("acme-token", "refresh_token").await, None, "pods never see a refresh token");
    assert_ne!(world.value("pleo-grant-acme", "refresh_token").await.unwrap(), first);
    world.scrape(&operator);
    finish(world).await;
}
