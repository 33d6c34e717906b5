//! Connections: reading one live, alone or with its grant, and writing its status.

use kube::{
    ResourceExt,
    api::{Api, ListParams, PostParams},
};

use super::{Store, StoreError};
use crate::{
    api::{PleoConnection, PleoConnectionStatus, names},
    domain::{
        ledger::grant::Grant,
        snapshot::{GrantSecret, LastReported, Versioned},
        spec::{AllowedServers, ResolvedSpec},
    },
};

/// Which connections this operator manages.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The servers that may be talked to.
    pub allowed: AllowedServers,
    /// None: all.
    pub namespaces: Vec<String>,
}

impl Scope {
    /// Whether there can be such a connection: the names may be anybody's text, and become part of a path.
    pub fn includes(&self, namespace: &str, name: &str) -> bool {
        let is_ours = self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace);
        is_ours && is_name(namespace) && is_name(name)
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (1..=253).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.') && !text.contains("..")
}

/// A connection and its grant, as they are stored.
pub struct Managed {
    pub spec: ResolvedSpec,
    pub grant: Versioned<Grant>,
}

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
        self.call(Some(namespace), self.connections(namespace).get_opt(name)).await
    }

    /// A connection with its grant, as they are now; none where there is nothing of ours.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn read_managed(
        &self,
        scope: &Scope,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Managed>, StoreError> {
        if !scope.includes(namespace, name) {
            return Ok(None);
        }
        // The grant first, as everywhere: its version is older than what is decided on.
        let mut grant = self.read_grant(namespace, name).await?;
        let Some(connection) = self.read_connection(namespace, name).await? else { return Ok(None) };
        let spec = ResolvedSpec::read(&connection, &scope.allowed);
        // A backup that was put back has old keys, and what is written into it would be lost.
        let reported = connection.status.as_ref().map(LastReported::by_status).unwrap_or_default();
        if grant.ours().is_some_and(|ours| reported.outdates(&ours.value)) {
            // It was read before the connection; someone may have written both in between.
            grant = self.read_grant(namespace, name).await?;
        }
        Ok(match grant.as_seen_by(&spec.uid).unless_outdated(reported) {
            GrantSecret::Ours(grant) if !spec.deleting => Some(Managed { spec, grant }),
            GrantSecret::Ours(_)
            | GrantSecret::Absent
            | GrantSecret::Stale(_)
            | GrantSecret::NotOwned
            | GrantSecret::Unreadable(_) => None,
        })
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
        let namespace = read.namespace().unwrap_or_default();
        let api = self.connections(&namespace);
        let parameters = PostParams { field_manager: Some(names::OPERATOR.to_owned()), ..PostParams::default() };
        self.call(Some(&namespace), api.replace_status(&read.name_any(), &parameters, &connection)).await
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
        match self.call(namespace, api.list_metadata(&ListParams::default().limit(1))).await {
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
