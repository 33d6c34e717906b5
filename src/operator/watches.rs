//! Watches: connections through a reflector, Secrets as metadata only and without a store, mapped through an index. Our own
//! writes come back as events and trigger nothing.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    future::{self, join},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::PartialObjectMeta,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use kube_runtime::{
    WatchStreamExt,
    reflector::{self, Store as Reflected},
    watcher::{self, watcher},
};
use tracing::{error, warn};

use crate::{
    api::{PleoConnection, names},
    domain::{governor::RECENT, queue::Key, report::status, spec::ResolvedSpec, time::between},
    operator::{
        context::Context,
        index::{Gone, Index},
    },
};

/// What the watch knows of the connections: also what the metrics are computed from.
pub type Connections = Reflected<PleoConnection>;

/// How long a look may wait for which nothing has changed, as far as is known.
const BACKGROUND: Duration = Duration::from_secs(30);

/// Offers connections to the queue, for one namespace (none: all), until it is dropped. `index` is what an earlier term knew of them.
pub async fn run(
    ctx: Arc<Context>,
    namespace: Option<String>,
    index: Arc<Index>,
    writer: reflector::store::Writer<PleoConnection>,
) {
    let connections = decodable(watcher(api(&ctx, namespace.as_deref()), watcher::Config::default()).default_backoff());
    let mut is_first_list = true;
    let connections = connections
        .map(|event| event.map(|event| event.modify(|connection| connection.managed_fields_mut().clear())))
        .reflect(writer)
        .for_each(|event| {
            note_broken(&ctx, "pleoconnections", namespace.as_deref(), &event);
            let is_listed = is_listed(&event);
            track(&ctx, &index, is_first_list, event);
            is_first_list &= !is_listed;
            future::ready(())
        });
    let secrets: Api<PartialObjectMeta<Secret>> = api(&ctx, namespace.as_deref());
    let mut is_first_list = true;
    let secrets = watcher(secrets, watcher::Config::default()).default_backoff().for_each(|event| {
        note_broken(&ctx, "secrets", namespace.as_deref(), &event);
        let is_listed = is_listed(&event);
        secret_event(&ctx, &index, is_first_list, event);
        is_first_list &= !is_listed;
        future::ready(())
    });
    join(connections, secrets).await;
}

fn api<K>(ctx: &Context, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(ctx.store.client(), namespace),
        None => Api::all(ctx.store.client()),
    }
}

type Guarded = DeserializeGuard<PleoConnection>;
type Event<K> = Result<watcher::Event<K>, watcher::Error>;

/// One object that cannot be decoded must not stop all the others: it costs a log line.
fn decodable(events: impl Stream<Item = Event<Guarded>> + Send) -> impl Stream<Item = Event<PleoConnection>> + Send {
    let good = |guarded: Guarded| match guarded.0 {
        Ok(connection) => Some(connection),
        Err(invalid) => {
            error!(
                namespace = invalid.metadata.namespace,
                connection = invalid.metadata.name,
                "this connection does not fit the CRD and is left alone: {}",
                invalid.error
            );
            None
        }
    };
    events.filter_map(move |event| {
        future::ready(match event {
            Ok(watcher::Event::Apply(object)) => good(object).map(|object| Ok(watcher::Event::Apply(object))),
            Ok(watcher::Event::Delete(object)) => good(object).map(|object| Ok(watcher::Event::Delete(object))),
            Ok(watcher::Event::InitApply(object)) => good(object).map(|object| Ok(watcher::Event::InitApply(object))),
            Ok(watcher::Event::Init) => Some(Ok(watcher::Event::Init)),
            Ok(watcher::Event::InitDone) => Some(Ok(watcher::Event::InitDone)),
            Err(error) => Some(Err(error)),
        })
    })
}

fn is_listed<K>(event: &Event<K>) -> bool {
    matches!(event, Ok(watcher::Event::InitDone))
}

/// A watch that is broken: until it is back, changes are seen late. It is retried, also where the others go on.
fn note_broken<K>(ctx: &Context, resource: &'static str, namespace: Option<&str>, event: &Event<K>) {
    if let Err(error) = event {
        ctx.metrics.watch_error(resource);
        warn!(resource, namespace, "a watch is broken, retrying: {error}");
    }
}

/// Keeps the index, offers what has changed, and forgets what is gone, also what a list does not have any more.
fn track(ctx: &Context, index: &Index, is_first_list: bool, event: Event<PleoConnection>) {
    let gone = match event {
        Ok(watcher::Event::Apply(connection)) => {
            let put = index.put(&connection, spec_hash(&connection));
            if put.is_changed {
                ctx.workqueue.offer(&key(&connection), Duration::ZERO);
            }
            put.gone.into_iter().collect()
        }
        Ok(watcher::Event::InitApply(connection)) => {
            let put = index.put(&connection, spec_hash(&connection));
            if is_first_list {
                note_connection(ctx, &connection);
            }
            put.gone.into_iter().collect()
        }
        Ok(watcher::Event::Delete(connection)) => {
            // It waits for nothing any more.
            ctx.workqueue.offer(&key(&connection), Duration::ZERO);
            index.remove(&connection).into_iter().collect()
        }
        Ok(watcher::Event::Init) => {
            index.begins_list();
            Vec::new()
        }
        Ok(watcher::Event::InitDone) => {
            let gone = index.ends_list();
            offer_all(ctx, index);
            gone
        }
        Err(_) => Vec::new(),
    };
    for Gone { namespace, uid, secrets } in gone {
        uid.iter().for_each(|uid| ctx.forget(uid));
        let unnamed = secrets.iter().filter(|secret| index.connections(&namespace, secret).is_empty());
        unnamed.for_each(|secret| ctx.store.own_writes.forget(&namespace, secret));
    }
}

/// Another process may have led until now: what it met counts as well.
fn note_connection(ctx: &Context, connection: &PleoConnection) {
    let spec = ResolvedSpec::read(connection, &ctx.policy.allowed);
    let rejected_at = connection.status.as_ref().and_then(status::rejected_at);
    let is_recent = rejected_at.is_some_and(|at| between(at, ctx.now()) < RECENT);
    if let Some(server) = spec.token_url() {
        ctx.workqueue.note_connection(server, &spec.uid, is_recent);
    }
}

/// A list does not show what happened while no one watched.
fn offer_all(ctx: &Context, index: &Index) {
    index.all().iter().for_each(|key| ctx.workqueue.offer(key, BACKGROUND));
}

fn key(connection: &PleoConnection) -> Key {
    (connection.namespace().unwrap_or_default(), connection.name_any())
}

/// What a pass depends on: the spec, the refresh request, deletion, and whether it is a namesake. Not the status: that is ours.
fn spec_hash(connection: &PleoConnection) -> u64 {
    let mut hasher = DefaultHasher::new();
    connection.metadata.uid.hash(&mut hasher);
    connection.metadata.generation.hash(&mut hasher);
    connection.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    connection.annotations().get(names::REFRESH_REQUESTED_ANNOTATION).hash(&mut hasher);
    hasher.finish()
}

/// Offers the connections whose Secrets someone else changed.
fn secret_event(ctx: &Context, index: &Index, is_first_list: bool, event: Event<PartialObjectMeta<Secret>>) {
    match event {
        Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret) | watcher::Event::Delete(secret)) => {
            concerned(ctx, index, &secret).iter().for_each(|key| ctx.workqueue.offer(key, Duration::ZERO));
        }
        // The first list shows everything.
        Ok(watcher::Event::InitDone) if !is_first_list => offer_all(ctx, index),
        Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => {}
    }
}

fn concerned(ctx: &Context, index: &Index, secret: &PartialObjectMeta<Secret>) -> Vec<Key> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let version = secret.resource_version().unwrap_or_default();
    let news = |connection: &String| ctx.store.own_writes.is_news(&namespace, connection, &name, &version);
    let connections = index.connections(&namespace, &name).into_iter().filter(news);
    connections.map(|connection| (namespace.clone(), connection)).collect()
}
