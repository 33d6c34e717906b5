//! A real etcd and kube-apiserver on loopback, for tests and for playing.
//!
//! ```no_run
//! let cluster = pleo_testbed::Cluster::start()?;
//! let namespace = cluster.namespace("my-test")?;
//! cluster.apply(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: a, namespace: {namespace}}}}}"))?;
//! assert_eq!(cluster.writes(&namespace)?.len(), 1);
//! # Ok::<(), pleo_testbed::Error>(())
//! ```
//!
//! A cluster starts in some seconds, several run side by side, and none outlives the process that started it.
//! Its servers come from the folder that `KUBEBUILDER_ASSETS` names, or are built from source, once.

mod access;
mod assets;
mod audit;
mod client;
mod cluster;
mod error;
mod guard;
pub mod nodes;
mod servers;

use std::sync::OnceLock;

pub use assets::{Assets, NodeAssets};
pub use audit::{Request, Write};
pub use cluster::{Builder, Cluster};
pub use error::Error;

/// One cluster for all tests of a binary, started by the first that asks; it ends with the process. Tests keep
/// apart by a [namespace](Cluster::namespace) each, and must not stop or freeze it.
pub fn shared() -> Result<&'static Cluster, &'static Error> {
    static SHARED: OnceLock<Result<Cluster, Error>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}
