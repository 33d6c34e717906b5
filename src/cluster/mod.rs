//! The edge to the API server: reads and writes of objects, and the Lease. (Watches are in `operator`.) What a write means is decided elsewhere.

pub mod client;
pub mod connections;
mod edits;
mod error;
pub mod events;
pub mod inputs;
pub mod lease;
mod own_writes;
pub mod pods;
pub mod secrets;
pub mod workloads;

pub use edits::Seen;
pub use error::StoreError;
pub use own_writes::OwnWrites;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::time::{Instant, timeout};

use crate::api::names;

/// No single call takes longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Who wrote a field, as the API server remembers it.
fn manager() -> Option<String> {
    Some(names::OPERATOR.to_owned())
}

/// Reads and writes objects. A call is made once: a caller that wants it again decides that.
#[derive(Clone)]
pub struct Store {
    client: Client,
    /// What this process wrote, so that it is not woken by it.
    pub own_writes: Arc<OwnWrites>,
    last_failure: Arc<Mutex<Option<Instant>>>,
}

impl Store {
    /// A store behind a client that does not retry automatically.
    pub fn new(client: Client) -> Self {
        Self { client, own_writes: Arc::default(), last_failure: Arc::default() }
    }

    /// The client, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// When a call last failed for want of an answer. A process that could not reach the API server then may still write.
    pub fn last_failure(&self) -> Option<Instant> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        let result = in_time(call).await;
        if result.as_ref().is_err_and(StoreError::is_unreachable) {
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        result
    }

    /// A call that no token depends on. That it hangs says nothing about those who store tokens, so no one's claim is waited
    /// for any longer; and what is said about other people's objects may quote them, so it is cut short.
    async fn best_effort_call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
        in_time(call).await.map_err(StoreError::redact_foreign)
    }
}

/// One call, and what became of it.
async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, StoreError> {
    let answer = timeout(CALL_TIMEOUT, call).await;
    answer.map_or_else(|_| Err(StoreError::TimedOut), |answer| answer.map_err(StoreError::from))
}
