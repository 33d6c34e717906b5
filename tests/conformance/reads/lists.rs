//! Lists: their form, their version, and how they come in pages.
//!
//! A page that is asked for too late (410) is not compared: the real server forgets after minutes only.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    kinds::{ALL, CONNECTION, SECRET},
    server::{Server, name_of, same_on_both, version_of},
};

async fn create_all(server: &Server, names: &[&str]) {
    for name in names {
        server.create(SECRET, &SECRET.named(name)).await.is("201");
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().map(name_of).collect()
}

fn more(list: &Value) -> &str {
    list["metadata"]["continue"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_list_holds_what_is_there_by_name_and_is_as_new_as_that() {
    same_on_both(async |server| {
        for kind in ALL {
            server.list(kind, &[]).await.is("200");
            for name in ["b", "a", "b.a", "b-a", "c"] {
                server.create(kind, &kind.named(name)).await.is("201");
            }
            server.delete(kind, "c").await.is("200");
            let list = server.list(kind, &[]).await.is("200");
            assert_eq!(names(&list), ["a", "b", "b-a", "b.a"]);
            server.metadata_only().list(kind, &[]).await.is("200");
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    same_on_both(async |server| {
        create_all(server, &["a", "b", "c", "d", "e"]).await;
        let first = server.list(SECRET, &[("limit", "2")]).await.is("200");
        let second = server.list(SECRET, &[("limit", "2"), ("continue", more(&first))]).await.is("200");
        let third = server.list(SECRET, &[("limit", "2"), ("continue", more(&second))]).await.is("200");
        assert_eq!([names(&first), names(&second), names(&third)], [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
        let rest = server.list(SECRET, &[("continue", more(&first))]).await.is("200");
        assert_eq!(names(&rest), ["c", "d", "e"]);
        for limit in ["0", "5", "6"] {
            assert_eq!(more(&server.list(SECRET, &[("limit", limit)]).await.is("200")), "");
        }
        server.metadata_only().list(SECRET, &[("limit", "2")]).await.is("200");
    })
    .await;
}

#[tokio::test]
async fn a_list_in_pages_is_of_one_moment() {
    same_on_both(async |server| {
        create_all(server, &["a", "b", "c", "d"]).await;
        let first = server.list(SECRET, &[("limit", "1")]).await.is("200");
        create_all(server, &["aa", "e"]).await;
        server.patch(SECRET, "b", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
        server.delete(SECRET, "c").await.is("200");
        let second = server.list(SECRET, &[("limit", "2"), ("continue", more(&first))]).await.is("200");
        let third = server.list(SECRET, &[("limit", "2"), ("continue", more(&second))]).await.is("200");
        assert_eq!([names(&second), names(&third)], [vec!["b", "c"], vec!["d"]]);
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_selection_do_not_tell_how_many_are_left() {
    same_on_both(async |server| {
        for name in ["a", "b", "c", "d"] {
            let tier = if name == "b" { "tin" } else { "gold" };
            server.create(SECRET, &SECRET.labeled(name, json!({"tier": tier}))).await.is("201");
        }
        let gold = ("labelSelector", "tier=gold");
        let first = server.list(SECRET, &[gold, ("limit", "2")]).await.is("200");
        let second = server.list(SECRET, &[gold, ("limit", "2"), ("continue", more(&first))]).await.is("200");
        assert_eq!([names(&first), names(&second)], [vec!["a", "c"], vec!["d"]]);
    })
    .await;
}

#[tokio::test]
async fn a_list_can_be_asked_to_be_new_enough() {
    same_on_both(async |server| {
        create_all(server, &["a"]).await;
        let list = server.list(SECRET, &[]).await.is("200");
        create_all(server, &["b"]).await;
        let newer = server.list(SECRET, &[]).await.is("200");
        for wanted in ["1", version_of(&list), version_of(&newer)] {
            let not_older = [("resourceVersion", wanted), ("resourceVersionMatch", "NotOlderThan")];
            server.list(SECRET, &not_older).await.is("200");
        }
        server.list(SECRET, &[("resourceVersion", version_of(&newer))]).await.is("200");
    })
    .await;
}

/// The real server waits some seconds for the future to come.
#[tokio::test]
async fn a_list_from_the_future_is_not_waited_for() {
    same_on_both(async |server| {
        server.list(SECRET, &[("resourceVersion", "4000000000")]).await.is("504 Timeout");
        server
            .watch(SECRET, &[("resourceVersion", "4000000000"), ("timeoutSeconds", "1")])
            .await
            .is("200")
            .until_its_end()
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    same_on_both(async |server| {
        for kind in [SECRET, CONNECTION] {
            server.list(kind, &[("limit", "many")]).await.is("400 BadRequest");
            server.list(kind, &[("continue", "anywhere")]).await.is("400 BadRequest");
            server.list(kind, &[("resourceVersion", "new")]).await.is("400 BadRequest");
            server.list(kind, &[("resourceVersionMatch", "Exact")]).await.is("422 Invalid");
            server.list(kind, &[("resourceVersionMatch", "NotOlderThan")]).await.is("422 Invalid");
            server.list(kind, &[("resourceVersion", "5"), ("resourceVersionMatch", "Roughly")]).await.is("422 Invalid");
            server.list(kind, &[("sendInitialEvents", "true")]).await.is("422 Invalid");
        }
    })
    .await;
}

/// As the operator does when it looks after all namespaces.
#[tokio::test]
async fn a_list_can_be_of_all_namespaces() {
    same_on_both(async |server| {
        for kind in ALL {
            server.create(kind, &kind.labeled("a", json!({"only": server.namespace}))).await.is("201");
            let everywhere = format!("{}/{}?labelSelector=only%3D{}", kind.path, kind.plural, server.namespace);
            let list = server.send(Method::GET, &everywhere, "", String::new()).await.is("200");
            assert_eq!(names(&list), ["a"]);
            let here = format!("{}/{}?fieldSelector=metadata.namespace%3D{}", kind.path, kind.plural, server.namespace);
            server.metadata_only().send(Method::GET, &here, "", String::new()).await.is("200");
        }
    })
    .await;
}
