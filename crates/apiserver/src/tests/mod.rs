//! Does the simulated server behave as the real one?

mod faults;
mod lifecycle;
mod lists;
mod objects;
mod watches;

use super::{ApiServer, SimClient};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// For creates and replaces alike.
const PUT: PostParams = PostParams { dry_run: false, field_manager: None };

fn secrets(client: &SimClient) -> Api<Secret> {
    Api::namespaced(client.kube(), "acme")
}

fn pods(client: &SimClient) -> Api<Pod> {
    Api::namespaced(client.kube(), "acme")
}

fn connection_type() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("pleo.io", "v1alpha1", "PleoConnection"))
}

fn connections(client: &SimClient) -> Api<DynamicObject> {
    Api::namespaced_with(client.kube(), "acme", &connection_type())
}

fn connection(name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &connection_type()).data(json!({"spec": spec}))
}

fn secret(name: &str, labels: &[(&str, &str)]) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.into());
    secret.metadata.labels = Some(labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect());
    secret.string_data = Some(BTreeMap::from([("key".into(), "value".into())]));
    secret
}

async fn create(client: &SimClient, name: &str, labels: &[(&str, &str)]) -> Secret {
    secrets(client).create(&PUT, &secret(name, labels)).await.unwrap()
}

/// The status code of what must have been refused.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.expect_err("this should have been refused") {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("not an answer of the server: {other}"),
    }
}

fn version(object: &impl kube::ResourceExt) -> String {
    object.resource_version().expect("everything stored has a version")
}

fn names<T: kube::ResourceExt>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.name_any()).collect()
}

async fn merge(client: &SimClient, name: &str, patch: Value) -> kube::Result<Secret> {
    secrets(client).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}
