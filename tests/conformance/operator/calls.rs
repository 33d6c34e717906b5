//! Every call that the operator makes, by its own code: the same requests, answers and verdicts on both servers.

use std::sync::Arc;

use jiff::Timestamp;
use pleo_operator::{
    api::{PleoConnection, PleoConnectionStatus, RestartTarget, TokenState, WorkloadKind, names},
    clock::{Clock, WallClock},
    cluster::{
        Store, StoreError,
        lease::{Elector, LeaseConfig},
    },
    domain::{
        ledger::{
            grant::{Grant, Holder},
            held::StoredToken,
            known_token::KnownToken,
        },
        plan::adoption::TokenRemoval,
        report::status::Transition,
        snapshot::{
            GrantSecret, TokenSecret,
            published::{Access, Content},
        },
        spec::{AllowedServers, ResolvedSpec},
        token::{AccessToken, RefreshToken},
    },
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    kinds::{CONNECTION, DAEMON_SET, DEPLOYMENT, Kind, POD, SECRET, STATEFUL_SET, with},
    server::{Server, same_on_both, version_of},
};

/// What became of a call, in a word.
fn verdict<T>(result: &Result<T, StoreError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(StoreError::Conflict) => "conflict",
        Err(StoreError::NotFound) => "missing",
        Err(StoreError::Refused(_)) => "refused",
        Err(StoreError::Unavailable(_) | StoreError::TimedOut) => "outage",
    }
}

fn store(server: &Server) -> Store {
    Store::new(server.client.clone())
}

fn noon() -> Timestamp {
    Timestamp::from_second(1_798_804_800).unwrap()
}

/// A connection as the operator reads it, and what it wishes for.
async fn connection(server: &Server, name: &str, spec: Value) -> (PleoConnection, ResolvedSpec) {
    let mut object = CONNECTION.named(name);
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let made = server.create(CONNECTION, &object).await.is("201");
    let connection: PleoConnection = serde_json::from_value(made).unwrap();
    let spec = ResolvedSpec::read(&connection, &AllowedServers::new(Vec::new()));
    (connection, spec)
}

/// A grant with a candidate, as adoption writes it. Each story has tokens of its own: they are looked up everywhere.
fn adopted(server: &Server, spec: &ResolvedSpec, token: &str) -> Grant {
    let token = RefreshToken::new(format!("{token} of {}", server.namespace));
    let candidate = StoredToken::new(token, spec.token_url().unwrap().clone(), None);
    let mut grant = Grant::new(&spec.uid, 0);
    grant.history.push(KnownToken::new(candidate.fingerprint.clone(), candidate.server.clone()));
    grant.candidate = Some(candidate);
    grant
}

#[tokio::test]
async fn a_grant_is_written_by_compare_and_swap_alone() {
    same_on_both(async |server| {
        let store = store(server);
        let (_, spec) = connection(server, "acme", json!({})).await;
        let read = async || store.read_grant(&server.namespace, "acme").await.unwrap();
        let first = adopted(server, &spec, "first");
        assert_eq!(read().await, GrantSecret::Absent);
        assert_eq!(store.grant_version(&server.namespace, "acme").await.unwrap(), None);
        let made = store.write_grant(&spec, first.clone(), None).await.unwrap();
        assert_eq!(verdict(&store.write_grant(&spec, first.clone(), None).await), "conflict");
        assert_eq!(read().await, GrantSecret::Ours(made.clone()));

        let same = store.write_grant(&spec, first.clone(), Some(&made.version)).await.unwrap();
        assert_eq!(same.version, made.version, "a write that changes nothing is none");
        let spent = Grant { candidate: None, rotation: 1, ..first.clone() };
        let wiped = store.write_grant(&spec, spent.clone(), Some(&made.version)).await.unwrap();
        assert_eq!(verdict(&store.write_grant(&spec, first.clone(), Some(&made.version)).await), "conflict");
        assert_eq!(read().await, GrantSecret::Ours(wiped.clone()));
        server.patch(SECRET, "pleo-grant-acme", json!({"stringData": {"of": "somebody"}})).await.is("200");
        assert_eq!(verdict(&store.write_grant(&spec, spent.clone(), Some(&wiped.version)).await), "conflict");
        let now = store.grant_version(&server.namespace, "acme").await.unwrap();
        store.write_grant(&spec, first.clone(), now.as_deref()).await.unwrap();

        server.delete(SECRET, "pleo-grant-acme").await.is("200");
        assert_eq!(verdict(&store.write_grant(&spec, first, now.as_deref()).await), "missing");
        assert_eq!(verdict(&store.write_grant(&spec, spent, None).await), "done");
    })
    .await;
}

fn ready(rotation: u64) -> Content {
    let (expires_at, refresh_at) = (noon(), Some(noon()));
    let access = Access { token: AccessToken::new("access"), token_type: "Bearer".into(), expires_at, refresh_at };
    Content { access: Some(access), rotation, state: TokenState::Ready }
}

#[tokio::test]
async fn a_token_is_published_replaced_and_taken_away() {
    same_on_both(async |server| {
        let store = store(server);
        let template = json!({"labels": {"team": "finance"}, "annotations": {"note": "from the template"}});
        let (_, spec) = connection(server, "acme", json!({"secretTemplate": template})).await;
        let read = async || match store.look_at_token(&server.namespace, "acme-token", "acme").await.unwrap().what {
            TokenSecret::Ours(published) => published,
            other => panic!("not ours: {other:?}"),
        };
        let pending = Content { access: None, rotation: 0, state: TokenState::Pending };
        store.write_token(&spec, &pending, None).await.unwrap();
        assert_eq!(verdict(&store.write_token(&spec, &pending, None).await), "conflict");
        let before = read().await;
        let TokenSecret::Ours(after) = store.write_token(&spec, &ready(1), Some(&before)).await.unwrap() else {
            panic!("it is ours");
        };
        assert_eq!(read().await, after);
        assert_eq!(verdict(&store.write_token(&spec, &ready(2), Some(&before)).await), "conflict");
        let others = json!({"metadata": {"labels": {"by": "somebody"}}, "stringData": {"surplus": "x"}});
        server.patch(SECRET, "acme-token", others).await.is("200");
        let gone = Content { access: None, rotation: 1, state: TokenState::ReauthRequired };
        let found = read().await;
        store.write_token(&spec, &gone, Some(&found)).await.unwrap();
        assert_eq!(read().await.value.unknown_keys, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_token_secret_of_another_name_is_retired() {
    same_on_both(async |server| {
        let store = store(server);
        let (_, spec) = connection(server, "acme", json!({})).await;
        store.write_token(&spec, &ready(1), None).await.unwrap();
        server.create(SECRET, &SECRET.named("foreign")).await.is("201");
        for name in ["acme-token", "acme-token", "foreign"] {
            assert_eq!(verdict(&store.delete_old_token(&spec, name).await), "done");
        }
        server.get(SECRET, "acme-token").await.is("404 NotFound");
        server.get(SECRET, "foreign").await.is("200");
    })
    .await;
}

#[tokio::test]
async fn a_spent_token_is_tidied_away_with_its_copy() {
    same_on_both(async |server| {
        let store = store(server);
        let (_, spec) = connection(server, "acme", json!({})).await;
        let mut grant = with(&SECRET.named("acme-grant"), "/stringData", json!({"refresh_token": "spent"}));
        grant["metadata"]["annotations"] = json!({names::LAST_APPLIED_ANNOTATION: "spent", "stays": "1"});
        let made = server.create(SECRET, &grant).await.is("201");
        let token_removal = |version: &str, copied| TokenRemoval {
            fingerprint: RefreshToken::new("spent").fingerprint(),
            secret: "acme-grant".into(),
            key: "refresh_token".into(),
            version: version.into(),
            copied,
        };
        assert_eq!(verdict(&store.remove_token(&spec, &token_removal("1", true)).await), "conflict");
        assert_eq!(verdict(&store.remove_token(&spec, &token_removal(version_of(&made), true)).await), "done");
        let left = server.get(SECRET, "acme-grant").await.is("200");
        assert_eq!(verdict(&store.remove_token(&spec, &token_removal(version_of(&left), false)).await), "done");
        server.delete(SECRET, "acme-grant").await.is("200");
        assert_eq!(verdict(&store.remove_token(&spec, &token_removal(version_of(&left), false)).await), "missing");
    })
    .await;
}

#[tokio::test]
async fn who_adopted_a_token_is_found_by_its_label() {
    same_on_both(async |server| {
        let store = store(server);
        let (_, acme) = connection(server, "acme", json!({})).await;
        let (_, other) = connection(server, "other", json!({})).await;
        let grant = adopted(server, &acme, "shared");
        let fingerprint = grant.history[0].fingerprint.clone();
        let elsewhere = ["elsewhere".to_owned()];
        assert_eq!(store.adopter(&fingerprint, &other, &[]).await.unwrap(), None);
        store.write_grant(&acme, grant, None).await.unwrap();
        let found = Some(format!("{}/acme", server.namespace));
        assert_eq!(store.adopter(&fingerprint, &other, &[]).await.unwrap(), found);
        assert_eq!(store.adopter(&fingerprint, &other, std::slice::from_ref(&server.namespace)).await.unwrap(), found);
        assert_eq!(store.adopter(&fingerprint, &other, &elsewhere).await.unwrap(), None);
        assert_eq!(store.adopter(&fingerprint, &acme, &[]).await.unwrap(), None, "its own does not count");
    })
    .await;
}

#[tokio::test]
async fn a_status_is_written_for_the_version_that_was_read() {
    same_on_both(async |server| {
        let store = store(server);
        let (first, _) = connection(server, "acme", json!({})).await;
        let status = |rotation| PleoConnectionStatus { rotation: Some(rotation), ..PleoConnectionStatus::default() };
        let second = store.write_status(&first, status(1)).await.unwrap();
        assert_eq!(second.metadata.generation, first.metadata.generation);
        let same = store.write_status(&second, status(1)).await.unwrap();
        assert_eq!(same.metadata.resource_version, second.metadata.resource_version);
        assert_eq!(verdict(&store.write_status(&first, status(2)).await), "conflict");
        assert_eq!(store.read_connection(&server.namespace, "acme").await.unwrap(), Some(second.clone()));
        server.delete(CONNECTION, "acme").await.is("200");
        assert_eq!(verdict(&store.write_status(&second, status(2)).await), "missing");
        assert_eq!(store.read_connection(&server.namespace, "acme").await.unwrap(), None);
        store.check_connections(Some(&server.namespace)).await.unwrap();
    })
    .await;
}

/// The longest name and note, and letters that are longer than a byte.
#[tokio::test]
async fn events_are_taken_as_the_operator_writes_them() {
    same_on_both(async |server| {
        let store = store(server);
        let (connection, _) = connection(server, &"a".repeat(63), json!({})).await;
        for (message, warning) in [("it is refreshed".to_owned(), false), ("ü".repeat(600), true)] {
            let transition = Transition { reason: "ReauthRequired".into(), message, warning };
            let now = noon() + jiff::SignedDuration::from_nanos(i64::from(warning));
            let reporter = "pod-".repeat(40);
            store.write_event(&connection, &transition, &reporter, now).await.unwrap();
            assert_eq!(verdict(&store.write_event(&connection, &transition, &reporter, now).await), "conflict");
        }
    })
    .await;
}

#[tokio::test]
async fn pods_on_a_node_are_found_and_told() {
    same_on_both(async |server| {
        let store = store(server);
        let labels = json!({names::CONNECTION_LABEL: "acme"});
        for name in ["told", "untold", "leaving", "ended", "waiting", "stranger"] {
            let labels = if name == "stranger" { json!({}) } else { labels.clone() };
            let node = if name == "waiting" { json!(null) } else { json!("node-1") };
            server.create(POD, &with(&POD.labeled(name, labels), "/spec/nodeName", node)).await.is("201");
        }
        server.patch_status(POD, "ended", json!({"status": {"phase": "Succeeded"}})).await.is("200");
        server.delete(POD, "leaving").await.is("200");
        let untold = async |mark: &str| store.unnotified_pods(&server.namespace, "acme", mark).await.unwrap();
        assert_eq!(untold("1").await, ["told", "untold"]);
        for _ in 0..2 {
            assert_eq!(verdict(&store.notify_pod(&server.namespace, "told", "1").await), "done");
        }
        assert_eq!(untold("1").await, ["untold"]);
        assert_eq!(untold("2").await, ["told", "untold"]);
        assert_eq!(verdict(&store.notify_pod(&server.namespace, "gone", "1").await), "missing");
    })
    .await;
}

#[tokio::test]
async fn workloads_are_restarted_once_for_a_mark() {
    same_on_both(async |server| {
        let store = store(server);
        let workloads: [(Kind, WorkloadKind); 3] = [
            (DEPLOYMENT, WorkloadKind::Deployment),
            (STATEFUL_SET, WorkloadKind::StatefulSet),
            (DAEMON_SET, WorkloadKind::DaemonSet),
        ];
        for (kind, workload) in workloads {
            let target = RestartTarget { kind: workload, name: "web".into() };
            assert_eq!(verdict(&store.restart(&server.namespace, &target, "acme 1").await), "missing");
            server.create(kind, &kind.named("web")).await.is("201");
            for (mark, generation) in [("acme 1", 2), ("acme 1", 2), ("acme 2", 3)] {
                assert_eq!(verdict(&store.restart(&server.namespace, &target, mark).await), "done");
                let now = server.get(kind, "web").await.is("200");
                assert_eq!(now["metadata"]["generation"], generation);
            }
        }
    })
    .await;
}

/// A clock that stands still, so that both servers are sent the same times.
struct Noon;

impl WallClock for Noon {
    fn now(&self) -> Timestamp {
        noon()
    }
}

#[tokio::test]
async fn a_lease_is_made_released_and_taken_by_another() {
    same_on_both(async |server| {
        let clock: Clock = Arc::new(Noon);
        let elector = |identity: &str| {
            let config = LeaseConfig {
                namespace: server.namespace.clone(),
                name: "pleo-operator".into(),
                duration: std::time::Duration::from_secs(15),
            };
            let me = Holder { identity: identity.into(), process: format!("process of {identity}") };
            Elector::new(store(server), config, me, Arc::clone(&clock))
        };
        for identity in ["a", "b", "a"] {
            let mut elector = elector(identity);
            let (leading, mut leads) = watch::channel(false);
            tokio::select! {
                () = elector.campaign(&leading) => {}
                led = leads.wait_for(|leads| *leads) => assert!(led.is_ok()),
            }
            elector.release().await;
        }
    })
    .await;
}
