//! What the steps share while this replica leads.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    cluster::{Store, StoreError, lease::Leadership},
    domain::{
        commit::attempt::Terms,
        ledger::grant::{Grant, Holder},
        plan::{authentication::methods, next_refresh::Rotation, schedule::Pace},
        spec::{AllowedServers, ResolvedSpec, Server},
        token::ClientCredentials,
    },
    notify::Outbox,
    operator::{memory::Memory, notifier::PodNotifier, workqueue::WorkQueue},
    pleo::TokenEndpoint,
    telemetry::metrics::Metrics,
};

/// What the steps share.
pub struct Context {
    /// Reads and writes objects.
    pub store: Store,
    /// Sends refresh tokens.
    pub endpoint: Arc<dyn TokenEndpoint>,
    pub clock: Clock,
    /// From the flags.
    pub policy: Policy,
    /// Whether sending is still allowed.
    pub leadership: Leadership,
    /// What this process remembers, also from earlier terms.
    pub memory: Arc<Memory>,
    /// Says which connection is looked at next.
    pub workqueue: Arc<WorkQueue>,
    /// Notifies pods of rotations.
    pub notifier: PodNotifier,
    /// Notifies others that a user is needed.
    pub outbox: Outbox,
    /// Counts attempts.
    pub metrics: Arc<Metrics>,
    /// Work that must not be cut: shutdown waits for it.
    pub tracker: TaskTracker,
    /// Work that the next leader must not meet: from the look for another adopter to the adoption, and the claim. The Lease is
    /// kept until it is done, which is a matter of seconds.
    pub unsent: TaskTracker,
    /// The term is over: no new exchange.
    pub over: CancellationToken,
    pub stopping: CancellationToken,
}

/// What the flags say, for every connection alike.
#[derive(Clone, Debug)]
pub struct Policy {
    /// This process.
    pub holder: Holder,
    /// The namespaces to look after; none: all.
    pub namespaces: Vec<String>,
    /// The servers that may be talked to.
    pub allowed: AllowedServers,
    /// Whether introspection endpoints are asked.
    pub introspection: bool,
    pub pace: Pace,
    /// Where people reach this operator, for links; none: there are no links.
    pub links: Option<String>,
    /// How many connections are reconciled at once.
    pub concurrency: u16,
    /// How many tokens a server may reject until those of other connections are held; 0: any number.
    pub max_refusals: u32,
    /// How many pods are notified of rotations in a second; 0: none.
    pub notify_pods_per_second: u16,
}

impl Context {
    /// Forgets a connection that is gone.
    pub fn forget(&self, uid: &str) {
        self.memory.forget(uid);
        self.notifier.forget(uid);
    }

    /// What an attempt depends on.
    pub fn terms(
        &self,
        spec: &ResolvedSpec,
        server: &Server,
        client: &ClientCredentials,
        grant: &Grant,
        rotation: &Rotation,
    ) -> Terms {
        Terms {
            holder: self.policy.holder.clone(),
            client: client.fingerprint(&spec.uid),
            client_id: client.id_fingerprint(),
            methods: methods(spec.authentication, client, &server.token_url, grant, rotation.is_probe),
            generation: spec.generation,
            retry_timeout: spec.retry_timeout,
            pace: self.policy.pace,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Why a pass was broken off. The next one begins from what is stored.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A read or a write brought nothing.
    #[error("could not {doing}")]
    Store {
        doing: &'static str,
        #[source]
        source: StoreError,
    },
    /// A defect: a task panicked. What it had stored is stored.
    #[error("a task of the operator panicked; please report this")]
    Panicked(#[source] tokio::task::JoinError),
    /// The Lease is not ours any more, or this process is stopping: someone else does it.
    #[error("not leading any more")]
    NotLeading,
}

/// Says what was tried when a call failed.
pub trait Doing<T> {
    /// Adds what was tried.
    ///
    /// # Errors
    /// The call's own, with what was tried.
    fn doing(self, doing: &'static str) -> Result<T, ReconcileError>;
}

impl<T> Doing<T> for Result<T, StoreError> {
    fn doing(self, doing: &'static str) -> Result<T, ReconcileError> {
        self.map_err(|source| ReconcileError::Store { doing, source })
    }
}
