//! How objects go: under preconditions, and held by finalizers.
//!
//! Garbage collection is not compared: it is done by a controller, and beside this real API server none runs.

use serde_json::{Value, json};

use crate::support::{
    kinds::{ALL, CONNECTION, POD, SECRET, with},
    server::{Server, same_on_both, version_of},
};

const HELD: &str = "pleo.io/held";

#[tokio::test]
async fn what_is_deleted_is_gone_and_can_be_made_anew() {
    same_on_both(async |server| {
        for kind in ALL {
            server.delete(kind, "a").await.is("404 NotFound");
            let first = server.create(kind, &kind.named("a")).await.is("201");
            server.delete(kind, "a").await.is("200");
            server.get(kind, "a").await.is("404 NotFound");
            server.delete(kind, "a").await.is("404 NotFound");
            let second = server.create(kind, &kind.named("a")).await.is("201");
            assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
            server.metadata_only().delete(kind, "a").await.is("200");
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_was_meant_is_deleted() {
    same_on_both(async |server| {
        for kind in ALL {
            let first = server.create(kind, &kind.named("a")).await.is("201");
            let second = server.patch(kind, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
            let uid = &first["metadata"]["uid"];
            for wrong in [
                json!({"uid": "another"}),
                json!({"resourceVersion": version_of(&first)}),
                json!({"uid": uid, "resourceVersion": version_of(&first)}),
                json!({"uid": "another", "resourceVersion": version_of(&second)}),
            ] {
                server.delete_if(kind, "a", wrong).await.is("409 Conflict");
            }
            let right = json!({"uid": uid, "resourceVersion": version_of(&second)});
            server.delete_if(kind, "a", right.clone()).await.is("200");
            server.delete_if(kind, "a", right).await.is("404 NotFound");
            server.create(kind, &kind.named("a")).await.is("201");
            server.delete_if(kind, "a", json!({"uid": uid})).await.is("409 Conflict");
            server.get(kind, "a").await.is("200");
        }
    })
    .await;
}

fn held_by(finalizers: Value) -> Value {
    json!({"metadata": {"finalizers": finalizers}})
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &kind.named("a")).await.is("201");
            server.patch(kind, "a", held_by(json!([HELD, "pleo.io/too"]))).await.is("200");
            let waiting = server.delete(kind, "a").await.is("200");
            assert!(waiting["metadata"]["deletionTimestamp"].is_string());
            assert_eq!(server.delete(kind, "a").await.is("200"), waiting);
            server.delete_if(kind, "a", json!({"uid": "another"})).await.is("409 Conflict");
            server.create(kind, &kind.named("a")).await.is("409 AlreadyExists");
            server.patch(kind, "a", held_by(json!([HELD]))).await.is("200");
            server
                .patch(kind, "a", json!({"metadata": {"deletionTimestamp": null, "labels": {"a": "b"}}}))
                .await
                .is("200");
            server.patch(kind, "a", held_by(json!([HELD, "pleo.io/new"]))).await.is("422 Invalid");
            server.patch(kind, "a", held_by(json!(null))).await.is("200");
            server.get(kind, "a").await.is("404 NotFound");
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_can_remove_the_last_finalizer_too() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &with(&kind.named("a"), "/metadata/finalizers", json!([HELD]))).await.is("201");
            let waiting = server.delete(kind, "a").await.is("200");
            server.put(kind, &with(&waiting, "/metadata/finalizers", json!(null))).await.is("200");
            server.get(kind, "a").await.is("404 NotFound");
        }
    })
    .await;
}

/// A connection that is being deleted can still be changed, and each change of its spec counts.
#[tokio::test]
async fn an_object_that_waits_for_its_end_can_be_changed() {
    same_on_both(async |server| {
        server.create(CONNECTION, &with(&CONNECTION.named("a"), "/metadata/finalizers", json!([HELD]))).await.is("201");
        server.delete(CONNECTION, "a").await.is("200");
        server.patch(CONNECTION, "a", json!({"spec": {"suspend": true}})).await.is("200");
        server.patch_status(CONNECTION, "a", json!({"status": {"rotation": 1}})).await.is("200");
    })
    .await;
}

/// A finalizer that goes before the object is deleted lets nothing vanish.
#[tokio::test]
async fn a_finalizer_can_be_removed_without_an_end() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        server.patch(SECRET, "a", held_by(json!([HELD]))).await.is("200");
        server.patch(SECRET, "a", held_by(json!([]))).await.is("200");
        server.get(SECRET, "a").await.is("200");
    })
    .await;
}

async fn pod_on_a_node(server: &Server, name: &str) -> Value {
    let on_node = with(&POD.named(name), "/spec/nodeName", json!("node-1"));
    server.create(POD, &on_node).await.is("201")
}

/// A pod on a node is only marked: its kubelet takes it away when it has stopped.
#[tokio::test]
async fn a_pod_on_a_node_is_deleted_by_its_kubelet() {
    same_on_both(async |server| {
        pod_on_a_node(server, "a").await;
        let waiting = server.delete(POD, "a").await.is("200");
        assert_eq!(waiting["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(server.delete(POD, "a").await.is("200"), waiting);
        server.get(POD, "a").await.is("200");
        let path = format!("{}/a", server.path(POD));
        let at_once = json!({"gracePeriodSeconds": 0}).to_string();
        server.send(http::Method::DELETE, &path, "application/json", at_once).await.is("200");
        server.get(POD, "a").await.is("404 NotFound");
        for phase in ["Succeeded", "Failed"] {
            pod_on_a_node(server, "ended").await;
            server.patch_status(POD, "ended", json!({"status": {"phase": phase}})).await.is("200");
            server.delete(POD, "ended").await.is("200");
            server.get(POD, "ended").await.is("404 NotFound");
        }
    })
    .await;
}
