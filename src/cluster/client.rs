//! Finds the cluster as kubectl does, and makes a client that never retries on its own.

use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{Client, Config};

use crate::api::names;

/// The longest silence on a connection in the middle of a call. A watch is silent for longer; it is kept by bookmarks
/// and begun again by the watcher.
const READ_TIMEOUT: Duration = Duration::from_secs(295);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither in a cluster nor a kubeconfig.
    /// The cause is left out: a kubeconfig that cannot be read is quoted by its parser, tokens and keys included.
    #[error(
        "no cluster is configured, or its kubeconfig cannot be read: run it in a pod, or set KUBECONFIG to the path of a good one"
    )]
    NoConfig,
    /// What is configured cannot be used.
    #[error("the configured cluster cannot be used: check the certificates and the URL in the kubeconfig")]
    Unusable(#[source] Box<kube::Error>),
}

/// A client and the namespace that goes with it.
///
/// # Errors
/// If no cluster is configured. A cluster that is not there yet is no error.
pub async fn connect() -> Result<(Client, String), ConnectError> {
    let mut config = Config::infer().await.map_err(|_| ConnectError::NoConfig)?;
    // The default repeats POSTs for minutes; here every repetition is a decision.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(READ_TIMEOUT);
    // For audit logs, and for flow schemas of API priority and fairness.
    config.headers.push((USER_AGENT, HeaderValue::from_static(names::USER_AGENT)));
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| ConnectError::Unusable(Box::new(error)))?;
    Ok((client, namespace))
}
