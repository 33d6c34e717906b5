//! Watches: which events, in which order, with which objects; bookmarks, and the end.

use serde_json::json;

use crate::support::{
    kinds::{ALL, CONNECTION, Kind, SECRET, with},
    server::{Server, same_on_both, version_of},
};

/// The end of a story: its event tells that all before it were told.
const LAST: &str = "zz-last";

async fn label(server: &Server, name: &str, tier: serde_json::Value) {
    server.patch(SECRET, name, json!({"metadata": {"labels": {"tier": tier}}})).await.is("200");
}

/// The version to watch from: that of a list made now.
async fn now(server: &Server) -> String {
    let list = server.list(SECRET, &[]).await.is("200");
    version_of(&list).to_owned()
}

async fn last(server: &Server, tier: &str) {
    server.create(SECRET, &SECRET.labeled(LAST, json!({"tier": tier}))).await.is("201");
}

/// A pod is marked before it goes, even where it goes at once.
fn without_marks(kind: Kind, mut told: Vec<String>) -> Vec<String> {
    if let Some(end) = told.iter().position(|event| event == "DELETED a").filter(|_| kind.plural == "pods") {
        assert_eq!(told.remove(end - 1), "MODIFIED a");
    }
    told
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &kind.named("a")).await.is("201");
            let list = server.list(kind, &[]).await.is("200");
            server.patch(kind, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
            server.patch(kind, "a", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
            let mut watch = server.watch(kind, &[("resourceVersion", version_of(&list))]).await.is("200");
            server.create(kind, &kind.named("b")).await.is("201");
            server.delete(kind, "a").await.is("200");
            server.create(kind, &kind.named(LAST)).await.is("201");
            let told = watch.until(LAST).await;
            assert_eq!(without_marks(kind, told), ["MODIFIED a", "ADDED b", "DELETED a", "ADDED zz-last"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_from_nowhere_begins_with_what_is_there() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("b")).await.is("201");
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        let mut watch = server.watch(SECRET, &[]).await.is("200");
        last(server, "gold").await;
        let told = watch.until(LAST).await;
        assert_eq!(told, ["ADDED a", "ADDED b", "ADDED zz-last"]);
    })
    .await;
}

#[tokio::test]
async fn an_object_enters_a_selection_and_leaves_it() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        let version = now(server).await;
        let gold = [("labelSelector", "tier=gold"), ("resourceVersion", version.as_str())];
        let mut current = server.watch(SECRET, &gold).await.is("200");
        for tier in [json!("gold"), json!("tin"), json!("lead"), json!("gold"), json!(null), json!("gold")] {
            label(server, "a", tier).await;
        }
        server.patch(SECRET, "a", json!({"metadata": {"annotations": {"by": "me"}}})).await.is("200");
        server.delete(SECRET, "a").await.is("200");
        last(server, "gold").await;
        let expected =
            ["ADDED a", "DELETED a", "ADDED a", "DELETED a", "ADDED a", "MODIFIED a", "DELETED a", "ADDED zz-last"];
        assert_eq!(current.until(LAST).await, expected);
        let mut late = server.watch(SECRET, &gold).await.is("200");
        assert_eq!(late.until(LAST).await, expected);
    })
    .await;
}

#[tokio::test]
async fn one_object_can_be_watched_by_its_name() {
    same_on_both(async |server| {
        let version = now(server).await;
        let query = [("fieldSelector", "metadata.name=zz-last"), ("resourceVersion", version.as_str())];
        let mut watch = server.watch(SECRET, &query).await.is("200");
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        last(server, "gold").await;
        assert_eq!(watch.until(LAST).await, ["ADDED zz-last"]);
    })
    .await;
}

#[tokio::test]
async fn metadata_is_watched_without_the_rest() {
    same_on_both(async |server| {
        for kind in ALL {
            let version = version_of(&server.list(kind, &[]).await.is("200")).to_owned();
            server.create(kind, &kind.labeled("a", json!({"tier": "gold"}))).await.is("201");
            server.delete(kind, "a").await.is("200");
            server.create(kind, &kind.named(LAST)).await.is("201");
            let query = [("resourceVersion", version.as_str())];
            let mut watch = server.metadata_only().watch(kind, &query).await.is("200");
            let told = watch.until(LAST).await;
            assert_eq!(without_marks(kind, told), ["ADDED a", "DELETED a", "ADDED zz-last"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_finalizer_is_seen_to_hold_and_to_let_go() {
    same_on_both(async |server| {
        let held = with(&CONNECTION.named("a"), "/metadata/finalizers", json!(["pleo.io/held"]));
        server.create(CONNECTION, &held).await.is("201");
        let version = version_of(&server.list(CONNECTION, &[]).await.is("200")).to_owned();
        server.delete(CONNECTION, "a").await.is("200");
        server.delete(CONNECTION, "a").await.is("200");
        server.patch(CONNECTION, "a", json!({"metadata": {"finalizers": null}})).await.is("200");
        server.create(CONNECTION, &CONNECTION.named(LAST)).await.is("201");
        let mut watch = server.watch(CONNECTION, &[("resourceVersion", version.as_str())]).await.is("200");
        assert_eq!(watch.until(LAST).await, ["MODIFIED a", "DELETED a", "ADDED zz-last"]);
    })
    .await;
}

#[tokio::test]
async fn a_streaming_list_ends_with_its_bookmark_and_goes_on() {
    same_on_both(async |server| {
        for kind in ALL {
            for name in ["b", "a"] {
                server.create(kind, &kind.labeled(name, json!({"tier": "gold"}))).await.is("201");
            }
            server.create(kind, &kind.named("c")).await.is("201");
            let query = [
                ("labelSelector", "tier=gold"),
                ("sendInitialEvents", "true"),
                ("resourceVersionMatch", "NotOlderThan"),
                ("allowWatchBookmarks", "true"),
            ];
            for server in [server.clone(), server.metadata_only()] {
                let mut watch = server.watch(kind, &query).await.is("200");
                let told = watch.until_initial_events_end().await;
                assert_eq!(told, ["ADDED a", "ADDED b", "BOOKMARK"]);
                server.patch(kind, "a", json!({"metadata": {"labels": {"tier": "tin"}}})).await.is("200");
                server.patch(kind, "a", json!({"metadata": {"labels": {"tier": "gold"}}})).await.is("200");
                server.create(kind, &kind.labeled(LAST, json!({"tier": "gold"}))).await.is("201");
                assert_eq!(watch.until(LAST).await, ["DELETED a", "ADDED a", "ADDED zz-last"]);
                server.delete(kind, LAST).await.is("200");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_streaming_list_can_be_empty() {
    same_on_both(async |server| {
        let query =
            [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), ("allowWatchBookmarks", "true")];
        let mut watch = server.watch(SECRET, &query).await.is("200");
        assert_eq!(watch.until_initial_events_end().await, ["BOOKMARK"]);
    })
    .await;
}

#[tokio::test]
async fn a_streaming_list_must_be_asked_for_in_full() {
    same_on_both(async |server| {
        let initial = ("sendInitialEvents", "true");
        let not_older = ("resourceVersionMatch", "NotOlderThan");
        server.watch(SECRET, &[initial]).await.is("422 Invalid");
        server.watch(SECRET, &[initial, ("resourceVersionMatch", "Exact")]).await.is("422 Invalid");
        server.watch(SECRET, &[not_older, ("resourceVersion", "5")]).await.is("422 Invalid");
        server.watch(SECRET, &[("resourceVersion", "new")]).await.is("500");
    })
    .await;
}

/// What was forgotten is told as an event, not as the answer.
#[tokio::test]
async fn a_watch_from_long_ago_is_gone() {
    same_on_both(async |server| {
        server.create(CONNECTION, &CONNECTION.named("a")).await.is("201");
        let long_ago = server.long_ago();
        for server in [server.clone(), server.metadata_only()] {
            let mut watch = server.watch(CONNECTION, &[("resourceVersion", long_ago)]).await.is("200");
            assert_eq!(watch.until_its_end().await, ["ERROR"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_ends_when_it_was_asked_to() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        let version = now(server).await;
        label(server, "a", json!("gold")).await;
        let query = [("resourceVersion", version.as_str()), ("timeoutSeconds", "1")];
        let mut watch = server.watch(SECRET, &query).await.is("200");
        assert_eq!(watch.until_its_end().await, ["MODIFIED a"]);
    })
    .await;
}

/// Bookmarks come shortly before the end, so that the next watch need not begin where this one did.
#[tokio::test]
async fn a_watch_tells_how_far_it_came_before_it_ends() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        let version = now(server).await;
        let query = [("resourceVersion", version.as_str()), ("timeoutSeconds", "5"), ("allowWatchBookmarks", "true")];
        let mut watch = server.watch(SECRET, &query).await.is("200");
        label(server, "a", json!("gold")).await;
        assert_eq!(watch.until_its_end().await, ["MODIFIED a", "BOOKMARK"]);
    })
    .await;
}
