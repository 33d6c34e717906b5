//! What no server takes: names, labels and owners that are none, bodies that cannot be read, paths that lead nowhere.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    kinds::{ALL, CONNECTION, EVENT, LEASE, SECRET, with},
    server::same_on_both,
};

const JSON: &str = "application/json";

#[tokio::test]
async fn a_name_is_what_dns_takes() {
    same_on_both(async |server| {
        let long = "a".repeat(254);
        for kind in ALL {
            for name in ["Upper", "under_score", "-a", "a-", "a..b", "a b", "ä", long.as_str()] {
                server.create(kind, &kind.named(name)).await.is("422 Invalid");
            }
            server.create(kind, &with(&kind.named(""), "/metadata/name", json!(null))).await.is("422 Invalid");
        }
        server.create(SECRET, &SECRET.named("a.b-c.0")).await.is("201");
        server.create(SECRET, &SECRET.named(&"a".repeat(253))).await.is("201");
    })
    .await;
}

#[tokio::test]
async fn labels_and_annotations_have_a_form() {
    same_on_both(async |server| {
        let long = |length: usize| "x".repeat(length);
        for kind in ALL {
            for labels in [
                json!({"a": "b c"}),
                json!({"a": "-b"}),
                json!({"a": long(64)}),
                json!({"a b": "c"}),
                json!({"/a": "b"}),
                json!({"a/b/c": "d"}),
                json!({"Upper/a": "b"}),
                json!({long(64): "a"}),
                json!({"": "a"}),
            ] {
                server.create(kind, &kind.labeled("a", labels)).await.is("422 Invalid");
            }
            let annotated = |annotations: Value| with(&kind.named("a"), "/metadata/annotations", annotations);
            server.create(kind, &annotated(json!({"a b": "c"}))).await.is("422 Invalid");
            server.create(kind, &annotated(json!({"a": long(256 * 1024)}))).await.is("422 Invalid");
            let good = json!({"pleo.io/connection": "acme", "A_b.c-d": "", format!("a/{}", long(63)): long(63)});
            server.create(kind, &with(&annotated(json!({"a": "b c ü"})), "/metadata/labels", good)).await.is("201");
            server.patch(kind, "a", json!({"metadata": {"labels": {"a": "b c"}}})).await.is("422 Invalid");
        }
    })
    .await;
}

#[tokio::test]
async fn an_owner_is_named_in_full_and_only_one_controls() {
    same_on_both(async |server| {
        let owner = json!({"apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "name": "acme", "uid": "1"});
        let owner = with(&owner, "/controller", json!(true));
        for kind in ALL {
            let owned = |owners: Value| with(&kind.named("a"), "/metadata/ownerReferences", owners);
            for field in ["apiVersion", "kind", "name", "uid"] {
                server
                    .create(kind, &owned(json!([with(&owner, &format!("/{field}"), json!(""))])))
                    .await
                    .is("422 Invalid");
            }
            let other = with(&owner, "/uid", json!("2"));
            server.create(kind, &owned(json!([owner, other]))).await.is("422 Invalid");
            server.create(kind, &owned(json!([owner, with(&other, "/controller", json!(false))]))).await.is("201");
        }
    })
    .await;
}

#[tokio::test]
async fn an_object_is_where_its_path_says() {
    same_on_both(async |server| {
        for kind in ALL {
            let elsewhere = with(&kind.named("a"), "/metadata/namespace", json!("elsewhere"));
            server.create(kind, &elsewhere).await.is("400 BadRequest");
            let made = server.create(kind, &kind.named("a")).await.is("201");
            let moved = with(&made, "/metadata/namespace", json!("elsewhere"));
            server.put(kind, &moved).await.is("400 BadRequest");
            let path = format!("{}/a", server.path(kind));
            for name in [json!("b"), json!(null)] {
                let renamed = with(&made, "/metadata/name", name).to_string();
                server.send(Method::PUT, &path, JSON, renamed).await.is("400 BadRequest");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    same_on_both(async |server| {
        for kind in [SECRET, LEASE, CONNECTION] {
            let path = server.path(kind);
            for body in ["", "{", "[]", "1", "not json"] {
                server.send(Method::POST, &path, JSON, body.to_owned()).await.is("400 BadRequest");
            }
            let unreadable = with(&kind.named("a"), "/metadata/labels", json!({"a": 1}));
            server.create(kind, &unreadable).await.is("400 BadRequest");
            let of_another_version = with(&kind.named("a"), "/apiVersion", json!("v0"));
            server.create(kind, &of_another_version).await.is("400 BadRequest");
        }
        server.create(SECRET, &with(&SECRET.named("a"), "/kind", json!("Gadget"))).await.is("400 BadRequest");
        // The path says it, but not of a custom resource.
        server.create(SECRET, &with(&SECRET.named("a"), "/kind", json!(null))).await.is("201");
        server.create(CONNECTION, &with(&CONNECTION.named("a"), "/kind", json!(null))).await.is("400 BadRequest");
    })
    .await;
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    same_on_both(async |server| {
        for kind in [SECRET, CONNECTION] {
            let made = server.create(kind, &kind.named("a")).await.is("201");
            let sending = server.sending("text/plain");
            sending.create(kind, &kind.named("b")).await.is("415 UnsupportedMediaType");
            sending.put(kind, &made).await.is("415 UnsupportedMediaType");
            sending.patch(kind, "a", json!({})).await.is("415 UnsupportedMediaType");
            server.sending(JSON).patch(kind, "a", json!({})).await.is("415 UnsupportedMediaType");
        }
    })
    .await;
}

/// The operator waits for its CRD by this answer, which is not even a `Status` where the whole group is missing.
#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    same_on_both(async |server| {
        server.send(Method::GET, "/api/v1/namespaces/a/gadgets", JSON, String::new()).await.is("404 NotFound");
        for path in [
            "/apis/pleo.io/v1alpha1/namespaces/a/gadgets",
            "/apis/gadgets.example.com/v1/namespaces/a/gadgets",
            "/apis/gadgets.example.com/v1/gadgets?limit=1",
            "/nothing",
        ] {
            server.send(Method::GET, path, JSON, String::new()).await.is("404");
            server.metadata_only().send(Method::GET, path, JSON, String::new()).await.is("404");
        }
    })
    .await;
}

#[tokio::test]
async fn a_lease_must_last() {
    same_on_both(async |server| {
        let lease = |field: &str, value: Value| with(&LEASE.named("a"), &format!("/spec/{field}"), value);
        server.create(LEASE, &lease("leaseDurationSeconds", json!(0))).await.is("422 Invalid");
        server.create(LEASE, &lease("leaseTransitions", json!(-1))).await.is("422 Invalid");
        server.create(LEASE, &lease("holderIdentity", json!(null))).await.is("201");
        server.patch(LEASE, "a", json!({"spec": {"holderIdentity": "b"}})).await.is("200");
        server.patch(LEASE, "a", json!({"spec": {"leaseDurationSeconds": -1}})).await.is("422 Invalid");
    })
    .await;
}

#[tokio::test]
async fn an_event_says_who_did_what_to_whom() {
    same_on_both(async |server| {
        let event = with(&EVENT.named("a"), "/regarding/namespace", json!(server.namespace));
        let long = |length: usize| json!("x".repeat(length));
        for (field, wrong) in [
            ("regarding/namespace", json!("")),
            ("action", json!("")),
            ("action", long(129)),
            ("reason", json!("")),
            ("reason", long(129)),
            ("note", long(1025)),
            ("type", json!("Loud")),
            ("reportingController", json!("no/name/at all")),
            ("reportingInstance", json!("")),
            ("reportingInstance", long(129)),
            ("eventTime", json!(null)),
        ] {
            server.create(EVENT, &with(&event, &format!("/{field}"), wrong)).await.is("422 Invalid");
        }
        let longest = with(&with(&event, "/note", long(1024)), "/reportingInstance", long(128));
        server.create(EVENT, &longest).await.is("201");
    })
    .await;
}
