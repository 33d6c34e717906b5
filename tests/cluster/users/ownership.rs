//! Whose grant, whose Secret, whose server: what is not this connection's is not touched, and nothing is sent.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::harness::{Flags, World, condition, finish, told};

/// A Secret of somebody else's stands where ours should: refused before anything is spent, and healed by a rename.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_is_not_touched() {
    let world = World::new("foreign").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.put_secret("acme-token", &[("theirs", "yes")]).await;
    world.connected("acme").await;

    let status = world.until_ready_is("acme", "SecretConflict").await;
    assert_eq!(told(&status, "Stalled"), "True SecretConflict");
    assert_eq!(world.value("acme-token", "theirs").await.as_deref(), Some("yes"));
    assert_eq!(world.sandbox.exchanges().len(), 0);

    world.edit("acme", json!({"spec": {"secretName": "acme-other"}})).await;
    world.until_ready_is("acme", "Refreshed").await;

    // The same for the name of a grant Secret; removing it is enough.
    world.put_secret("pleo-grant-beta", &[("theirs", "yes")]).await;
    world.connected("beta").await;
    world.until_ready_is("beta", "SecretConflict").await;
    assert_eq!(world.sandbox.counters("beta").exchanges, 0);
    world.secrets().delete("pleo-grant-beta", &DeleteParams::default()).await.unwrap();
    world.until_ready_is("beta", "Refreshed").await;
    finish(world).await;
}

/// Two connections that name the same token Secret: the second is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_secret_has_one_connection() {
    let world = World::new("same-secret").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    world.consent("beta").await;
    world.connect("beta", json!({"secretName": "acme-token"})).await;

    world.until_ready_is("beta", "SecretConflict").await;
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// A server that is not on the operator's list: whoever may edit a connection must not be able to have Secrets posted.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_off_the_list_gets_nothing() {
    let world = World::new("off-list").await;
    let _operator = world.operator(&Flags::identity("a"));
    let other = pleo_sandbox::Sandbox::start(pleo_sandbox::Options::default()).unwrap();
    world.consent("acme").await;
    world.connect("acme", json!({"server": {"tokenURL": other.token_url(), "caBundle": other.ca_pem()}})).await;

    let status = world.until_ready_is("acme", "ServerNotAllowed").await;
    assert!(condition(&status, "Ready").unwrap().message.contains(&format!("--allowed-server {}", other.origin())));
    assert_eq!(other.exchanges().len() + world.sandbox.exchanges().len(), 0);
    finish(world).await;
}

/// I8: a grant belongs to its server; pointed elsewhere it is kept, and good again when changed back.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_only_ever_sent_to_its_server() {
    let world = World::new("moved").await;
    let other = pleo_sandbox::Sandbox::start(pleo_sandbox::Options::default()).unwrap();
    let _operator = world.operator(&Flags::identity("a").with("--allowed-server").with(&other.origin()));
    world.consent("acme").await;
    let keep = json!({"secretRef": {"name": "acme-grant"}, "keep": true});
    world.connect("acme", json!({"initialGrant": keep})).await;
    world.until_rotation("acme", 1).await;

    let elsewhere = json!({"tokenURL": other.token_url(), "caBundle": other.ca_pem()});
    world.edit("acme", json!({"spec": {"server": elsewhere}})).await;
    let status = world.until_reauth_is("acme", "ServerChanged").await;
    assert_eq!(told(&status, "Ready"), "True Refreshed", "the access token is as good as before");
    assert_eq!(told(&status, "Stalled"), "True ReauthRequired");
    world.request_refresh("acme", "1").await;

    let back = json!({"tokenURL": world.sandbox.token_url(), "caBundle": world.sandbox.ca_pem()});
    world.edit("acme", json!({"spec": {"server": back}})).await;
    world.until_rotation("acme", 2).await;
    assert_eq!(other.exchanges().len(), 0);
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// Two connections with one consent would kill each other's tokens: the second sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_belongs_to_one_connection() {
    let world = World::new("shared").await;
    let _operator = world.operator(&Flags::identity("a"));
    let token = world.consent("acme").await;
    world.connect("acme", json!({})).await;
    world.until_rotation("acme", 1).await;

    world.put_secret("beta-grant", &[("refresh_token", &token)]).await;
    world.connect("beta", json!({})).await;
    let status = world.until_ready_is("beta", "GrantShared").await;
    assert_eq!(told(&status, "ReauthRequired"), "True NotAuthorized");
    assert!(condition(&status, "Ready").unwrap().message.contains("/acme"), "whose it is");
    assert_eq!(world.sandbox.exchanges().len(), 1);

    world.consent("beta").await;
    world.until_ready_is("beta", "Refreshed").await;
    assert!(world.published_token_is_good("acme").await && world.published_token_is_good("beta").await);
    finish(world).await;
}

/// A namesake of a deleted connection finds the old grant: it is never used, for an old token can kill a living
/// authorization. (No garbage collector runs here; owner references are checked instead.)
#[tokio::test(flavor = "multi_thread")]
async fn the_grant_of_a_deleted_namesake_is_never_used() {
    let world = World::new("namesake").await;
    let _operator = world.operator(&Flags::identity("a"));
    let first = world.consent("acme").await;
    let keep = json!({"initialGrant": {"secretRef": {"name": "acme-grant"}, "keep": true}});
    let old = world.connect("acme", keep.clone()).await;
    world.until_rotation("acme", 1).await;
    for secret in ["acme-token", "pleo-grant-acme"] {
        let owners = world.secrets().get(secret).await.unwrap().metadata.owner_references.unwrap();
        let owners: Vec<_> = owners.iter().map(|owner| owner.uid.as_str()).collect();
        assert_eq!(owners, [old.metadata.uid.as_deref().unwrap()]);
    }

    world.connections().delete("acme", &DeleteParams::default()).await.unwrap();
    world.connect("acme", keep).await;
    let status = world.until_reauth_is("acme", "GrantRestored").await;
    assert_eq!(told(&status, "Ready"), "False ReauthRequired");
    assert_eq!(world.value("acme-token", "access_token").await, None);
    assert_eq!(world.value("acme-grant", "refresh_token").await, Some(first), "and the old consent is old news");
    assert_eq!(world.sandbox.exchanges().len(), 1);

    world.consent("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// An edited grant Secret is left alone; deleting it and consenting anew is the way back. A newer operator's is, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_grant_is_left_alone() {
    let world = World::new("edited").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;

    let edit = json!({"stringData": {"refresh_token": "something-else"}});
    world.secrets().patch("pleo-grant-acme", &PatchParams::default(), &Patch::Merge(edit)).await.unwrap();
    let status = world.until("acme", |status| condition(status, "Stalled").is_some()).await;
    assert_eq!(told(&status, "Stalled"), "True GrantUnreadable");
    assert_eq!(told(&status, "Ready"), "True Refreshed", "until the token ends");
    assert_eq!(world.value("pleo-grant-acme", "refresh_token").await.as_deref(), Some("something-else"));

    let newer = json!({"stringData": {"ledger": "{\"format\":2}"}});
    world.secrets().patch("pleo-grant-acme", &PatchParams::default(), &Patch::Merge(newer)).await.unwrap();
    world
        .until("acme", |status| {
            condition(status, "Stalled").is_some_and(|stalled| stalled.message.contains("upgrade the operator"))
        })
        .await;

    world.secrets().delete("pleo-grant-acme", &DeleteParams::default()).await.unwrap();
    world.consent("acme").await;
    let status = world.until_rotation("acme", 2).await;
    assert_eq!(told(&status, "Stalled"), "-");
    assert!(world.published_token_is_good("acme").await);
    finish(world).await;
}

/// The rights are taken away: nothing is spent, and it goes on by itself when they are back.
#[tokio::test(flavor = "multi_thread")]
async fn storage_that_refuses_is_told_before_anything_is_spent() {
    let world = World::new("refused").await;
    let policy = format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: no-grants-{ns}}}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {ns}}}}}
    resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}}]
  validations: [{{expression: "!object.metadata.name.startsWith('pleo-grant-')", messageExpression: "'no grants here: ' + string(object.data)"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: no-grants-{ns}}}
spec: {{policyName: no-grants-{ns}, validationActions: [Deny]}}
"#,
        ns = world.namespace
    );
    world.cluster.apply(&policy).unwrap();
    world.until_admission_refuses("pleo-grant-probe").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;

    let status = world.until_ready_is("acme", "StorageRefused").await;
    assert_eq!(told(&status, "Stalled"), "True StorageRefused");
    assert_eq!(told(&status, "ReauthRequired"), "Unknown NotTried");
    assert_eq!(world.sandbox.exchanges().len(), 0);

    let delete = ["delete", "validatingadmissionpolicybinding", &format!("no-grants-{}", world.namespace)];
    assert!(world.cluster.kubectl().args(delete).status().unwrap().success());
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}

/// The client Secret may come later, and only an `Opaque` one is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_may_come_later() {
    let world = World::new("late-client").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.consent("acme").await;
    world.connect("acme", json!({"client": {"secretRef": {"name": "late"}}})).await;
    let status = world.until_ready_is("acme", "ClientSecretMissing").await;
    assert_eq!(told(&status, "Stalled"), "-", "a matter of order");
    assert!(condition(&status, "Ready").unwrap().message.contains("late"));

    world.put_secret("late", &[("client_id", "sandbox-client"), ("client_secret", "sandbox-secret")]).await;
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}

/// What the schema cannot catch is told, and mended by an edit.
#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_work_is_told() {
    let world = World::new("bad-spec").await;
    let _operator = world.operator(&Flags::identity("a"));
    world.consent("acme").await;
    world.connect("acme", json!({"server": {"tokenURL": world.sandbox.token_url(), "caBundle": "no PEM"}})).await;
    let status = world.until_ready_is("acme", "InvalidSpec").await;
    assert_eq!(told(&status, "Stalled"), "True InvalidSpec");
    assert!(condition(&status, "Ready").unwrap().message.contains("BEGIN CERTIFICATE"));

    world.edit("acme", json!({"spec": {"server": {"caBundle": world.sandbox.ca_pem()}}})).await;
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}
