//! Notify pods: those with the connection's label get an annotation right after the token Secret was written, so that the kubelet
//! updates the file at once. It runs beside everything else, at a limited rate, and a failure is only logged: the kubelet finds
//! the new token within a minute or two anyway.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::sleep;
use tracing::{Instrument, info, warn};

use super::observe::Observation;
use crate::{
    cluster::StoreError,
    domain::plan::projection::{self, News},
    operator::{
        context::Context,
        notifier::{AT_ONCE, Key, PodNotifier},
    },
};

/// How long the pods may go on being notified when this process is to end.
const SHUTDOWN_NOTIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// Notifies the pods of what the token Secret says, if they do not know it from us, or may have missed it while no one led.
pub fn notify(ctx: &Arc<Context>, observation: &Observation, just_written: bool) {
    let snapshot = &observation.snapshot;
    let Some(News { mark, is_fresh }) = projection::news(snapshot, ctx.now()) else { return };
    if !ctx.notifier.is_news(&snapshot.spec.uid, &mark, just_written || is_fresh) {
        return;
    }
    let key = (snapshot.spec.namespace.clone(), snapshot.spec.name.clone());
    if ctx.notifier.begin(&key, mark) {
        let (ctx, tracker) = (Arc::clone(ctx), ctx.tracker.clone());
        let rounds = async move {
            let mut end = CutShort { notifier: &ctx.notifier, key: &key, is_cut: true };
            let late = async {
                ctx.over.cancelled().await;
                sleep(SHUTDOWN_NOTIFY_TIMEOUT).await;
            };
            tokio::select! {
                biased;
                () = notify_all(&ctx, &key) => end.is_cut = false,
                () = late => {}
            }
        };
        tracker.spawn(rounds.in_current_span());
    }
}

/// If the notification is cut short, by a panic or a lost Lease, these pods can be notified again.
struct CutShort<'a> {
    notifier: &'a PodNotifier,
    key: &'a Key,
    is_cut: bool,
}

impl Drop for CutShort<'_> {
    fn drop(&mut self) {
        if self.is_cut {
            self.notifier.abandon(self.key);
        }
    }
}

/// Round after round, until there is no newer word.
async fn notify_all(ctx: &Context, key: &Key) {
    while let Some(mark) = ctx.notifier.word(key) {
        round(ctx, key, &mark).await;
        if ctx.notifier.finish(key, &mark) {
            return;
        }
    }
}

/// Notifies one pod, unless there is a newer mark, before its turn or after.
async fn notify_one(ctx: &Context, key: &Key, mark: &str, pod: String) -> Option<Result<(), StoreError>> {
    let is_last_word = || ctx.notifier.word(key).is_some_and(|word| word == mark);
    if !is_last_word() {
        return None;
    }
    ctx.notifier.turn().await;
    let _place = ctx.notifier.place().await;
    if is_last_word() { Some(ctx.store.notify_pod(&key.0, &pod, mark).await) } else { None }
}

async fn round(ctx: &Context, key: &Key, mark: &str) {
    let (namespace, connection) = key;
    let listed = {
        let _place = ctx.notifier.place().await;
        ctx.store.unnotified_pods(namespace, connection, mark).await
    };
    let waiting = match listed {
        Ok(waiting) => waiting,
        Err(error) => {
            ctx.metrics.pod_notification(false);
            warn!("failed to list pods; they get the new token a minute later: {error}");
            return;
        }
    };
    let notified = stream::iter(waiting).map(|pod| notify_one(ctx, key, mark, pod));
    let mut notified = std::pin::pin!(notified.buffer_unordered(AT_ONCE));
    let (mut successes, mut failures) = (0_usize, None);
    while let Some(notified) = notified.next().await {
        match notified {
            Some(Ok(())) => {
                ctx.metrics.pod_notification(true);
                successes += 1;
            }
            Some(Err(StoreError::NotFound)) | None => {}
            Some(Err(error)) => {
                ctx.metrics.pod_notification(false);
                failures = Some((failures.map_or(1, |(count, _)| count + 1), error));
            }
        }
    }
    if successes > 0 {
        info!(rotation = mark, pods = successes, "notified pods");
    }
    if let Some((pods, error)) = failures {
        warn!(pods, "failed to notify pods; they get the new token a minute later: {error}");
    }
}
