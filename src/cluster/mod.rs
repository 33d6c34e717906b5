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
    collections::BTreeMap,
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
    failures: Arc<Mutex<Failures>>,
}

/// When calls last failed for want of an answer.
#[derive(Default)]
struct Failures {
    /// Calls about the Lease, and about all namespaces.
    everywhere: Option<Instant>,
    /// A webhook that hangs for the objects of one namespace says nothing about the others.
    by_namespace: BTreeMap<String, Instant>,
}

/// A failure that is older than this delays nothing.
const OLD: Duration = Duration::from_secs(3600);

impl Store {
    /// A store behind a client that does not retry automatically.
    pub fn new(client: Client) -> Self {
        Self { client, own_writes: Arc::default(), failures: Arc::default() }
    }

    /// The client, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// When a call last failed for want of an answer, about this namespace or all of them. A process that could not reach the
    /// API server then may still write.
    pub fn last_failure(&self, namespace: &str) -> Option<Instant> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.everywhere.max(failures.by_namespace.get(namespace).copied())
    }

    /// A call about this namespace (none: all, or the Lease) had no answer.
    fn note_failure(&self, namespace: Option<&str>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match namespace {
            None => failures.everywhere = Some(Instant::now()),
            Some(namespace) => {
                failures.by_namespace.retain(|_, at| at.elapsed() < OLD);
                failures.by_namespace.insert(namespace.to_owned(), Instant::now());
            }
        }
    }

    /// A call about objects of this namespace (none: of all, or the Lease).
    async fn call<T>(
        &self,
        namespace: Option<&str>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, StoreError> {
        let result = in_time(call).await;
        if result.as_ref().is_err_and(StoreError::is_unreachable) {
            self.note_failure(namespace);
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

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// An API server whose storage fails for the objects of one namespace.
    fn store() -> Store {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let is_sick = request.uri().path().contains("/sick/");
            let (code, reason) = if is_sick { (500, "InternalError") } else { (404, "NotFound") };
            let status = serde_json::json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code, "message": ""});
            Ok::<_, std::io::Error>(
                Response::builder().status(code).body(Body::from(status.to_string().into_bytes())).unwrap(),
            )
        });
        Store::new(Client::new(service, "default"))
    }

    #[tokio::test]
    async fn a_failure_in_one_namespace_delays_no_other() {
        let store = store();
        assert!(store.read_connection("sick", "acme").await.is_err());
        assert!(store.read_connection("well", "acme").await.unwrap().is_none());
        assert_eq!((store.last_failure("sick").is_some(), store.last_failure("well")), (true, None));
    }

    #[tokio::test]
    async fn a_failure_of_the_lease_is_one_of_all_namespaces() {
        let store = store();
        store.note_failure(None);
        assert!(store.last_failure("well").is_some());
    }
}
