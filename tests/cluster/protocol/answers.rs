//! What real servers, gateways and people do: a success that is no 200, an answer that was compressed unasked, a rejection with
//! 403, another client in the Secret, an owner who insists. None of it costs an authorization.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube_runtime::wait::await_condition;
use pleo_operator::plugin::status::next_step;
use pleo_sandbox::script::{Coding, Step};
use serde_json::json;

use crate::harness::{Flags, World, condition, finish, told};

/// I2: in each of these answers is a pair that exists nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_in_another_form_is_taken() {
    let world = World::new("forms").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    let codings = Coding::ALL.map(|coding| Step::pair_coded(&[coding]));
    let steps: Vec<Step> =
        [Step::pair_with_status(201), Step::pair_with_status(203)].into_iter().chain(codings).collect();
    for (step, rotation) in steps.into_iter().zip(2..) {
        let what = format!("{step:?}");
        world.sandbox.script("acme", vec![step]);
        world.request_refresh("acme", &what).await;
        let status = world.until_rotation("acme", rotation).await;
        assert_eq!(told(&status, "Ready"), "True Refreshed", "{what}");
        assert!(world.published_token_is_good("acme").await, "{what}");
    }
    let counters = world.sandbox.counters("acme");
    assert_eq!((counters.resent, counters.replays, counters.refusals), (0, 0, 0));
    finish(world).await;
}

/// X1: a rejection is one, whichever 4xx it comes with.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_with_403_asks_for_a_user() {
    let world = World::new("rejected-403").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    world.sandbox.script("acme", vec![Step::error("invalid_grant").with_status(403)]);
    world.request_refresh("acme", "once").await;
    let status = world.until_reauth_is("acme", "GrantRefused").await;
    assert_eq!(told(&status, "Ready"), "False ReauthRequired");
    assert_eq!(world.value("acme-token", "access_token").await, None);
    finish(world).await;
}

/// I8: nothing is sent as another client, and the old id brings the grant back.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_sends_nothing() {
    let world = World::new("other-client").await;
    let operator = world.operator(&Flags::identity("a"));
    world.sandbox.set_client("other-client", Some("other-secret"));
    world.connected("acme").await;
    world.connected("beta").await;
    world.until_rotation("acme", 1).await;
    world.until_rotation("beta", 1).await;
    let exchanges = world.sandbox.exchanges().len();

    world.put_secret("pleo-client", &[("client_id", "other-client"), ("client_secret", "other-secret")]).await;
    for name in ["acme", "beta"] {
        let status = world.until_reauth_is(name, "ClientChanged").await;
        assert_eq!(
            (told(&status, "Ready"), told(&status, "Stalled")),
            ("True Refreshed".into(), "True ReauthRequired".into())
        );
        let connection = world.connections().get(name).await.unwrap();
        assert!(next_step(&connection).starts_with("Put the old client_id back into the Secret pleo-client"));
        world.request_refresh(name, "in vain").await;
    }
    // A restart looks at everything, and so does whoever leads next.
    assert_eq!(operator.stop().await, 0);
    let _operator = world.operator(&Flags::identity("b"));
    let looks = world.looks(&["acme".to_owned(), "beta".to_owned()]);
    world.until_looked_at(&["acme".to_owned(), "beta".to_owned()], &looks, 1).await;
    assert_eq!(world.sandbox.exchanges().len(), exchanges, "nothing was sent");
    world.put_secret("pleo-client", &[("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")]).await;
    for name in ["acme", "beta"] {
        let status = world.until_rotation(name, 2).await;
        assert_eq!(told(&status, "Ready"), "True Refreshed");
    }
    assert_eq!((world.sandbox.counters("acme").refusals, world.sandbox.counters("beta").refusals), (0, 0));
    finish(world).await;
}

/// What stops the next refresh is told at once, while the token still works.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_that_is_deleted_is_told_with_what_to_do() {
    let world = World::new("no-client").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    world.secrets().delete("pleo-client", &DeleteParams::default()).await.unwrap();
    let status = world.until("acme", |status| condition(status, "Stalled").is_some()).await;
    assert_eq!(
        (told(&status, "Stalled"), told(&status, "Ready")),
        ("True ClientSecretMissing".into(), "True Refreshed".into())
    );
    assert!(world.published_token_is_good("acme").await);
    let connection = world.connections().get("acme").await.unwrap();
    assert!(
        next_step(&connection).starts_with("Create or correct the Secret pleo-client"),
        "{}",
        next_step(&connection)
    );
    world.until_event("ClientSecretMissing").await;

    world.put_secret("pleo-client", &[("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")]).await;
    world.until("acme", |status| condition(status, "Stalled").is_none()).await;
    finish(world).await;
}

/// External Secrets, or a controller of sealed Secrets, writes its Secret again as soon as it was changed.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_insists_is_not_fought() {
    let world = World::new("insists").await;
    let token = world.consent("acme").await;
    let (secrets, name) = (world.secrets(), "acme-grant");
    let owner = tokio::spawn(async move {
        let mine = Patch::Merge(json!({"stringData": {"refresh_token": token}}));
        for _ in 0..5 {
            let is_gone = |secret: Option<&Secret>| {
                secret.is_some_and(|secret| secret.data.as_ref().is_none_or(|data| !data.contains_key("refresh_token")))
            };
            await_condition(secrets.clone(), name, is_gone).await.unwrap();
            secrets.patch(name, &PatchParams::default(), &mine).await.unwrap();
        }
    });
    let _operator = world.operator(&Flags::identity("a"));
    world.connect("acme", json!({})).await;
    world.until_event("InitialGrantReturned").await;
    for rotation in 2..5 {
        world.request_refresh("acme", &format!("request {rotation}")).await;
        world.until_rotation("acme", rotation).await;
    }
    assert!(!owner.is_finished(), "it was fought");
    owner.abort();
    let told = world.events("InitialGrantReturned").await;
    assert!(told.len() == 1 && told[0].contains("spec.initialGrant.keep"), "{told:?}");
    assert!(world.value("acme-grant", "refresh_token").await.is_some());
    assert_eq!(world.sandbox.counters("acme").resent, 0);
    finish(world).await;
}
