//! What a real API server takes of what the operator writes for consumers: one annotation on pods, and one in the pod
//! templates of workloads of each kind.

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::harness::{Flags, World, finish};

/// A pod on a node, as the scheduler leaves it.
fn pod(world: &World, name: &str, labels: Value) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": world.namespace, "labels": labels },
        "spec": {
            "nodeName": "nowhere",
            "automountServiceAccountToken": false,
            "containers": [{ "name": "web", "image": "web" }],
        },
    })
    .to_string()
}

fn workload(world: &World, kind: &str) -> String {
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "web" }] },
    });
    let spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": template });
    let metadata = json!({ "name": "web", "namespace": world.namespace });
    json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec }).to_string()
}

/// One list and one patch for each pod with the label, after the token Secret was written; nothing for other pods.
#[tokio::test(flavor = "multi_thread")]
async fn pods_with_the_label_are_told_and_others_are_not_touched() {
    let world = World::new("told").await;
    let account = json!({ "metadata": { "name": "default", "namespace": world.namespace } });
    world
        .cluster
        .apply(&format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {}}}", account["metadata"]))
        .unwrap();
    let operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    world.cluster.apply(&pod(&world, "web", json!({ "pleo.io/connection": "acme" }))).unwrap();
    world.cluster.apply(&pod(&world, "stranger", json!({}))).unwrap();

    world.request_refresh("acme", "now").await;
    operator.until_printed("notified pods").await;

    let pods: Api<Pod> = Api::namespaced(world.cluster.client().await.unwrap(), &world.namespace);
    let told = |pod: Pod| pod.annotations().get("pleo.io/rotation").cloned();
    assert_eq!(told(pods.get("web").await.unwrap()).as_deref(), Some("2"));
    assert_eq!(told(pods.get("stranger").await.unwrap()), None);
    let writes = world.writes();
    let at = |what: &str| writes.iter().rposition(|write| write == what);
    assert!(at("patch secrets/ acme-token") < at("patch pods/ web"), "{writes:#?}");
    assert_eq!(writes.iter().filter(|write| write.contains("pods/")).count(), 1, "{writes:#?}");
    finish(world).await;
}

/// Each kind of workload is marked, once for a rotation, also when the operator is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn workloads_of_each_kind_are_restarted_once() {
    let world = World::new("restarted").await;
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    for kind in kinds {
        world.cluster.apply(&workload(&world, kind)).unwrap();
    }
    let operator = world.operator(&Flags::identity("a"));
    world.consent("acme").await;
    let targets: Vec<Value> = kinds.map(|kind| json!({ "kind": kind, "name": "web" })).into();
    world.connect("acme", json!({ "restartTargets": targets })).await;
    for kind in kinds {
        operator.until_printed(&format!("restarted {kind} web")).await;
    }
    world.until_rotation("acme", 1).await;
    assert_eq!(operator.stop().await, 0);

    let looks = world.looks(&["acme".to_owned()]);
    let operator = world.operator(&Flags::identity("a"));
    world.until_looked_at(&["acme".to_owned()], &looks, 1).await;
    assert_eq!(operator.stop().await, 0);

    let client = world.cluster.client().await.unwrap();
    let (deployments, stateful_sets, daemon_sets): (Api<Deployment>, Api<StatefulSet>, Api<DaemonSet>) = (
        Api::namespaced(client.clone(), &world.namespace),
        Api::namespaced(client.clone(), &world.namespace),
        Api::namespaced(client, &world.namespace),
    );
    let generations = [
        deployments.get("web").await.unwrap().metadata.generation,
        stateful_sets.get("web").await.unwrap().metadata.generation,
        daemon_sets.get("web").await.unwrap().metadata.generation,
    ];
    assert_eq!(generations, [Some(2); 3], "one change each");
    let template = deployments.get("web").await.unwrap().spec.unwrap().template.metadata.unwrap();
    assert!(template.annotations.unwrap()["pleo.io/restarted-for"].starts_with("acme 1 "));
    finish(world).await;
}
