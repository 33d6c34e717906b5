//! Watches: connections through a reflector, Secrets as metadata only and without a store, mapped through an index. Our own
//! writes come back as events and trigger nothing.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc, future, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::PartialObjectMeta,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use kube_runtime::{
    WatchStreamExt,
    controller::{Action, Config, Controller},
    reflector::{self, ObjectRef, Store as Reflected},
    watcher::{self, watcher},
};
use tracing::{debug, error, warn};

use crate::{
    api::{PleoConnection, names},
    operator::{
        context::{Context, ReconcileError},
        index::{Gone, Index},
        reconcile::reconcile,
    },
};

/// What the controller knows of the connections: also what the metrics are computed from.
pub type Connections = Reflected<PleoConnection>;

/// A controller for one namespace (none: all), until it is dropped. `register` gets its view of the connections.
/// `index` is what an earlier term knew of them.
pub async fn run(
    ctx: Arc<Context>,
    namespace: Option<String>,
    index: Arc<Index>,
    register: impl FnOnce(Connections) + Send,
) {
    let (relisted, relists) = mpsc::unbounded();
    let (reader, writer) = reflector::store();
    register(reader.clone());
    let connections = decodable(watcher(api(&ctx, namespace.as_deref()), watcher::Config::default()).default_backoff());
    let connections = connections
        .map(|event| event.map(|event| event.modify(|connection| connection.managed_fields_mut().clear())))
        .reflect(writer)
        .inspect({
            let (ctx, index, relisted) = (Arc::clone(&ctx), Arc::clone(&index), relisted.clone());
            move |event| track(&ctx, &index, &relisted, event)
        })
        .applied_objects()
        .predicate_filter(spec_changed, kube_runtime::PredicateConfig::default());
    let secrets = secret_events(Arc::clone(&ctx), Arc::clone(&index), relisted, namespace);
    // A list does not show what was deleted while no one watched. The first lists of both watches have everything.
    let everything = relists.skip(2).flat_map(move |()| stream::iter(index.all()));
    let config = Config::default().concurrency(ctx.policy.concurrency);
    Controller::for_stream(connections, reader)
        .with_config(config)
        .reconcile_on(secrets)
        .reconcile_on(everything)
        .run(reconcile_in_task, error_policy, ctx)
        .for_each(|done| {
            if let Err(kube_runtime::controller::Error::QueueError(error)) = done {
                warn!("connections cannot be watched, retrying: {error}");
            }
            future::ready(())
        })
        .await;
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

type Relisted = mpsc::UnboundedSender<()>;
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

/// Keeps the index, and forgets what is gone, also what a list does not have any more.
fn track(ctx: &Context, index: &Index, relisted: &Relisted, event: &Event<PleoConnection>) {
    let gone = match event {
        Ok(watcher::Event::Apply(connection) | watcher::Event::InitApply(connection)) => {
            index.put(connection).into_iter().collect()
        }
        Ok(watcher::Event::Delete(connection)) => index.remove(connection).into_iter().collect(),
        Ok(watcher::Event::Init) => {
            index.begins_list();
            Vec::new()
        }
        Ok(watcher::Event::InitDone) => {
            // A receiver that is gone means that the controller is.
            drop(relisted.unbounded_send(()));
            index.ends_list()
        }
        Err(_) => Vec::new(),
    };
    for Gone { namespace, uid, secrets } in gone {
        uid.iter().for_each(|uid| ctx.forget(uid));
        let unnamed = secrets.iter().filter(|secret| index.connections(&namespace, secret).is_empty());
        unnamed.for_each(|secret| ctx.store.own_writes.forget(&namespace, secret));
    }
}

/// Changes of the spec, of the refresh request, deletion, and a namesake. Not the status: that is ours.
fn spec_changed(connection: &PleoConnection) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    connection.metadata.uid.hash(&mut hasher);
    connection.metadata.generation.hash(&mut hasher);
    connection.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    connection.annotations().get(names::REFRESH_REQUESTED_ANNOTATION).hash(&mut hasher);
    Some(hasher.finish())
}

/// The connections whose Secrets someone else changed.
fn secret_events(
    ctx: Arc<Context>,
    index: Arc<Index>,
    relisted: Relisted,
    namespace: Option<String>,
) -> impl Stream<Item = ObjectRef<PleoConnection>> + Send {
    let secrets: Api<PartialObjectMeta<Secret>> = api(&ctx, namespace.as_deref());
    let events = watcher(secrets, watcher::Config::default()).default_backoff();
    events.flat_map(move |event| {
        stream::iter(match event {
            Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret) | watcher::Event::Delete(secret)) => {
                concerned(&ctx, &index, &secret)
            }
            Ok(watcher::Event::InitDone) => {
                drop(relisted.unbounded_send(()));
                Vec::new()
            }
            Ok(watcher::Event::Init) => Vec::new(),
            Err(error) => {
                debug!("Secrets cannot be watched, retrying: {error}");
                Vec::new()
            }
        })
    })
}

fn concerned(ctx: &Context, index: &Index, secret: &PartialObjectMeta<Secret>) -> Vec<ObjectRef<PleoConnection>> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let version = secret.resource_version().unwrap_or_default();
    let news = |connection: &String| ctx.store.own_writes.is_news(&namespace, connection, &name, &version);
    let connections = index.connections(&namespace, &name).into_iter().filter(news);
    connections.map(|connection| ObjectRef::new(&connection).within(&namespace)).collect()
}

/// A pass in a task of its own: a panic in it ends that pass and nothing else.
async fn reconcile_in_task(connection: Arc<PleoConnection>, ctx: Arc<Context>) -> Result<Action, ReconcileError> {
    let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
    ctx.store.own_writes.begin(&namespace, &name);
    let task = {
        let (ctx, connection) = (Arc::clone(&ctx), Arc::clone(&connection));
        ctx.tracker.clone().spawn(async move { reconcile(&ctx, &connection).await })
    };
    let passed = task.await.map_err(ReconcileError::Panicked).flatten();
    let woken = ctx.store.own_writes.finish(&namespace, &name);
    if woken && passed.is_ok() { Ok(Action::requeue(Duration::ZERO)) } else { passed }
}

fn error_policy(connection: Arc<PleoConnection>, error: &ReconcileError, ctx: Arc<Context>) -> Action {
    let wait = ctx.memory.backoff_after_error(&connection.uid().unwrap_or_default());
    let (namespace, name) = (connection.namespace(), connection.name_any());
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    warn!(namespace, connection = name, "{error}{cause}; looking again in {} ms", wait.as_millis());
    Action::requeue(wait)
}
