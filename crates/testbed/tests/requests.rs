//! What a test does with a cluster: apply, ask, act as somebody with few rights, and count requests.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchParams};
use pleo_testbed::{Request, shared};
use serde_json::json;

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, ..ConfigMap::default() }
}

/// A request in short: verb, resource with subresource, name, user, code.
fn short(request: &Request) -> String {
    let resource = [request.resource.as_str(), request.subresource.as_str()].join("/");
    let resource = resource.trim_end_matches('/');
    format!("{} {resource} {} {} {}", request.verb, request.name, request.user, request.code)
}

#[test]
fn kubectl_gets_what_was_applied() {
    let cluster = shared().unwrap();
    let namespace = cluster.namespace("apply").unwrap();
    let object = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n")
    };
    cluster.apply(&(object("one") + &object("two"))).unwrap();
    let output = cluster.kubectl().args(["get", "configmaps", "-n", &namespace, "-o", "name"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "configmap/one\nconfigmap/two\n");
}

#[test]
fn a_refused_object_is_an_error_with_the_reason() {
    let error = shared().unwrap().apply("{apiVersion: v1, kind: Secret, metadata: {name: UPPER}}").unwrap_err();
    assert!(error.to_string().contains("Invalid value: \"UPPER\""), "{error}");
}

#[tokio::test]
async fn writes_are_counted_exactly_and_failed_ones_too() {
    let cluster = shared().unwrap();
    let namespace = cluster.namespace("writes").unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client().await.unwrap(), &namespace);
    let post = PostParams::default();
    let patch = Patch::Merge(json!({ "data": { "key": "value" } }));

    let made = maps.create(&post, &config_map("a")).await.unwrap();
    maps.create(&post, &config_map("a")).await.unwrap_err();
    maps.replace("a", &post, &made).await.unwrap();
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    maps.get("a").await.unwrap();
    maps.list(&ListParams::default()).await.unwrap();
    let mut events = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    events.try_next().await.unwrap().unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    maps.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();

    let writes: Vec<String> = cluster.writes(&namespace).unwrap().iter().map(short).collect();
    let expected = [
        "create configmaps a admin 201",
        "create configmaps a admin 409",
        "update configmaps a admin 200",
        "patch configmaps a admin 200",
        "delete configmaps a admin 200",
        "deletecollection configmaps  admin 200",
    ];
    assert_eq!(writes, expected);
    let mut requests: Vec<String> = cluster.requests(&namespace).unwrap().iter().map(short).collect();
    requests.retain(|request| !expected.contains(&request.as_str()));
    let reads = ["get configmaps a admin 200", "list configmaps  admin 200", "watch configmaps  admin 200"];
    assert_eq!(requests, reads);
}

#[tokio::test]
async fn many_writers_at_once_are_counted_exactly() {
    let cluster = shared().unwrap();
    let namespace = cluster.namespace("many").unwrap();
    let client = cluster.client().await.unwrap();
    let tasks = (0..8).map(|writer| {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
        tokio::spawn(async move {
            for number in 0..25 {
                maps.create(&PostParams::default(), &config_map(&format!("{writer}-{number}"))).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(cluster.writes(&namespace).unwrap().len(), 200);
}

#[tokio::test]
async fn another_user_may_do_what_a_role_grants_and_no_more() {
    let cluster = shared().unwrap();
    let namespace = cluster.namespace("rights").unwrap();
    let user = "system:serviceaccount:operators:narrow";
    let kubeconfig = cluster.kubeconfig_for(user, &["testers"]).unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client_with(&kubeconfig).await.unwrap(), &namespace);

    let forbidden = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.is_forbidden());
    assert!(forbidden(maps.create(&PostParams::default(), &config_map("a")).await.unwrap_err()));
    cluster
        .apply(&format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: create, namespace: {namespace}}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [create]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: create, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: create}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: testers}}]
"
        ))
        .unwrap();
    // The authorizer learns of a new role by a watch, a moment later.
    let granted = async {
        while let Err(error) = maps.create(&PostParams::default(), &config_map("a")).await {
            assert!(forbidden(error));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), granted).await.unwrap();
    assert!(forbidden(maps.list(&ListParams::default()).await.unwrap_err()));

    let own = cluster.writes(&namespace).unwrap().into_iter().filter(|write| write.user == user);
    let codes: Vec<u16> = own.map(|write| write.code).collect();
    let (last, refused) = codes.split_last().unwrap();
    assert_eq!(*last, 201);
    assert!(!refused.is_empty() && refused.iter().all(|code| *code == 403));
}
