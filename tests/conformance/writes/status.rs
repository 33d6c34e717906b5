//! The status beside the rest: who may change which, and when the generation moves.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    kinds::{ALL, CONNECTION, DEPLOYMENT, LEASE, POD, SECRET, with},
    server::same_on_both,
};

fn rotated(object: &Value, rotation: i64) -> Value {
    with(object, "/status", json!({"rotation": rotation, "conditions": []}))
}

#[tokio::test]
async fn a_status_is_not_made_with_the_object_nor_changed_with_it() {
    same_on_both(async |server| {
        let made = server.create(CONNECTION, &rotated(&CONNECTION.named("a"), 7)).await.is("201");
        assert_eq!(server.put(CONNECTION, &rotated(&made, 7)).await.is("200"), made);
        assert_eq!(server.patch(CONNECTION, "a", json!({"status": {"rotation": 7}})).await.is("200"), made);
        let with_status = server.put_status(CONNECTION, &rotated(&made, 1)).await.is("200");
        let both = with(&rotated(&with_status, 7), "/spec/suspend", json!(true));
        server.put(CONNECTION, &both).await.is("200");
        server.patch(CONNECTION, "a", json!({"status": null})).await.is("200");
        server.get(CONNECTION, "a").await.is("200");
    })
    .await;
}

#[tokio::test]
async fn a_write_of_the_status_changes_nothing_else() {
    same_on_both(async |server| {
        let made = server.create(CONNECTION, &CONNECTION.labeled("a", json!({"tier": "gold"}))).await.is("201");
        let mut all = with(&rotated(&made, 1), "/spec/suspend", json!(true));
        all["metadata"]["labels"]["tier"] = json!("tin");
        all["metadata"]["annotations"] = json!({"by": "status"});
        all["metadata"]["finalizers"] = json!(["pleo.io/wait"]);
        server.put_status(CONNECTION, &all).await.is("200");
        let patch =
            json!({"metadata": {"labels": {"tier": "tin"}}, "spec": {"suspend": true}, "status": {"rotation": 2}});
        server.patch_status(CONNECTION, "a", patch).await.is("200");
        server.get(CONNECTION, "a").await.is("200");
        server.send(Method::GET, &format!("{}/a/status", server.path(CONNECTION)), "", String::new()).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn a_status_is_written_by_compare_and_swap() {
    same_on_both(async |server| {
        let first = server.create(CONNECTION, &CONNECTION.named("a")).await.is("201");
        let second = server.put_status(CONNECTION, &rotated(&first, 1)).await.is("200");
        server.put_status(CONNECTION, &rotated(&first, 2)).await.is("409 Conflict");
        assert_eq!(server.put_status(CONNECTION, &second).await.is("200"), second);
        server.put_status(CONNECTION, &with(&second, "/metadata/resourceVersion", json!(null))).await.is("422 Invalid");
        server.put_status(CONNECTION, &with(&second, "/metadata/uid", json!("another"))).await.is("409 Conflict");
        server.put_status(CONNECTION, &with(&second, "/metadata/name", json!("b"))).await.is("404 NotFound");
        server.patch_status(CONNECTION, "b", json!({"status": {"rotation": 1}})).await.is("404 NotFound");
        let stale = json!({"metadata": {"resourceVersion": "1"}, "status": {"rotation": 3}});
        server.patch_status(CONNECTION, "a", stale).await.is("409 Conflict");
        server.put_status(CONNECTION, &with(&second, "/status", json!(null))).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn a_generation_counts_changes_of_the_spec_and_nothing_else() {
    same_on_both(async |server| {
        let made = server.create(CONNECTION, &CONNECTION.named("a")).await.is("201");
        assert_eq!(made["metadata"]["generation"], 1);
        let suspend = |suspend: Value| json!({"spec": {"suspend": suspend}});
        for (change, generation) in [
            (suspend(json!(true)), 2),
            (suspend(json!(true)), 2),
            (json!({"metadata": {"labels": {"a": "b"}}}), 2),
            (json!({"metadata": {"annotations": {"a": "b"}}}), 2),
            (json!({"metadata": {"generation": 9}}), 2),
            (json!({"status": {"rotation": 1}}), 2),
            (suspend(json!(null)), 3),
        ] {
            let changed = server.patch(CONNECTION, "a", change).await.is("200");
            assert_eq!(changed["metadata"]["generation"], generation);
        }
        server.patch_status(CONNECTION, "a", json!({"status": {"rotation": 1}})).await.is("200");
    })
    .await;
}

/// A restart of a workload is a change of its spec; a pod that is told changes in its metadata only.
#[tokio::test]
async fn a_mark_in_a_pod_template_is_a_new_generation_and_one_on_a_pod_is_not() {
    same_on_both(async |server| {
        let annotated = json!({"metadata": {"annotations": {"pleo.io/restarted-for": "acme 1"}}});
        server.create(DEPLOYMENT, &DEPLOYMENT.named("a")).await.is("201");
        for _ in 0..2 {
            let patch = json!({"spec": {"template": annotated}});
            server.metadata_only().patch(DEPLOYMENT, "a", patch).await.is("200");
        }
        server.patch(DEPLOYMENT, "a", annotated.clone()).await.is("200");
        server.create(POD, &POD.named("a")).await.is("201");
        server.metadata_only().patch(POD, "a", annotated).await.is("200");
        server.patch_status(POD, "a", json!({"status": {"phase": "Running"}})).await.is("200");
        server.patch(POD, "a", json!({"status": {"phase": "Failed"}})).await.is("200");
        server.get(POD, "a").await.is("200");
    })
    .await;
}

#[tokio::test]
async fn only_some_kinds_have_a_status() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            let expected = if [SECRET.plural, LEASE.plural].contains(&kind.plural) { "404 NotFound" } else { "200" };
            server.put_status(kind, &made).await.is(expected);
            let nonsense = format!("{}/a/nonsense", server.path(kind));
            server.send(Method::GET, &nonsense, "", String::new()).await.is("404 NotFound");
        }
    })
    .await;
}
