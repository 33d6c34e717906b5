//! Reads and writes of the plugin, with errors that say which right is missing.

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use thiserror::Error;

use super::args::Which;
use crate::api::PleoConnection;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum CliError {
    /// There is no cluster to talk to.
    #[error("no cluster can be reached: look at KUBECONFIG and --context")]
    NoCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("you may not {doing} in the namespace {namespace}: ask for the right to {verb} {resource}")]
    Forbidden {
        doing: &'static str,
        /// Where.
        namespace: String,
        verb: &'static str,
        resource: &'static str,
    },
    /// There is none of this name.
    #[error("there is no {what} in the namespace {namespace}")]
    Missing {
        what: String,
        /// Where.
        namespace: String,
    },
    #[error("could not {doing}")]
    Failed {
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// Something that only a person can fix.
    #[error("{0}")]
    Message(String),
}

/// The cluster as a person sees it.
pub struct Cluster {
    pub client: Client,
    /// The namespace that commands are about.
    pub namespace: String,
}

impl Cluster {
    /// By kubeconfig, as kubectl does.
    ///
    /// # Errors
    /// If there is none, or it names no cluster.
    pub async fn connect(context: Option<&str>, namespace: Option<String>) -> Result<Self, CliError> {
        let config = match context {
            Some(context) => {
                let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
                let kubeconfig = Kubeconfig::read().map_err(|error| CliError::NoCluster(error.into()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|error| CliError::NoCluster(error.into()))?
            }
            None => Config::infer().await.map_err(|error| CliError::NoCluster(error.into()))?,
        };
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| CliError::NoCluster(error.into()))?;
        Ok(Self { client, namespace })
    }

    /// The connections of this namespace.
    pub fn connections(&self) -> Api<PleoConnection> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One connection.
    ///
    /// # Errors
    /// If it is not there, or may not be read.
    pub async fn connection(&self, name: &str) -> Result<PleoConnection, CliError> {
        let found = self.connections().get_opt(name).await;
        let found =
            found.map_err(|error| self.trouble(error, "read the connection", "get", "pleoconnections.pleo.io"))?;
        found.ok_or_else(|| CliError::Missing { what: format!("connection {name}"), namespace: self.namespace.clone() })
    }

    /// The connections that a command is about.
    ///
    /// # Errors
    /// If one is not there, or they may not be listed.
    pub async fn select(&self, which: &Which) -> Result<Vec<PleoConnection>, CliError> {
        if !which.names.is_empty() {
            let mut found = Vec::new();
            for name in &which.names {
                found.push(self.connection(name).await?);
            }
            return Ok(found);
        }
        let params =
            which.selector.as_ref().map_or_else(ListParams::default, |labels| ListParams::default().labels(labels));
        let found = self.connections().list(&params).await;
        found
            .map(|list| list.items)
            .map_err(|error| self.trouble(error, "list connections", "list", "pleoconnections.pleo.io"))
    }

    /// Changes a connection; `dry_run`: only finds out whether it could.
    ///
    /// # Errors
    /// If it may not be changed, or was not.
    pub async fn change(&self, name: &str, patch: &Value, dry_run: bool) -> Result<PleoConnection, CliError> {
        let field_manager = Some("kubectl-pleo".to_owned());
        let params = PatchParams { dry_run, field_manager, ..PatchParams::default() };
        let patched = self.connections().patch(name, &params, &Patch::Merge(patch)).await;
        patched.map_err(|error| self.trouble(error, "change the connection", "patch", "pleoconnections.pleo.io"))
    }

    /// The Secrets of this namespace.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Secret; none if it is not there.
    ///
    /// # Errors
    /// If it may not be read.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, CliError> {
        let found = self.secrets().get_opt(name).await;
        found.map_err(|error| self.trouble(error, "read the Secret", "get", "secrets"))
    }

    /// What was reported of a connection, the newest last.
    ///
    /// # Errors
    /// If events may not be listed.
    pub async fn events(&self, connection: &PleoConnection) -> Result<Vec<Event>, CliError> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let field = format!("regarding.name={}", connection.name_any());
        let found = api.list(&ListParams::default().fields(&field)).await;
        let found = found.map_err(|error| self.trouble(error, "list events", "list", "events.events.k8s.io"))?;
        let of_this = |event: &Event| {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.uid.as_ref());
            regarding == connection.metadata.uid.as_ref()
        };
        let mut events: Vec<Event> = found.items.into_iter().filter(of_this).collect();
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        Ok(events)
    }

    /// What an error means for the person.
    pub fn trouble(
        &self,
        error: kube::Error,
        doing: &'static str,
        verb: &'static str,
        resource: &'static str,
    ) -> CliError {
        match error {
            kube::Error::Api(status) if status.code == 403 => {
                CliError::Forbidden { doing, namespace: self.namespace.clone(), verb, resource }
            }
            other => CliError::Failed { doing, source: Box::new(other) },
        }
    }
}
