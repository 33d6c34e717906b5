//! Terminal failures, and the way back from each. A refused token is never sent again (I3).

use pleo_sandbox::script::Step;
use serde_json::json;

use crate::harness::{Flags, World, condition, finish, told};

async fn nothing_is_left(world: &World) {
    for key in ["refresh_token", "access_token", "candidate_refresh_token"] {
        assert_eq!(world.value("pleo-grant-acme", key).await, None, "{key} is wiped from the grant");
    }
    assert_eq!(world.value("acme-token", "access_token").await, None);
    assert_eq!(world.value("acme-token", "state").await.as_deref(), Some("ReauthRequired"));
}

/// `invalid_grant`: wiped from both Secrets, silent whatever is asked, and back with a new consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_wiped_and_never_sent_again() {
    let world = World::new("revoked").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.sandbox.revoke("acme");
    world.request_refresh("acme", "1").await;
    let status = world.until_reauth_is("acme", "GrantRefused").await;

    assert_eq!(told(&status, "ReauthRequired"), "True GrantRefused");
    assert_eq!(told(&status, "Ready"), "False ReauthRequired");
    assert_eq!(told(&status, "Stalled"), "True ReauthRequired");
    assert!(condition(&status, "ReauthRequired").unwrap().message.contains("acme-grant"), "the way back is named");
    assert_eq!(status.last_failure.unwrap().reason, "Rejected");
    nothing_is_left(&world).await;

    // Asking does not help, nor does a restart: only another token does.
    world.request_refresh("acme", "2").await;
    world.edit("acme", json!({"spec": {"refreshBefore": "1m"}})).await;
    world.until("acme", |status| status.observed_generation == Some(2)).await;
    world.consent("acme").await;
    let status = world.until_ready_is("acme", "Refreshed").await;
    assert_eq!(told(&status, "ReauthRequired"), "False GrantValid");
    assert_eq!(world.sandbox.counters("acme").exchanges, 3, "the first, the refused one, and the new consent's");
    assert_eq!(world.sandbox.counters("acme").max_presented, 1);
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// `invalid_token`, with 401, is as final.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_is_wiped_too() {
    let world = World::new("invalid-token").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.sandbox.script("acme", vec![Step::error("invalid_token").with_status(401)]);
    world.request_refresh("acme", "1").await;
    world.until_reauth_is("acme", "TokenInvalid").await;

    nothing_is_left(&world).await;
    finish(world).await;
}

/// I9: a new consent that the server refuses costs nothing but itself; and no token is adopted twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_new_consent_never_costs_the_living_grant() {
    let world = World::new("bad-consent").await;
    let _operator = world.operator(&Flags::identity("a"));
    let first = world.consent("acme").await;
    world.connect("acme", json!({})).await;
    world.until_rotation("acme", 1).await;

    world.put_secret("acme-grant", &[("refresh_token", "a-token-that-was-never-issued")]).await;
    let status = world.until("acme", |status| status.last_failure.is_some()).await;
    assert_eq!(told(&status, "Ready"), "True Refreshed");
    assert_eq!(told(&status, "ReauthRequired"), "False GrantValid");
    assert!(
        condition(&status, "Ready").unwrap().message.contains("the new authorization was rejected"),
        "somebody should know"
    );

    // A GitOps tool puts an old token back: it is old news, and is not sent.
    world.put_secret("acme-grant", &[("refresh_token", &first)]).await;
    world.request_refresh("acme", "1").await;
    world.until_rotation("acme", 2).await;
    assert_eq!(world.sandbox.counters("acme").replays, 0);
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// A first consent that is refused asks for another; what cannot be a token is not even sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_consent_that_is_no_good_asks_for_another() {
    let world = World::new("first-bad").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connect("acme", json!({})).await;
    let status = world.until_ready_is("acme", "InitialGrantMissing").await;
    assert_eq!(told(&status, "ReauthRequired"), "True NotAuthorized");
    assert_eq!(told(&status, "Stalled"), "-", "a matter of order");
    assert_eq!(world.value("acme-token", "state").await.as_deref(), Some("Pending"));

    world.put_secret("acme-grant", &[("refresh_token", "two\nlines")]).await;
    let status = world.until_ready_is("acme", "InitialGrantInvalid").await;
    assert_eq!(told(&status, "Stalled"), "True InitialGrantInvalid");
    assert_eq!(world.sandbox.exchanges().len(), 0);

    world.put_secret("acme-grant", &[("refresh_token", "never-issued")]).await;
    world.until_reauth_is("acme", "GrantRefused").await;
    world.consent("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}

/// The answer was lost after rotating: found out with one more exchange, and not the user's doing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_was_lost_on_the_way_is_told_as_such() {
    let world = World::new("lost").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.sandbox.script("acme", vec![Step::answer_lost()]);
    world.request_refresh("acme", "1").await;
    let status = world.until_reauth_is("acme", "RotationLost").await;

    assert!(condition(&status, "ReauthRequired").unwrap().message.contains("not a mistake of yours"));
    assert_eq!(world.sandbox.counters("acme").exchanges, 3, "one lost, one to find out");
    nothing_is_left(&world).await;
    world.consent("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}
