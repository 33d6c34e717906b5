//! The operator's own watches, by the watcher that it uses: Secrets as metadata only, connections that may not fit.
//!
//! The watcher's streaming lists are left out. It asks for them from version 0, and from there the real server may
//! begin with what was there some moments ago; the operator does not use them.

use std::{fmt::Debug, pin::pin};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::PartialObjectMeta,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use kube_runtime::watcher::{self, Config, Event, watcher};
use pleo_operator::api::PleoConnection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{
    kinds::{CONNECTION, Kind, SECRET},
    server::{Server, same_on_both},
};

/// Its event is the last of a story.
const LAST: &str = "zz-last";

fn api<K>(server: &Server) -> Api<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    // The watcher's own requests come when they come; what it makes of the answers is compared.
    Api::namespaced(server.quiet.clone(), &server.namespace)
}

/// Writes down what a watcher tells, until it is at rest or has told of the last object.
async fn follow<K>(server: &Server, events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin)) -> Vec<String>
where
    K: ResourceExt,
{
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        let (short, object) = match event.unwrap() {
            Event::Init => ("Init".to_owned(), None),
            Event::InitDone => ("InitDone".to_owned(), None),
            Event::InitApply(object) => (format!("InitApply {}", object.name_any()), Some(object)),
            Event::Apply(object) => (format!("Apply {}", object.name_any()), Some(object)),
            Event::Delete(object) => (format!("Delete {}", object.name_any()), Some(object)),
        };
        let metadata = object.as_ref().map_or(Value::Null, |object| json!({"metadata": object.meta()}));
        server.tape.note_object("a watcher told", &short, &metadata);
        let at_rest = short == "InitDone" || short.ends_with(LAST);
        told.push(short);
        if at_rest {
            return told;
        }
    }
    panic!("a watcher never ends");
}

/// A story that every watcher tells in the same way.
async fn tells_all<K>(server: &Server, kind: Kind, config: Config)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    for name in ["a", "b", "c"] {
        server.create(kind, &kind.named(name)).await.is("201");
    }
    let mut events = pin!(watcher(api::<K>(server), config));
    let expected = ["Init", "InitApply a", "InitApply b", "InitApply c", "InitDone"];
    assert_eq!(follow(server, &mut events).await, expected);
    server.patch(kind, "b", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
    server.patch(kind, "b", json!({"metadata": {"labels": {"a": "b"}}})).await.is("200");
    server.delete(kind, "a").await.is("200");
    server.create(kind, &kind.named(LAST)).await.is("201");
    assert_eq!(follow(server, &mut events).await, ["Apply b", "Delete a", "Apply zz-last"]);
    for name in ["b", "c", LAST] {
        server.delete(kind, name).await.is("200");
    }
}

#[tokio::test]
async fn secrets_are_followed_by_their_metadata() {
    same_on_both(async |server| {
        for config in [Config::default(), Config::default().page_size(2)] {
            tells_all::<PartialObjectMeta<Secret>>(server, SECRET, config).await;
        }
    })
    .await;
}

#[tokio::test]
async fn connections_are_followed_whole() {
    same_on_both(async |server| {
        for config in [Config::default(), Config::default().page_size(2)] {
            tells_all::<DeserializeGuard<PleoConnection>>(server, CONNECTION, config).await;
        }
    })
    .await;
}

/// A CRD that is not there is an error which the watcher repeats; the operator waits for it.
#[tokio::test]
async fn a_kind_that_is_not_served_cannot_be_followed() {
    same_on_both(async |server| {
        let gadgets =
            kube::core::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk("example.com", "v1", "Gadget"));
        let api: Api<kube::core::DynamicObject> =
            Api::namespaced_with(server.quiet.clone(), &server.namespace, &gadgets);
        let mut events = pin!(watcher(api, Config::default()));
        assert!(matches!(events.next().await, Some(Ok(Event::Init))));
        let Some(Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))) = events.next().await else {
            panic!("the list is refused");
        };
        assert_eq!(status.code, 404);
        server.tape.note("a watcher of what is not served", &status.code.to_string(), json!(status.reason));
    })
    .await;
}
