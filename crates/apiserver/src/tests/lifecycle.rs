//! What cannot change, and how objects go: deletion, finalizers, garbage.

use kube::{
    api::{DeleteParams, Preconditions},
    core::Resource,
};

use super::*;

#[tokio::test(start_paused = true)]
async fn fields_of_a_secret_that_cannot_change() {
    let server = ApiServer::new(1);
    let client = server.client("user");
    create(&client, "grant", &[]).await;
    let typed = merge(&client, "grant", json!({"type": "pleo.io/grant"})).await;
    assert_eq!(refusal(typed), (422, "Invalid".into()));
    merge(&client, "grant", json!({"immutable": true})).await.unwrap();
    let data = merge(&client, "grant", json!({"stringData": {"key": "other"}})).await;
    assert_eq!(refusal(data), (422, "Invalid".into()));
    merge(&client, "grant", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deleting_under_conditions() {
    let server = ApiServer::new(1);
    let client = server.client("user");
    let made = create(&client, "grant", &[]).await;
    let only = |uid: Option<&str>, resource_version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid: uid.map(Into::into), resource_version }),
        ..DeleteParams::default()
    };
    merge(&client, "grant", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    let wrong = secrets(&client).delete("grant", &only(Some("another"), None)).await;
    assert_eq!(refusal(wrong), (409, "Conflict".into()));
    let old = secrets(&client).delete("grant", &only(None, Some(version(&made)))).await;
    assert_eq!(refusal(old), (409, "Conflict".into()));
    let right = secrets(&client).delete("grant", &only(made.metadata.uid.as_deref(), None)).await.unwrap();
    assert!(right.is_right(), "the answer to a deletion that is done is a Status");
    assert_eq!(refusal(secrets(&client).delete("grant", &Default::default()).await).0, 404);
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object() {
    let server = ApiServer::new(1);
    let client = server.client("user");
    create(&client, "held", &[]).await;
    merge(&client, "held", json!({"metadata": {"finalizers": ["acme/wait"]}})).await.unwrap();
    let waiting = secrets(&client).delete("held", &Default::default()).await.unwrap().left().unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    merge(&client, "held", json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert_eq!(server.object("secrets", "acme", "held"), None);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_what_has_lost_all_its_owners() {
    let server = ApiServer::new(1);
    let client = server.client("user");
    let owner = connections(&client).create(&PUT, &connection("acme", json!({}))).await.unwrap();
    let owned = |name: &str, owner: &Value| {
        let mut secret = secret(name, &[]);
        secret.metadata.owner_references = Some(vec![serde_json::from_value(owner.clone()).unwrap()]);
        secret
    };
    let living = json!(owner.controller_owner_ref(&connection_type()).unwrap());
    let grant = secrets(&client).create(&PUT, &owned("grant", &living)).await.unwrap();
    let of_grant = json!(grant.controller_owner_ref(&()).unwrap());
    secrets(&client).create(&PUT, &owned("of-grant", &of_grant)).await.unwrap();
    let mut namesake = living.clone();
    namesake["uid"] = json!("of one that was deleted");
    secrets(&client).create(&PUT, &owned("stray", &namesake)).await.unwrap();
    create(&client, "free", &[]).await;

    assert_eq!(server.collect_garbage().into_iter().map(|key| key.name).collect::<Vec<_>>(), ["stray"]);
    connections(&client).delete("acme", &Default::default()).await.unwrap();
    let gone: Vec<String> = server.collect_garbage().into_iter().map(|key| key.name).collect();
    assert_eq!(gone, ["grant", "of-grant"]);
    assert_eq!(server.all("secrets").len(), 1);
}
