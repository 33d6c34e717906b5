//! What is peculiar to Secrets: `stringData`, the type, immutability, and what may stand in one.

use serde_json::{Value, json};

use crate::support::{
    kinds::{SECRET, with},
    server::same_on_both,
};

fn of_type(name: &str, kind: Value) -> Value {
    with(&SECRET.named(name), "/type", kind)
}

#[tokio::test]
async fn plain_texts_become_data_and_win_over_it() {
    same_on_both(async |server| {
        let both = with(&SECRET.named("a"), "/stringData", json!({"key": "plain", "other": "text", "empty": ""}));
        let made = server.create(SECRET, &both).await.is("201");
        assert_eq!(made["data"], json!({"key": "cGxhaW4=", "other": "dGV4dA==", "empty": ""}));
        server.patch(SECRET, "a", json!({"stringData": {"key": "again"}})).await.is("200");
        let same = server.patch(SECRET, "a", json!({"stringData": {"key": "again"}})).await.is("200");
        server.put(SECRET, &with(&same, "/stringData", json!({"more": "ü"}))).await.is("200");
        server.create(SECRET, &with(&with(&both, "/data", json!(null)), "/metadata/name", json!("b"))).await.is("201");
    })
    .await;
}

#[tokio::test]
async fn a_secret_without_a_type_is_opaque() {
    same_on_both(async |server| {
        let made = server.create(SECRET, &of_type("a", json!(null))).await.is("201");
        assert_eq!(made["type"], "Opaque");
        server.create(SECRET, &of_type("b", json!(""))).await.is("201");
        server.put(SECRET, &with(&made, "/type", json!(null))).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn the_type_of_a_secret_never_changes() {
    same_on_both(async |server| {
        let made = server.create(SECRET, &of_type("a", json!("pleo.io/grant"))).await.is("201");
        server.put(SECRET, &with(&made, "/type", json!("Opaque"))).await.is("422 Invalid");
        server.put(SECRET, &with(&made, "/type", json!(null))).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"type": "Opaque"})).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"type": null})).await.is("422 Invalid");
        assert_eq!(server.patch(SECRET, "a", json!({"type": "pleo.io/grant"})).await.is("200"), made);
    })
    .await;
}

/// An old version is told before anything else: whoever lost a race must read again, not give up.
#[tokio::test]
async fn a_late_write_that_is_also_invalid_is_a_conflict() {
    same_on_both(async |server| {
        let made = server.create(SECRET, &of_type("a", json!("pleo.io/grant"))).await.is("201");
        server.patch(SECRET, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
        let wrong = with(&made, "/type", json!("Opaque"));
        server.put(SECRET, &wrong).await.is("409 Conflict");
        server.patch(SECRET, "a", wrong).await.is("409 Conflict");
    })
    .await;
}

#[tokio::test]
async fn of_an_immutable_secret_only_the_metadata_changes() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        server.patch(SECRET, "a", json!({"immutable": true, "stringData": {"key": "last"}})).await.is("200");
        server.patch(SECRET, "a", json!({"stringData": {"key": "other"}})).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"data": {"key": null}})).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"immutable": false})).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"immutable": null})).await.is("422 Invalid");
        server.patch(SECRET, "a", json!({"stringData": {"key": "last"}})).await.is("200");
        server.patch(SECRET, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
        server.delete(SECRET, "a").await.is("200");
    })
    .await;
}

#[tokio::test]
async fn not_everything_may_stand_in_a_secret() {
    same_on_both(async |server| {
        let holding = |data: Value| with(&SECRET.named("a"), "/data", data);
        server.create(SECRET, &holding(json!({"no/key": "MQ=="}))).await.is("422 Invalid");
        server.create(SECRET, &holding(json!({"": "MQ=="}))).await.is("422 Invalid");
        server.create(SECRET, &holding(json!({"key": "not base64"}))).await.is("400 BadRequest");
        server.create(SECRET, &holding(json!({"key": 1}))).await.is("400 BadRequest");
        server
            .create(SECRET, &with(&holding(json!(null)), "/stringData", json!({"key": 1})))
            .await
            .is("400 BadRequest");
        let large = |bytes: usize| with(&holding(json!(null)), "/stringData", json!({"key": "x".repeat(bytes)}));
        server.create(SECRET, &large(1024 * 1024 + 1)).await.is("422 Invalid");
        server.create(SECRET, &large(1024 * 1024)).await.is("201");
        server.delete(SECRET, "a").await.is("200");
        server.create(SECRET, &holding(json!({"A-key_with.dots": "MQ=="}))).await.is("201");
        server.patch(SECRET, "a", json!({"data": {"key": "not base64"}})).await.is("422 Invalid");
    })
    .await;
}

/// Who wrote which key last: by that the operator knows what somebody else put into its Secrets.
#[tokio::test]
async fn a_key_belongs_to_whoever_changed_its_value_last() {
    same_on_both(async |server| {
        let (first, second) = (server.calling_itself("first"), server.calling_itself("second"));
        let two = with(&SECRET.named("a"), "/data", json!({"one": "MQ==", "two": "Mg=="}));
        first.create(SECRET, &two).await.is("201");
        second.patch(SECRET, "a", json!({"data": {"two": "Mg=="}})).await.is("200");
        second.patch(SECRET, "a", json!({"data": {"two": "Mw==", "more": "NA=="}})).await.is("200");
        second.patch(SECRET, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
        first.patch(SECRET, "a", json!({"data": {"two": "Mg==", "more": null}})).await.is("200");
        second.patch(SECRET, "a", json!({"data": {"one": null}})).await.is("200");
        let there = second.patch(SECRET, "a", json!({"data": {"two": "NQ=="}})).await.is("200");
        first.put(SECRET, &with(&there, "/data", json!({"two": "NQ==", "one": "MQ=="}))).await.is("200");
        server.get(SECRET, "a").await.is("200");
    })
    .await;
}
