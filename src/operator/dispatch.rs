//! Has connections reconciled in the order of the queue, a bounded number at once. Waiting for the authorization server takes no place
//! among those.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use kube_runtime::reflector::ObjectRef;
use tracing::warn;

use crate::{
    api::PleoConnection,
    domain::queue::{Key, Next, Turn},
    operator::{
        context::{Context, ReconcileError},
        reconcile::reconcile,
        watches::Connections,
        workqueue::Work,
    },
};

/// How long a look after an error may wait, if there is more to do than can be done.
const LENIENT: Duration = Duration::from_secs(60);

/// Reconciles what is in the queue, until this is dropped. What has begun goes on.
pub async fn run(ctx: Arc<Context>, views: Vec<Connections>) {
    loop {
        let (key, work) = ctx.workqueue.take().await;
        let named = ObjectRef::new(&key.1).within(&key.0);
        match views.iter().find_map(|view| view.get(&named)) {
            Some(connection) => drop(ctx.tracker.spawn(pass(Arc::clone(&ctx), key, connection, work))),
            None => ctx.workqueue.finish(&key, Next::default(), false),
        }
    }
}

/// One pass, in a task of its own: a panic in it ends that pass and nothing else.
async fn pass(ctx: Arc<Context>, key: Key, connection: Arc<PleoConnection>, mut work: Work) {
    let (namespace, name) = &key;
    ctx.store.own_writes.begin(namespace, name);
    let task = {
        let (ctx, connection) = (Arc::clone(&ctx), Arc::clone(&connection));
        tokio::spawn(async move { reconcile(&ctx, &connection, &mut work).await })
    };
    let passed = task.await.map_err(ReconcileError::Panicked).flatten();
    let is_woken = ctx.store.own_writes.finish(namespace, name) && passed.is_ok();
    let next = passed.unwrap_or_else(|error| look_again(&ctx, &connection, &error));
    ctx.workqueue.finish(&key, next, is_woken);
}

/// After an error: soon, and ever later.
fn look_again(ctx: &Context, connection: &PleoConnection, error: &ReconcileError) -> Next {
    let wait = ctx.memory.backoff_after_error(&connection.uid().unwrap_or_default());
    let (namespace, name) = (connection.namespace(), connection.name_any());
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    warn!(namespace, connection = name, "{error}{cause}; looking again in {} ms", wait.as_millis());
    let at = ctx.workqueue.after(wait);
    // Where calls hang, the others come first.
    Next { waits: None, later: Some((at, Turn::look(at.saturating_add(LENIENT)))) }
}
