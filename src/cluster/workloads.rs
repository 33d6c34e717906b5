//! Workloads that a user names for a restart: one annotation in their pod template, as `kubectl rollout restart` does it.
//! How pods are replaced is up to the workload.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::apps::v1::{DaemonSet, Deployment, StatefulSet},
};
use kube::{
    Api, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Store, StoreError, manager};
use crate::api::{RestartTarget, WorkloadKind, names};

impl Store {
    /// Marks the pod template. The same mark a second time changes nothing, and restarts nothing.
    ///
    /// # Errors
    /// If the workload is not there, or the API server gave no answer or refused.
    pub async fn restart(&self, namespace: &str, target: &RestartTarget, mark: &str) -> Result<(), StoreError> {
        match target.kind {
            WorkloadKind::Deployment => self.mark_template::<Deployment>(namespace, &target.name, mark).await,
            WorkloadKind::StatefulSet => self.mark_template::<StatefulSet>(namespace, &target.name, mark).await,
            WorkloadKind::DaemonSet => self.mark_template::<DaemonSet>(namespace, &target.name, mark).await,
        }
    }

    async fn mark_template<K>(&self, namespace: &str, name: &str, mark: &str) -> Result<(), StoreError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let annotations = json!({ names::RESTARTED_FOR_ANNOTATION: mark });
        let patch = Patch::Merge(json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }));
        let parameters = PatchParams { field_manager: manager(), ..PatchParams::default() };
        let api: Api<K> = Api::namespaced(self.client(), namespace);
        self.best_effort_call(api.patch_metadata(name, &parameters, &patch)).await.map(drop)
    }
}
