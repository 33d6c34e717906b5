//! Pods that ask to be notified of rotations: finding them, and writing the one annotation. The kubelet syncs a pod that changed
//! at once, with its Secrets; otherwise that takes about a minute.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{Api, ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{Store, StoreError, manager};
use crate::api::names;

/// Pods that run, or are about to, on a node. What is not on a node yet reads its Secrets when it comes there.
const ON_A_NODE: &str = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";
/// Pods of one answer.
const PAGE: u32 = 100;

impl Store {
    /// The names of the pods on a node with this connection's label and not yet this mark.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn unnotified_pods(
        &self,
        namespace: &str,
        connection: &str,
        mark: &str,
    ) -> Result<Vec<String>, StoreError> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let label = format!("{}={connection}", names::CONNECTION_LABEL);
        // From the API server's cache: a pod that has just started reads the new token anyway.
        let mut page = ListParams::default().match_any().labels(&label).fields(ON_A_NODE).limit(PAGE);
        let mut unnotified = Vec::new();
        loop {
            let list = self.best_effort_call(api.list_metadata(&page)).await?;
            let is_unnotified = |notified: Option<&String>| notified.is_none_or(|notified| notified != mark);
            let pods = list.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let pods = pods.filter(|pod| is_unnotified(pod.annotations().get(names::ROTATION_ANNOTATION)));
            unnotified.extend(pods.map(kube::ResourceExt::name_any));
            match list.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(unnotified),
            }
        }
    }

    /// Writes the annotation. No compare-and-swap: that it changes is all that matters to the kubelet, which reads the Secret
    /// itself; an older mark that comes late does no harm.
    ///
    /// # Errors
    /// If the pod is gone, or the API server gave no answer or refused.
    pub async fn notify_pod(&self, namespace: &str, pod: &str, mark: &str) -> Result<(), StoreError> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { names::ROTATION_ANNOTATION: mark } } }));
        let parameters = PatchParams { field_manager: manager(), ..PatchParams::default() };
        self.best_effort_call(api.patch_metadata(pod, &parameters, &patch)).await.map(drop)
    }
}
