//! Events: one for each transition of a condition. An event that cannot be written is a log line, never a failure.

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Resource, ResourceExt,
    api::{Api, ObjectMeta, PostParams},
};

use super::{Store, StoreError};
use crate::{
    api::{PleoConnection, names},
    domain::report::status::Transition,
};

/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;

impl Store {
    /// Writes an event for a transition. `reporter` is this process; `now` makes the event's name unique.
    ///
    /// # Errors
    /// If the API server gave no answer or refused.
    pub async fn write_event(
        &self,
        connection: &PleoConnection,
        transition: &Transition,
        reporter: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let namespace = connection.namespace().unwrap_or_default();
        let mut note = transition.message.clone();
        while note.len() > MAX_NOTE {
            note.pop();
        }
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}.{}.{:x}",
                    connection.name_any(),
                    transition.reason.to_lowercase(),
                    now.as_nanosecond()
                )),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(transition.reason.clone()),
            regarding: Some(ObjectReference {
                api_version: Some(PleoConnection::api_version(&()).into_owned()),
                kind: Some(PleoConnection::kind(&()).into_owned()),
                name: Some(connection.name_any()),
                namespace: Some(namespace.clone()),
                uid: connection.uid(),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(format!("pleo.io/{}", names::OPERATOR)),
            reporting_instance: Some(reporter.chars().take(128).collect()),
            type_: Some(if transition.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client(), &namespace);
        self.best_effort_call(api.create(&PostParams::default(), &event)).await.map(|_| ())
    }
}
