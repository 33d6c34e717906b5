//! How objects come and change: creating, reading, and PUT as a compare-and-swap.

use serde_json::json;

use crate::support::{
    kinds::{ALL, EVENT, Kind, LEASE, SECRET, with},
    server::same_on_both,
};

/// Kinds of which nothing is overwritten by somebody who does not say what.
pub fn is_guarded(kind: Kind) -> bool {
    ["leases", "pleoconnections"].contains(&kind.plural)
}

#[tokio::test]
async fn an_object_is_made_once_and_read_as_it_was_made() {
    same_on_both(async |server| {
        for kind in ALL {
            server.get(kind, "a").await.is("404 NotFound");
            let made = server.create(kind, &kind.labeled("a", json!({"tier": "gold"}))).await.is("201");
            server.create(kind, &kind.named("a")).await.is("409 AlreadyExists");
            assert_eq!(server.get(kind, "a").await.is("200"), made);
        }
    })
    .await;
}

#[tokio::test]
async fn what_only_the_server_says_is_not_taken_from_a_client() {
    same_on_both(async |server| {
        for kind in ALL {
            let mut object = kind.named("a");
            object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
            object["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
            object["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
            object["metadata"]["generation"] = json!(7);
            let made = server.create(kind, &object).await.is("201");
            let moved = with(&made, "/metadata/creationTimestamp", json!("2020-01-01T00:00:00Z"));
            server.put(kind, &with(&moved, "/metadata/generation", json!(7))).await.is("200");
            let versioned = with(&kind.named("b"), "/metadata/resourceVersion", json!("1"));
            server.create(kind, &versioned).await.is("500");
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_with_the_current_version_wins_and_with_an_old_one_loses() {
    same_on_both(async |server| {
        for kind in ALL {
            let first = server.create(kind, &kind.named("a")).await.is("201");
            let labeled = with(&first, "/metadata/labels", json!({"by": "first"}));
            let second = server.put(kind, &labeled).await.is("200");
            server.put(kind, &with(&first, "/metadata/labels", json!({"by": "late"}))).await.is("409 Conflict");
            server.put(kind, &with(&second, "/metadata/labels", json!({"by": "second"}))).await.is("200");
            server.get(kind, "a").await.is("200");
        }
    })
    .await;
}

/// What counts is the version, not that the object looks again as it did.
#[tokio::test]
async fn an_old_version_stays_old_when_its_content_comes_back() {
    same_on_both(async |server| {
        for kind in ALL {
            let first = server.create(kind, &kind.labeled("a", json!({"tier": "gold"}))).await.is("201");
            for tier in ["tin", "gold"] {
                server.patch(kind, "a", json!({"metadata": {"labels": {"tier": tier}}})).await.is("200");
            }
            server.put(kind, &first).await.is("409 Conflict");
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_without_a_version_overwrites_some_kinds_only() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            let blind = with(&made, "/metadata/resourceVersion", json!(null));
            let blind = with(&blind, "/metadata/labels", json!({"by": "blind"}));
            server.put(kind, &blind).await.is(if is_guarded(kind) { "422 Invalid" } else { "200" });
            server.get(kind, "a").await.is("200");
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_that_changes_nothing_makes_no_new_version() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.labeled("a", json!({"tier": "gold"}))).await.is("201");
            assert_eq!(server.put(kind, &made).await.is("200"), made);
            let empty = with(&made, "/metadata/annotations", json!({}));
            assert_eq!(server.put(kind, &empty).await.is("200"), made);
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_for_another_uid_is_refused() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            server.put(kind, &with(&made, "/metadata/uid", json!("another"))).await.is("409 Conflict");
            let without = with(&made, "/metadata/uid", json!(null));
            assert_eq!(server.put(kind, &without).await.is("200"), made);
        }
    })
    .await;
}

#[tokio::test]
async fn a_put_does_not_bring_back_what_is_gone() {
    same_on_both(async |server| {
        for kind in ALL {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            server.delete(kind, "a").await.is("200");
            let expected = if kind.plural == "leases" { "409 Conflict" } else { "404 NotFound" };
            server.put(kind, &made).await.is(expected);
            server.get(kind, "a").await.is("404 NotFound");
        }
    })
    .await;
}

/// Of the kinds that the operator writes, only a Lease can be made by a PUT.
#[tokio::test]
async fn a_put_makes_a_new_lease_and_nothing_else() {
    same_on_both(async |server| {
        for kind in ALL {
            let expected = if kind.plural == "leases" { "201" } else { "404 NotFound" };
            server.put(kind, &kind.named("a")).await.is(expected);
        }
        server.put(LEASE, &with(&LEASE.named("b"), "/metadata/resourceVersion", json!("1"))).await.is("201");
        server.put(SECRET, &with(&SECRET.named("b"), "/metadata/resourceVersion", json!("1"))).await.is("404 NotFound");
    })
    .await;
}

#[tokio::test]
async fn an_event_is_an_object_like_others() {
    same_on_both(async |server| {
        let event = |name: &str| with(&EVENT.named(name), "/regarding/namespace", json!(server.namespace));
        let made = server.create(EVENT, &event("a")).await.is("201");
        server.create(EVENT, &event("a")).await.is("409 AlreadyExists");
        assert_eq!(server.get(EVENT, "a").await.is("200"), made);
        server.patch(EVENT, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
        server.put(EVENT, &event("b")).await.is("201");
        server.list(EVENT, &[]).await.is("200");
        server.list(EVENT, &[("fieldSelector", "reason=Refreshed,type=Normal")]).await.is("200");
        server.delete(EVENT, "a").await.is("200");
    })
    .await;
}
