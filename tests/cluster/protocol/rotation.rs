//! The good days: adoption, rotation, and what they cost.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use pleo_sandbox::{
    authority::{Authentication, Client},
    script::Step,
};
use serde_json::json;

use crate::harness::{Flags, World, condition, finish, many_rotating, told};

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
    let metrics = world.scrape(&operator);
    let named = format!("{{namespace=\"{}\",name=\"acme\"}} 1", world.namespace);
    for line in [
        "pleo_leader 1",
        &format!("pleo_connection_ready{named}"),
        "pleo_refresh_attempts_total{outcome=\"success\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    finish(world).await;
}

/// I1, I4, I6: four writes a rotation (claim, commit, token Secret, status), one look, and no token sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn ten_rotations_cost_four_writes_each() {
    let world = World::new("ten").await;
    world.sandbox.set_lifetimes("acme", Duration::from_secs(4), Duration::from_secs(3600));
    let operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;

    world.until_rotation("acme", 11).await;
    assert_eq!(operator.stop().await, 0);

    let rotations = world.sandbox.counters("acme").rotations as usize;
    let status = world.until_rotation("acme", rotations as i64).await;
    assert_eq!(status.rotation, Some(rotations as i64), "what was drained is told");
    let count = |what: &str| world.writes().iter().filter(|write| *write == what).count();
    assert_eq!(
        count("patch secrets/ pleo-grant-acme"),
        2 * rotations,
        "a claim and a commit each: {:#?}",
        world.writes()
    );
    assert_eq!(count("patch secrets/ acme-token"), rotations);
    // One more for an exchange that takes over 2 s, which only a busy machine makes of it.
    let statuses = count("update pleoconnections/status acme");
    assert!((rotations..rotations + 3).contains(&statuses), "{statuses} for {rotations}");
    // The empty token Secret, the adoption, and the spent token that is removed.
    assert_eq!(world.writes().len(), 3 * rotations + statuses + 3, "{:#?}", world.writes());
    let looks = world.looks(&["acme".to_owned()]);
    assert!(looks[0] <= rotations + 6, "own writes cost a look: {looks:?} for {rotations}");

    let counters = world.sandbox.counters("acme");
    assert_eq!((counters.resent, counters.replays, counters.overlapping), (0, 0, 0));
    // Half a life of 4 s apart; what a busy machine may take from that is not the operator's.
    let spaced = counters.begins.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1));
    assert!(spaced, "{:?}", counters.begins);
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// The annotation asks for one refresh, and is echoed.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_request_is_answered_once() {
    let world = World::new("request").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.request_refresh("acme", "please").await;
    let status = world.until("acme", |status| status.last_handled_refresh_request.as_deref() == Some("please")).await;

    assert_eq!(status.rotation, Some(2));
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// While suspended nothing is sent; the request waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_connection_sends_nothing() {
    let world = World::new("suspend").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.edit("acme", json!({"spec": {"suspend": true}})).await;
    let status = world.until("acme", |status| status.observed_generation == Some(2)).await;
    assert_eq!(told(&status, "Ready"), "True Refreshed", "the token is as good as before");
    assert!(condition(&status, "Ready").unwrap().message.contains("spec.suspend"));
    world.request_refresh("acme", "later").await;
    world.edit("acme", json!({"spec": {"suspend": false}})).await;
    world.until_rotation("acme", 2).await;

    assert_eq!(world.sandbox.counters("acme").exchanges, 2);
    finish(world).await;
}

/// I4: whatever somebody does to the token Secret, it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn drift_of_the_token_secret_is_repaired_without_an_exchange() {
    let edits = [
        json!({"stringData": {"access_token": "old-token"}}),
        json!({"stringData": {"extra": "key"}}),
        json!({"data": {"state": null}}),
        json!({"metadata": {"labels": {"pleo.io/x": "kept"}, "ownerReferences": null}, "stringData": {"rotation": "99"}}),
    ];
    // One for each: a program that does it twice within minutes waits for its repair.
    let (world, _operator, names) = many_rotating("drift", edits.len()).await;
    for (name, edit) in names.iter().zip(edits) {
        let (secrets, token) = (world.secrets(), format!("{name}-token"));
        let good = world.value(&token, "access_token").await.unwrap();
        let edited = secrets.patch(&token, &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
        world.until_secret_changes(&token, &edited).await;
        assert_eq!(world.value(&token, "access_token").await, Some(good));
        assert_eq!(world.value(&token, "extra").await, None);
    }
    let last = names.last().unwrap();
    let token = format!("{last}-token");
    let good = world.value(&token, "access_token").await.unwrap();
    let repaired = world.secrets().get(&token).await.unwrap();
    assert_eq!(
        repaired.metadata.labels.unwrap().get("pleo.io/x").map(String::as_str),
        Some("kept"),
        "others' labels are theirs"
    );
    assert_eq!(repaired.metadata.owner_references.unwrap().len(), 1);
    world.secrets().delete(&token, &DeleteParams::default()).await.unwrap();
    world.until_secret(&token, "access_token", move |token| token == Some(good.as_str())).await;

    for name in &names {
        assert_eq!(world.sandbox.counters(name).exchanges, 1, "{name}");
    }
    finish(world).await;
}

/// A renamed token Secret: the new one first, then the old one goes.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_token_secret_replaces_the_old_one() {
    let world = World::new("rename").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    world.edit("acme", json!({"spec": {"secretName": "renamed", "secretTemplate": {"labels": {"team": "x"}, "annotations": {"a/b": "c"}}}})).await;
    world.until("acme", |status| status.secret_name.as_deref() == Some("renamed")).await;

    let token = world.value("renamed", "access_token").await.unwrap();
    assert_eq!(world.sandbox.access_is_good(&token).as_deref(), Some("acme"));
    let renamed = world.secrets().get("renamed").await.unwrap();
    assert_eq!(renamed.metadata.labels.unwrap().get("team").map(String::as_str), Some("x"));
    assert!(world.secrets().get_opt("acme-token").await.unwrap().is_none());
    finish(world).await;
}

/// HTTP Basic, a public client, a key of another name, a trailing newline, and a token that stays.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_declaring_a_client_and_a_grant_works() {
    let world = World::new("ways").await;
    let _operator = world.operator(&Flags::identity("a"));
    let awkward = "id:+%& \u{7e}";
    world.sandbox.set_client(awkward, Some("s+e/c=r%e&t:x\"y"));
    world.put_secret("awkward", &[("client_id", awkward), ("client_secret", "s+e/c=r%e&t:x\"y\n")]).await;
    for (name, authentication) in [("basic", "Basic"), ("body", "Body")] {
        let token = world.sandbox.consent_to(name, awkward);
        world.put_secret(&format!("{name}-grant"), &[("other", &format!("{token}\n"))]).await;
        let initial = json!({"secretRef": {"name": format!("{name}-grant"), "key": "other"}, "keep": true});
        let client = json!({"secretRef": {"name": "awkward"}, "authentication": authentication});
        world.connect(name, json!({"client": client, "initialGrant": initial})).await;
    }
    world.sandbox.set_client("public", None);
    world.put_secret("public", &[("client_id", "public")]).await;
    let token = world.sandbox.consent_to("public", "public");
    world.put_secret("public-grant", &[("refresh_token", &token)]).await;
    world.connect("public", json!({"client": {"secretRef": {"name": "public"}}})).await;

    for name in ["basic", "body", "public"] {
        world.until_ready_is(name, "Refreshed").await;
        assert!(world.published_token_is_good(name).await, "{name}");
    }
    assert!(world.value("basic-grant", "other").await.is_some(), "keep: true leaves the token in place");
    finish(world).await;
}

/// A connection that names no method finds the one that the server takes, once, and goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn the_method_that_the_server_takes_is_found_once() {
    for (accepts, method, requests) in [(Authentication::Basic, "Basic", 1), (Authentication::Body, "Body", 2)] {
        let world = World::new(&format!("takes-{}", method.to_lowercase())).await;
        let client = Client { authentications: vec![accepts], ..Client::new(Some("sandbox-secret".into())) };
        world.sandbox.replace_client("sandbox-client", client);
        let _operator = world.operator(&Flags::identity("a"));
        world.connected("acme").await;
        let status = world.until_rotation("acme", 1).await;
        assert_eq!(status.client_authentication.as_deref(), Some(method));
        assert_eq!(world.sandbox.exchanges().len(), requests, "{method}");

        world.request_refresh("acme", "please").await;
        world.until_rotation("acme", 2).await;
        assert_eq!(world.sandbox.exchanges().len(), requests + 1, "{method}: the other one is not tried again");
        assert!(world.published_token_is_good("acme").await);
        finish(world).await;
    }
}

/// I3: an answer is lost after the server rotated. The introspection endpoint says so, and the used token is not presented.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_token_is_asked_about_and_not_presented() {
    let world = World::new("asked").await;
    let operator = world.operator(&Flags::identity("a"));
    world.consent("acme").await;
    let mut server = world.declaration("acme", json!({}))["spec"]["server"].clone();
    server["introspectionURL"] = format!("{}/introspect", world.sandbox.token_url()).into();
    world.connect("acme", json!({"server": server})).await;
    world.until_rotation("acme", 1).await;
    world.until_counted(&operator, r#"pleo_introspections_total{outcome="active"} 1"#).await;

    world.sandbox.script("acme", vec![Step::answer_lost()]);
    world.request_refresh("acme", "please").await;
    let status = world.until_reauth_is("acme", "RotationLost").await;
    let why = status.last_failure.expect("a failure").message;
    assert!(why.contains("inactive") && why.contains("not sent"), "{why}");
    let counters = world.sandbox.counters("acme");
    assert_eq!((counters.exchanges, counters.resent, counters.families_killed), (2, 0, 0));
    assert!(operator.get("/metrics").contains(r#"pleo_introspections_total{outcome="inactive"} 2"#));
    finish(world).await;
}

/// A rotation that is announced by the server's own clock: a token is replaced before it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_replaced_before_it_ends() {
    let world = World::new("before").await;
    world.sandbox.set_lifetimes("acme", Duration::from_secs(6), Duration::from_secs(3600));
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 3).await;

    for pair in world.sandbox.exchanges().windows(2) {
        assert!(pair[1].began_at < pair[0].began_at + Duration::from_secs(6), "the pods' token had ended");
    }
    finish(world).await;
}
