//! Merge patches: what they change, and when they are a compare-and-swap.

use serde_json::json;

use crate::{
    support::{
        kinds::{ALL, LEASE, SECRET, with},
        server::{same_on_both, version_of},
    },
    writes::objects::is_guarded,
};

#[tokio::test]
async fn a_patch_adds_changes_and_removes_keys_and_leaves_the_others() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &kind.labeled("a", json!({"stays": "1", "changes": "1", "goes": "1"}))).await.is("201");
            let labels = json!({"changes": "2", "goes": null, "never was": null, "comes": "1"});
            server.patch(kind, "a", json!({"metadata": {"labels": labels}})).await.is("200");
            server.patch(kind, "a", json!({"metadata": {"labels": null, "annotations": {"a": "b"}}})).await.is("200");
            server.get(kind, "a").await.is("200");
        }
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_names_a_version_is_a_compare_and_swap() {
    same_on_both(async |server| {
        for kind in ALL {
            let first = server.create(kind, &kind.named("a")).await.is("201");
            let by = |who: &str, version: &str| {
                json!({"metadata": {"resourceVersion": version, "annotations": {"by": who}}})
            };
            let second = server.patch(kind, "a", by("first", version_of(&first))).await.is("200");
            server.patch(kind, "a", by("late", version_of(&first))).await.is("409 Conflict");
            server.patch(kind, "a", by("second", version_of(&second))).await.is("200");
            server.patch(kind, "a", json!({"metadata": {"annotations": {"by": "anybody"}}})).await.is("200");
            server.patch(kind, "a", by("nobody", "")).await.is(if is_guarded(kind) { "422 Invalid" } else { "200" });
            server.patch(kind, "a", by("nonsense", "not a number")).await.is("500");
        }
    })
    .await;
}

#[tokio::test]
async fn a_patch_that_changes_nothing_makes_no_new_version() {
    same_on_both(async |server| {
        for kind in ALL {
            let first = server.create(kind, &kind.labeled("a", json!({"tier": "gold"}))).await.is("201");
            for nothing in [
                json!({}),
                json!({"metadata": {"labels": {"tier": "gold"}}}),
                json!({"metadata": {"annotations": {}, "labels": {"other": null}, "finalizers": []}}),
                json!({"metadata": {"resourceVersion": version_of(&first)}}),
            ] {
                assert_eq!(server.patch(kind, "a", nothing).await.is("200"), first);
            }
            server.patch(kind, "a", json!({"metadata": {"labels": {"tier": "tin"}}})).await.is("200");
            let stale = json!({"metadata": {"resourceVersion": version_of(&first), "labels": {"tier": "tin"}}});
            server.patch(kind, "a", stale).await.is("409 Conflict");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_not_patched_into_being() {
    same_on_both(async |server| {
        for kind in ALL {
            server.patch(kind, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("404 NotFound");
            let made = server.create(kind, &kind.named("b")).await.is("201");
            server.delete(kind, "b").await.is("200");
            let with_identity =
                json!({"metadata": {"uid": made["metadata"]["uid"], "resourceVersion": version_of(&made)}});
            server.patch(kind, "b", with_identity).await.is("404 NotFound");
        }
    })
    .await;
}

#[tokio::test]
async fn a_patch_cannot_change_who_an_object_is() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            let uid = &made["metadata"]["uid"];
            assert_eq!(server.patch(kind, "a", json!({"metadata": {"uid": uid}})).await.is("200"), made);
            assert_eq!(server.patch(kind, "a", json!({"metadata": {"uid": null}})).await.is("200"), made);
            server.patch(kind, "a", json!({"metadata": {"uid": "another"}})).await.is("422 Invalid");
            server.patch(kind, "a", json!({"metadata": {"name": "a", "namespace": server.namespace}})).await.is("200");
            server.patch(kind, "a", json!({"metadata": {"name": "b"}})).await.is("400 BadRequest");
            server.patch(kind, "a", json!({"metadata": {"namespace": "elsewhere"}})).await.is("400 BadRequest");
            server.patch(kind, "a", json!({"metadata": {"creationTimestamp": null}})).await.is("200");
            let deleted = json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}});
            server.patch(kind, "a", deleted).await.is("422 Invalid");
        }
    })
    .await;
}

/// What is asked for as metadata only is written whole, and answered in part.
#[tokio::test]
async fn a_patch_is_answered_with_metadata_only_where_that_is_asked_for() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &kind.named("a")).await.is("201");
            let patch = json!({"metadata": {"annotations": {"told": "1"}}});
            server.metadata_only().patch(kind, "a", patch).await.is("200");
            server.metadata_only().get(kind, "a").await.is("200");
            server.metadata_only().get(kind, "b").await.is("404 NotFound");
            server.get(kind, "a").await.is("200");
        }
    })
    .await;
}

#[tokio::test]
async fn a_patch_removes_a_key_of_a_secret_or_all_of_them() {
    same_on_both(async |server| {
        let two = with(&SECRET.named("a"), "/data", json!({"one": "MQ==", "two": "Mg=="}));
        server.create(SECRET, &two).await.is("201");
        server.patch(SECRET, "a", json!({"data": {"one": null, "three": null}})).await.is("200");
        server.patch(SECRET, "a", json!({"data": {"two": null}})).await.is("200");
        server.patch(SECRET, "a", json!({"data": {"three": "Mw=="}})).await.is("200");
        server.patch(SECRET, "a", json!({"data": null})).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn lists_are_replaced_as_a_whole() {
    same_on_both(async |server| {
        let owner = |name: &&str| {
            let uid = format!("uid of {name}");
            json!({"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid})
        };
        let of = |owners: &[&str]| {
            let owners: Vec<_> = owners.iter().map(owner).collect();
            json!({"metadata": {"ownerReferences": owners}})
        };
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        server.patch(SECRET, "a", of(&["one", "two"])).await.is("200");
        server.patch(SECRET, "a", of(&["two"])).await.is("200");
        server.patch(SECRET, "a", of(&[])).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_merge_patch_is_refused() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        server.create(LEASE, &LEASE.named("a")).await.is("201");
        for kind in [SECRET, LEASE] {
            let path = format!("{}/a", server.path(kind));
            for body in ["", "{", "[]", "null", "1", "{\"metadata\": null}"] {
                let patch = server.send(http::Method::PATCH, &path, "application/merge-patch+json", body.to_owned());
                patch.await.is("400 BadRequest");
            }
            server.patch(kind, "a", json!({"metadata": 1})).await.is("422 Invalid");
        }
    })
    .await;
}
