//! Waiting for what is to come about, with the last words of the operators if it never does.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::{core::v1::Secret, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api,
    api::{ListParams, ObjectMeta, PostParams},
};
use kube_runtime::wait::await_condition;
use pleo_operator::api::{PleoConnection, PleoConnectionStatus};

use super::{PATIENCE, world::World};

impl World {
    /// Waits until the status of a connection is so; fails with the status as it is.
    pub async fn until(
        &self,
        name: &str,
        what: impl Fn(&PleoConnectionStatus) -> bool + Send + Sync + 'static,
    ) -> PleoConnectionStatus {
        let holds =
            move |connection: Option<&PleoConnection>| connection.and_then(|c| c.status.as_ref()).is_some_and(&what);
        match tokio::time::timeout(PATIENCE, await_condition(self.connections(), name, holds)).await {
            Ok(found) => found.unwrap().unwrap().status.unwrap(),
            Err(_) => {
                let now = self.connections().get(name).await.unwrap().status;
                panic!("{name} never came there. Its status: {now:#?}\n{}", self.log_tail());
            }
        }
    }

    /// Waits for a reason of `Ready`.
    pub async fn until_ready_is(&self, name: &str, reason: &'static str) -> PleoConnectionStatus {
        self.until(name, move |status| condition(status, "Ready").is_some_and(|ready| ready.reason == reason)).await
    }

    /// Waits for a reason of `ReauthRequired`.
    pub async fn until_reauth_is(&self, name: &str, reason: &'static str) -> PleoConnectionStatus {
        self.until(name, move |status| {
            condition(status, "ReauthRequired").is_some_and(|reauth| reauth.reason == reason)
        })
        .await
    }

    /// Waits for the status to tell of this many rotations.
    pub async fn until_rotation(&self, name: &str, rotation: i64) -> PleoConnectionStatus {
        self.until(name, move |status| status.rotation >= Some(rotation)).await
    }

    /// Waits until the sandbox has seen something.
    pub async fn until_sandbox(
        &self,
        what: &str,
        holds: impl Fn(&pleo_sandbox::authority::Authority) -> bool + Send + Sync + 'static,
    ) {
        assert!(
            self.sandbox.until(PATIENCE, holds).await.is_ok(),
            "the sandbox never saw: {what}\n{}",
            self.log_tail()
        );
    }

    /// One key of a Secret, as text.
    pub async fn value(&self, secret: &str, key: &str) -> Option<String> {
        let data = self.secrets().get(secret).await.ok()?.data?;
        data.get(key).map(|value| String::from_utf8(value.0.clone()).unwrap())
    }

    /// The notes of all events with this reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let all = events.list(&ListParams::default()).await.unwrap();
        let about = all.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        about.filter_map(|event| event.note).collect()
    }

    /// Waits for an event with this reason.
    pub async fn until_event(&self, reason: &str) {
        let begun = Instant::now();
        while self.events(reason).await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "no event {reason}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until one key of a Secret is so.
    pub async fn until_secret(
        &self,
        secret: &str,
        key: &str,
        what: impl Fn(Option<&str>) -> bool + Send + Sync + 'static,
    ) {
        let key = key.to_owned();
        let holds = move |secret: Option<&Secret>| {
            let value = secret.and_then(|secret| secret.data.as_ref()).and_then(|data| data.get(&key));
            what(value.map(|value| std::str::from_utf8(&value.0).unwrap()))
        };
        let found = tokio::time::timeout(PATIENCE, await_condition(self.secrets(), secret, holds)).await;
        assert!(found.is_ok(), "{secret} never came there\n{}", self.log_tail());
    }

    /// Waits until operators looked at each of these connections so many times more than `before`.
    pub async fn until_looked_at(&self, names: &[String], before: &[usize], times: usize) {
        let begun = Instant::now();
        let missing = |now: Vec<usize>| now.iter().zip(before).filter(|(now, before)| **now < **before + times).count();
        while missing(self.looks(names)) > 0 {
            assert!(begun.elapsed() < PATIENCE, "some were never looked at\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until an admission policy that was just applied is in force for Secrets of this name.
    pub async fn until_admission_refuses(&self, name: &str) {
        let begun = Instant::now();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let probe = Secret { metadata, ..Secret::default() };
        while self.secrets().create(&dry, &probe).await.is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the policy never came into force");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until somebody wrote a Secret after this version.
    pub async fn until_secret_changes(&self, secret: &str, after: &Secret) {
        let version = after.metadata.resource_version.clone();
        let newer =
            move |secret: Option<&Secret>| secret.is_some_and(|secret| secret.metadata.resource_version != version);
        let found = tokio::time::timeout(PATIENCE, await_condition(self.secrets(), secret, newer)).await;
        assert!(found.is_ok(), "{secret} was left as it was\n{}", self.log_tail());
    }

    /// Whether the access token that pods can see is the last one that the server issued to this connection: until it ends,
    /// the only one that it takes.
    pub async fn published_token_is_good(&self, name: &str) -> bool {
        let published = self.value(&format!("{name}-token"), "access_token").await;
        let newest = self.sandbox.read(|authority| authority.newest_tokens(name));
        published.is_some() && published == newest.and_then(|(_, access)| access)
    }
}
/// A condition of a status.
pub fn condition<'a>(status: &'a PleoConnectionStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// `status reason` of a condition, to read at a glance; `-` if it is not there.
pub fn told(status: &PleoConnectionStatus, kind: &str) -> String {
    condition(status, kind).map_or_else(|| "-".into(), |condition| format!("{} {}", condition.status, condition.reason))
}
