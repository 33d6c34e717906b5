//! Selectors: which objects they mean, and which of them are none.

use serde_json::{Value, json};

use crate::support::{
    kinds::{CONNECTION, POD, SECRET, with},
    server::{name_of, same_on_both},
};

fn names(list: &Value) -> String {
    list["items"].as_array().into_iter().flatten().map(name_of).collect()
}

#[tokio::test]
async fn labels_select() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.labeled("a", json!({"tier": "gold", "app": "x"}))).await.is("201");
        server.create(SECRET, &SECRET.labeled("b", json!({"tier": "tin"}))).await.is("201");
        server.create(SECRET, &SECRET.labeled("c", json!({"app": "", "pleo.io/connection": "acme"}))).await.is("201");
        server.create(SECRET, &SECRET.named("d")).await.is("201");
        for (selector, expected) in [
            ("", "abcd"),
            ("tier=gold", "a"),
            ("tier==gold", "a"),
            ("tier = gold", "a"),
            ("tier!=gold", "bcd"),
            ("tier", "ab"),
            ("!tier", "cd"),
            ("tier in (gold, tin)", "ab"),
            ("tier in (gold)", "a"),
            ("tier notin (gold)", "bcd"),
            ("tier notin (gold,tin),app", "c"),
            ("app=", "c"),
            ("app", "ac"),
            ("app in ()", "c"),
            ("app!=", "abd"),
            ("tier=gold,app=x", "a"),
            ("tier=gold,app=y", ""),
            ("pleo.io/connection=acme", "c"),
            ("adopted.pleo.io/0123456789abcdef", ""),
        ] {
            let list = server.list(SECRET, &[("labelSelector", selector)]).await.is("200");
            assert_eq!(names(&list), expected, "{selector}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_label_selector_is_refused() {
    same_on_both(async |server| {
        for selector in ["a b", "=", "a=b=c", "a in b", "a in (b", "(a)", "!", "a=b c", "a=-b", "a b=c", "!a=b"] {
            server.list(SECRET, &[("labelSelector", selector)]).await.is("400 BadRequest");
            server.watch(SECRET, &[("labelSelector", selector)]).await.is("400 BadRequest");
        }
    })
    .await;
}

#[tokio::test]
async fn fields_select() {
    same_on_both(async |server| {
        server.create(SECRET, &SECRET.named("a")).await.is("201");
        server.create(SECRET, &with(&SECRET.named("b"), "/type", json!("pleo.io/grant"))).await.is("201");
        let own = format!("metadata.namespace={}", server.namespace);
        for (selector, expected) in [
            ("metadata.name=a", "a"),
            ("metadata.name==a", "a"),
            ("metadata.name!=a", "b"),
            ("type=pleo.io/grant", "b"),
            ("type=Opaque,metadata.name=b", ""),
            ("metadata.namespace=elsewhere", ""),
            (own.as_str(), "ab"),
        ] {
            let list = server.list(SECRET, &[("fieldSelector", selector)]).await.is("200");
            assert_eq!(names(&list), expected, "{selector}");
        }
        server.create(CONNECTION, &CONNECTION.named("a")).await.is("201");
        server.list(CONNECTION, &[("fieldSelector", "metadata.name=a")]).await.is("200");
    })
    .await;
}

/// As the operator looks for pods that it can tell.
#[tokio::test]
async fn pods_are_selected_by_where_they_are_and_what_they_do() {
    same_on_both(async |server| {
        for (name, node, phase) in
            [("a", "", "Pending"), ("b", "node-1", "Running"), ("c", "node-1", "Succeeded"), ("d", "node-2", "Failed")]
        {
            let pod = POD.labeled(name, json!({"pleo.io/connection": "acme"}));
            let node = if node.is_empty() { Value::Null } else { json!(node) };
            server.create(POD, &with(&pod, "/spec/nodeName", node)).await.is("201");
            server.patch_status(POD, name, json!({"status": {"phase": phase}})).await.is("200");
        }
        for (selector, expected) in [
            ("spec.nodeName!=", "bcd"),
            ("spec.nodeName=", "a"),
            ("spec.nodeName=node-1", "bc"),
            ("status.phase=Pending", "a"),
            ("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed", "b"),
        ] {
            let query = [("labelSelector", "pleo.io/connection=acme"), ("fieldSelector", selector)];
            let list = server.metadata_only().list(POD, &query).await.is("200");
            assert_eq!(names(&list), expected, "{selector}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_field_selector_is_refused() {
    same_on_both(async |server| {
        for selector in ["metadata.name", "spec.nodeName=a", "data=a", "metadata.labels=a"] {
            for kind in [SECRET, CONNECTION] {
                server.list(kind, &[("fieldSelector", selector)]).await.is("400 BadRequest");
            }
        }
    })
    .await;
}
