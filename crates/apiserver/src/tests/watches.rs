//! Watches: by hand, and below the real watcher and reflector.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use kube::{
    api::{WatchEvent, WatchParams},
    core::PartialObjectMeta,
};
use kube_runtime::{
    WatchStreamExt, reflector,
    watcher::{self, watcher},
};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::{Fault, Faults, Verb};

/// A watch in short: `+name`, `~name`, `-name`, `=version`, `!code`.
async fn told<T: kube::ResourceExt>(
    events: impl Stream<Item = kube::Result<WatchEvent<T>>>,
    most: usize,
) -> Vec<String> {
    let short = |event| match event {
        WatchEvent::Added(object) => format!("+{}", T::name_any(&object)),
        WatchEvent::Modified(object) => format!("~{}", object.name_any()),
        WatchEvent::Deleted(object) => format!("-{}@{}", object.name_any(), version(&object)),
        WatchEvent::Bookmark(bookmark) => format!("={}", bookmark.metadata.resource_version),
        WatchEvent::Error(status) => format!("!{}", status.code),
    };
    events.take(most).map_ok(short).try_collect().await.unwrap()
}

async fn label(client: &SimClient, name: &str, value: Value) {
    let patch = kube::api::Patch::Merge(json!({"metadata": {"labels": {"tier": value}}}));
    secrets(client).patch(name, &Default::default(), &patch).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_selection_is_entered_and_left() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    for value in [json!("gold"), json!("gilt"), json!("gold"), json!(null)] {
        label(&client, "a", value).await;
    }
    let gold = WatchParams::default().labels("tier=gold");
    let events = secrets(&client).watch(&gold, "2").await.unwrap();
    assert_eq!(told(events, 4).await, ["+a", "-a@4", "+a", "-a@6"]);
    let events = secrets(&client).watch(&WatchParams::default(), "4").await.unwrap();
    assert_eq!(told(events, 2).await, ["~a", "~a"]);
    let events = secrets(&client).watch(&WatchParams::default(), "0").await.unwrap();
    assert_eq!(told(events, 1).await, ["+a"], "from nowhere means from the present state");
    secrets(&client).delete("a", &Default::default()).await.unwrap();
    let events = secrets(&client).watch(&WatchParams::default(), "6").await.unwrap();
    assert_eq!(told(events, 1).await, ["-a@7"]);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_pass_the_time_and_the_watch_ends_when_asked() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    let began = Instant::now();
    let events = secrets(&client).watch(&WatchParams::default().timeout(100), "2").await.unwrap();
    connections(&client).create(&PUT, &connection("acme", json!({}))).await.unwrap();
    assert_eq!(told(events, 9).await, ["=3", "=3"], "at 60 s and just before the end");
    assert_eq!(began.elapsed().as_secs(), 100);
    let busy = tokio::spawn({
        let client = client.clone();
        async move {
            for round in 0.. {
                label(&client, "a", json!(round.to_string())).await;
                sleep(Duration::from_secs(7)).await;
            }
        }
    });
    let from = server.resource_version().to_string();
    let events = secrets(&client).watch(&WatchParams::default().timeout(100), &from).await.unwrap();
    let lines = told(events, 99).await;
    assert_eq!(lines.iter().filter(|line| line.starts_with('=')).count(), 2, "{lines:?}");
    busy.abort();
    let quiet = WatchParams { bookmarks: false, ..WatchParams::default().timeout(100) };
    let from = server.resource_version().to_string();
    let events = secrets(&client).watch(&quiet, &from).await.unwrap();
    assert_eq!(told(events, 9).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_version_is_gone() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    create(&client, "b", &[]).await;
    server.compact();
    let events = secrets(&client).watch(&WatchParams::default(), "1").await.unwrap();
    assert_eq!(told(events, 9).await, ["!410"]);
    let events = secrets(&client).watch(&WatchParams::default().timeout(5), "3").await.unwrap();
    assert_eq!(told(events, 9).await, ["=3"], "the present version is never forgotten");

    for round in 0..1200 {
        label(&client, "a", json!(format!("x{round}"))).await;
        label(&client, "a", json!(format!("y{round}"))).await;
    }
    let events = secrets(&client).watch(&WatchParams::default(), "2").await.unwrap();
    assert_eq!(told(events, 9).await, ["!410"], "history has an end");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_its_bookmark() {
    let server = ApiServer::new(1);
    let client = server.client("operator");
    create(&client, "a", &[]).await;
    let events = secrets(&client).watch(&WatchParams::default().initial_events(), "").await.unwrap();
    assert_eq!(told(events, 2).await, ["+a", "=2"]);
}

fn versions(objects: Vec<Arc<Value>>) -> BTreeMap<String, String> {
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
    objects.iter().map(|object| (text(object, "name"), text(object, "resourceVersion"))).collect()
}

/// Follows the reflector through changes, cuts and a compaction; in the end it must be as the store.
async fn reflect(config: watcher::Config) {
    let server = ApiServer::new(7);
    let (user, operator) = (server.undisturbed_client("user"), server.client("operator"));
    for name in ["a", "b", "c"] {
        create(&user, name, &[("tier", "gold")]).await;
    }
    let (reader, writer) = reflector::store::<Secret>();
    let events = watcher(secrets(&operator), config.labels("tier=gold")).default_backoff();
    let following = tokio::spawn(reflector(writer, events).for_each(|_| async {}));
    timeout(Duration::from_secs(60), reader.wait_until_ready()).await.unwrap().unwrap();
    assert_eq!(reader.len(), 3);

    server.set_faults(Faults { watch_cut: 2, ..Faults::storm() });
    for round in 0..50 {
        label(&user, "b", json!(if round % 2 == 0 { "tin" } else { "gold" })).await;
        sleep(Duration::from_secs(30)).await;
        if round == 20 {
            server.compact();
        }
    }
    secrets(&user).delete("c", &Default::default()).await.unwrap();
    server.set_faults(Faults::default());
    sleep(Duration::from_secs(600)).await;
    let kept = reader.state().iter().map(|object| json!(**object).into()).collect();
    assert_eq!(versions(kept), versions(server.all("secrets")));
    let watches = server.trace().iter().filter(|record| record.verb == Verb::Watch).count();
    assert!(watches > 5, "it was to begin anew again and again: {watches}");
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_reflector_over_lists_and_watches() {
    reflect(watcher::Config::default().page_size(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reflector_over_streaming_lists() {
    reflect(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_is_watched_without_the_rest() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let server = ApiServer::new(1);
        let client = server.client("operator");
        create(&client, "a", &[]).await;
        let metadata: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.kube(), "acme");
        let mut events = pin!(watcher(metadata, config).applied_objects());
        let first = events.next().await.unwrap().unwrap();
        assert_eq!(first.types.unwrap().kind, "PartialObjectMetadata");
        create(&client, "b", &[]).await;
        assert_eq!(events.next().await.unwrap().unwrap().metadata.name.as_deref(), Some("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_cut_or_hangs_with_its_line() {
    let server = ApiServer::new(1);
    let (user, client) = (server.client("user"), server.client("operator"));
    let watch = || async { Box::pin(secrets(&client).watch(&WatchParams::default(), "").await.unwrap()) };

    server.once(|call| call.verb == Verb::Watch, Fault::WatchCut(Duration::from_secs(5)));
    let began = Instant::now();
    assert!(watch().await.next().await.unwrap().is_err());
    assert_eq!((began.elapsed().as_secs(), server.rules_left()), (5, 0));

    let mut frozen = watch().await;
    client.freeze();
    create(&user, "a", &[]).await;
    assert!(timeout(Duration::from_secs(30), frozen.next()).await.is_err(), "nothing comes through");
    client.restore();
    assert!(frozen.next().await.unwrap().is_ok(), "and then it does");

    let cut = Instant::now();
    client.cut_off();
    assert!(frozen.next().await.unwrap().is_err());
    assert!(frozen.next().await.is_none());
    assert!(cut.elapsed() < Duration::from_secs(1), "not only when something is to be said");
}
