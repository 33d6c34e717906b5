//! Connections: reading one live, and writing its status.

use kube::{
    ResourceExt,
    api::{Api, ListParams, PostParams},
};

use super::{Store, StoreError};
use crate::api::{PleoConnection, PleoConnectionStatus, names};

/// Why no connection can be read, for one line in the log.
#[derive(Debug, thiserror::Error)]
pub enum NotReadable {
    /// The CRD is not there.
    #[error(
        "the CRD pleoconnections.pleo.io is not installed: run `pleo-operator crd | kubectl apply -f -`; waiting for it"
    )]
    NoCrd,
    #[error("no right to list pleoconnections.pleo.io {0}: bind the operator's role; waiting for it")]
    Forbidden(String),
    /// The API server is not there.
    #[error("the API server cannot be reached: check the cluster and its address; waiting for it")]
    Unreachable(#[source] StoreError),
}

impl Store {
    fn connections(&self, namespace: &str) -> Api<PleoConnection> {
        Api::namespaced(self.client(), namespace)
    }

    /// A connection as it is now, not as a cache remembers it: that may point the grant at the wrong server.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn read_connection(&self, namespace: &str, name: &str) -> Result<Option<PleoConnection>, StoreError> {
        self.call(self.connections(namespace).get_opt(name)).await
    }

    /// Replaces the status of the version that was read.
    ///
    /// # Errors
    /// If someone else wrote first, or the API server gave no answer or refused.
    pub async fn write_status(
        &self,
        read: &PleoConnection,
        status: PleoConnectionStatus,
    ) -> Result<PleoConnection, StoreError> {
        let mut connection = read.clone();
        connection.status = Some(status);
        let api = self.connections(&read.namespace().unwrap_or_default());
        let parameters = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
        self.call(api.replace_status(&read.name_any(), &parameters, &connection)).await
    }

    /// Whether connections can be listed in this namespace (none: everywhere).
    ///
    /// # Errors
    /// What is missing, in one line.
    pub async fn check_connections(&self, namespace: Option<&str>) -> Result<(), NotReadable> {
        let api: Api<PleoConnection> = match namespace {
            Some(namespace) => self.connections(namespace),
            None => Api::all(self.client()),
        };
        match self.call(api.list_metadata(&ListParams::default().limit(1))).await {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound) => Err(NotReadable::NoCrd),
            Err(StoreError::Refused(_)) => Err(NotReadable::Forbidden(
                namespace
                    .map_or_else(|| "in all namespaces".to_owned(), |namespace| format!("in namespace {namespace}")),
            )),
            Err(error @ (StoreError::Conflict | StoreError::Unavailable(_) | StoreError::TimedOut)) => {
                Err(NotReadable::Unreachable(error))
            }
        }
    }
}
