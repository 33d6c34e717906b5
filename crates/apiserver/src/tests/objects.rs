//! Single objects: reading, writing, who wins, and what a write changes.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::core::Resource;

use super::*;
use crate::{EPOCH, Refusal, Verb};

#[tokio::test(start_paused = true)]
async fn a_created_object_gets_its_identity_from_the_server() {
    let server = ApiServer::new(1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let client = server.client("user");
    let made = create(&client, "one", &[]).await;
    assert_eq!(made.metadata.namespace.as_deref(), Some("acme"));
    assert_eq!(made.metadata.uid.as_deref(), Some("00000000-0000-4000-8000-000000000001"));
    assert_eq!(made.meta().creation_timestamp.as_ref().unwrap().0, EPOCH + SignedDuration::from_secs(60));
    assert_eq!(made.metadata.generation, None, "Secrets have none");
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    assert_eq!(made.data.unwrap()["key"].0, b"value");
    assert_eq!(server.object("secrets", "acme", "one").unwrap()["stringData"], Value::Null);

    let again = secrets(&client).create(&PUT, &secret("one", &[])).await;
    assert_eq!(refusal(again), (409, "AlreadyExists".into()));
    let with_version = secrets(&client).create(&PUT, &secrets(&client).get("one").await.unwrap()).await;
    assert_eq!(refusal(with_version).0, 500, "it bears a resourceVersion");
    assert_eq!(refusal(secrets(&client).get("two").await), (404, "NotFound".into()));
    assert!(secrets(&client).get_opt("two").await.unwrap().is_none());

    let mut nameless = secret("", &[]);
    nameless.metadata.name = None;
    nameless.metadata.generate_name = Some("pleo-".into());
    let named = secrets(&client).create(&PUT, &nameless).await.unwrap();
    assert!(named.metadata.name.unwrap().starts_with("pleo-0"));
}

#[tokio::test(start_paused = true)]
async fn compare_and_swap() {
    let server = ApiServer::new(1);
    let (one, two) = (server.client("one"), server.client("two"));
    let seen = create(&one, "grant", &[]).await;
    let mut mine = seen.clone();
    mine.metadata.labels = Some(BTreeMap::from([("holder".into(), "one".into())]));
    let mine = secrets(&one).replace("grant", &PUT, &mine).await.unwrap();
    assert_ne!(version(&mine), version(&seen));

    let mut late = seen.clone();
    late.metadata.labels = Some(BTreeMap::from([("holder".into(), "two".into())]));
    assert_eq!(refusal(secrets(&two).replace("grant", &PUT, &late).await), (409, "Conflict".into()));
    let old = json!({"metadata": {"resourceVersion": version(&seen), "labels": {"holder": "two"}}});
    assert_eq!(refusal(merge(&two, "grant", old).await), (409, "Conflict".into()));

    // Without a version it is not a swap: the last one wins, and the uid still guards.
    late.metadata.resource_version = None;
    secrets(&two).replace("grant", &PUT, &late).await.unwrap();
    late.metadata.uid = Some("another".into());
    assert_eq!(refusal(secrets(&two).replace("grant", &PUT, &late).await), (409, "Conflict".into()));
    let foreign = json!({"metadata": {"uid": "another"}});
    assert_eq!(refusal(merge(&two, "grant", foreign).await), (422, "Invalid".into()));
    assert_eq!(server.object("secrets", "acme", "grant").unwrap()["metadata"]["labels"]["holder"], "two");
}

#[tokio::test(start_paused = true)]
async fn leases_and_connections_are_never_updated_without_a_version() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    let leases: Api<Lease> = Api::namespaced(client.kube(), "acme");
    let lease =
        Lease { metadata: kube::core::ObjectMeta { name: Some("leader".into()), ..Default::default() }, spec: None };
    // A PUT creates a Lease that is not there, as it does on the real server.
    leases.replace("leader", &PUT, &lease).await.unwrap();
    assert_eq!(refusal(leases.replace("leader", &PUT, &lease).await), (422, "Invalid".into()));

    let taken = leases.get("leader").await.unwrap();
    leases.delete("leader", &Default::default()).await.unwrap();
    assert_eq!(refusal(leases.replace("leader", &PUT, &taken).await), (409, "Conflict".into()));

    let object = connection("acme", json!({}));
    let missing = connections(&client).replace("acme", &PUT, &object).await;
    assert_eq!(refusal(missing), (404, "NotFound".into()));
    connections(&client).create(&PUT, &object).await.unwrap();
    let blind = connections(&client).replace("acme", &PUT, &object).await;
    assert_eq!(refusal(blind), (422, "Invalid".into()));
}

#[tokio::test(start_paused = true)]
async fn spec_and_status_are_written_apart_and_generation_follows_the_spec() {
    let server = ApiServer::new(1);
    let api = connections(&server.client("operator"));
    let mut object = connection("acme", json!({"size": 1}));
    object.data["status"] = json!({"ready": true});
    let made = api.create(&PUT, &object).await.unwrap();
    assert_eq!((made.metadata.generation, made.data.get("status")), (Some(1), None));

    let mut both = made.clone();
    both.data = json!({"spec": {"size": 2}, "status": {"ready": true}});
    let put = api.replace("acme", &PUT, &both).await.unwrap();
    assert_eq!((put.metadata.generation, &put.data), (Some(2), &json!({"spec": {"size": 2}})));

    let mut both = put.clone();
    both.data = json!({"spec": {"size": 3}, "status": {"ready": true}});
    let put = api.replace_status("acme", &PUT, &both).await.unwrap();
    assert_eq!(put.data, json!({"spec": {"size": 2}, "status": {"ready": true}}));
    assert_eq!(put.metadata.generation, Some(2));

    let patch = Patch::Merge(json!({"spec": {"size": 4}, "status": {"ready": null, "seen": 2}}));
    let put = api.patch_status("acme", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(put.data, json!({"spec": {"size": 2}, "status": {"seen": 2}}));
    let put = api.patch("acme", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(put.data, json!({"spec": {"size": 4}, "status": {"seen": 2}}));
    assert_eq!(put.metadata.generation, Some(3));

    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let put = api.patch("acme", &PatchParams::default(), &label).await.unwrap();
    assert_eq!(put.metadata.generation, Some(3));
    assert_eq!(refusal(api.replace_status("acme", &PUT, &both).await), (409, "Conflict".into()));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    let made = create(&client, "grant", &[]).await;
    let before = server.resource_version();
    let same = secrets(&client).replace("grant", &PUT, &made).await.unwrap();
    assert_eq!(version(&same), version(&made));
    // A typed client writes out what is empty; the server keeps none of it.
    let empty = json!({"metadata": {"annotations": {}}, "stringData": {"key": "value"}});
    assert_eq!(version(&merge(&client, "grant", empty).await.unwrap()), version(&made));
    assert_eq!(server.resource_version(), before);
    assert_eq!(server.writes().iter().map(|write| write.changed).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn metadata_is_answered_without_the_rest() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[("a", "b")]).await;
    let got = secrets(&client).get_metadata("grant").await.unwrap();
    assert_eq!(got.metadata.labels.unwrap()["a"], "b");
    assert_eq!(got.types.unwrap().kind, "PartialObjectMetadata");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"touched": "now"}}}));
    let got = secrets(&client).patch_metadata("grant", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(got.metadata.annotations.unwrap()["touched"], "now");
    let list = secrets(&client).list_metadata(&Default::default()).await.unwrap();
    assert_eq!(names(list.items), ["grant"]);
    let asked = server.trace().split_off(1);
    assert!(asked.iter().all(|record| record.metadata_only));
    assert!(asked[0].to_string().contains("operator Get secrets acme/grant (metadata) 200"), "{}", asked[0]);
}

#[tokio::test(start_paused = true)]
async fn a_test_can_refuse_writes() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[]).await;
    server.refuse_writes(|call, object| {
        let forbidden = call.resource == "secrets" && call.verb == Verb::Patch && object["data"]["token"].is_string();
        forbidden.then(|| Refusal::new(403, "Forbidden", "no tokens here"))
    });
    merge(&client, "grant", json!({"stringData": {"other": "x"}})).await.unwrap();
    let token = || merge(&client, "grant", json!({"stringData": {"token": "x"}}));
    assert_eq!(refusal(token().await), (403, "Forbidden".into()));
    server.refuse_nothing();
    token().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_simulated_says_so() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "grant", &[]).await;
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "Secret"}));
    let applied = secrets(&client).patch("grant", &PatchParams::apply("me"), &apply).await;
    assert_eq!(refusal(applied).0, 501);
    let events: Api<Event> = Api::namespaced(client.kube(), "acme");
    assert_eq!(refusal(events.get_status("one").await).0, 404);
}
