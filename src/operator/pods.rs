//! Step 6, tell the pods: those that bear the connection's label get an annotation right after the token Secret was written,
//! so that the kubelet brings the file at once. It runs beside everything else, at a limited rate, and whatever goes wrong
//! costs a line in the log: the kubelet finds the new token by itself within a minute or two.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use super::{context::Context, observe::Scene};
use crate::{
    cluster::StoreError,
    domain::projection::{self, News},
};

/// Calls about pods at the same time: they must leave room for those that store tokens and renew the Lease.
const AT_ONCE: usize = 8;
/// How long the pods may go on being told when this process is to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// `namespace`, `name` of a connection.
type Key = (String, String);

/// What this process has told pods, and how fast it may go on.
pub struct Bell {
    /// Pods in a second; 0: none are told.
    per_second: u16,
    room: Semaphore,
    state: Mutex<State>,
}

struct State {
    /// What the pods of a connection are being told right now. The last word counts.
    under_way: BTreeMap<Key, String>,
    /// What was told last, by the connection's uid.
    told: BTreeMap<String, String>,
    /// When the next pod may be told.
    free_at: Instant,
}

impl Bell {
    /// A bell that rings for so many pods a second at most; 0: for none.
    pub fn new(per_second: u16) -> Self {
        let state = State { under_way: BTreeMap::new(), told: BTreeMap::new(), free_at: Instant::now() };
        Self { per_second, room: Semaphore::new(AT_ONCE), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, uid: &str) {
        self.state().told.remove(uid);
    }

    /// Notes a word; true if nobody is telling these pods already.
    fn begin(&self, key: &Key, mark: String) -> bool {
        self.state().under_way.insert(key.clone(), mark).is_none()
    }

    /// What these pods are to be told.
    fn word(&self, key: &Key) -> Option<String> {
        self.state().under_way.get(key).cloned()
    }

    /// These pods were told; false if there is a newer word by now.
    fn finish(&self, key: &Key, mark: &str) -> bool {
        let mut state = self.state();
        let done = state.under_way.get(key).is_none_or(|word| word == mark);
        if done {
            state.under_way.remove(key);
        }
        done
    }

    /// A place among the calls that are under way; it is given back when the value is dropped. Nobody closes the room.
    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.room.acquire().await.ok()
    }

    /// Waits for its turn: a second's worth at once, then evenly.
    async fn turn(&self) {
        let second = Duration::from_secs(1);
        let at = {
            let mut state = self.state();
            let at = state.free_at.max(Instant::now().checked_sub(second).unwrap_or(state.free_at));
            state.free_at = at + second / u32::from(self.per_second.max(1));
            at
        };
        sleep_until(at).await;
    }
}

/// Tells the pods what the token Secret says, if they do not know it from us, or may have missed it while nobody led.
pub fn tell(ctx: &Arc<Context>, scene: &Scene, just_written: bool) {
    let observed = &scene.observed;
    let Some(News { mark, is_fresh }) = projection::news(observed, ctx.now()) else { return };
    let before = ctx.bell.state().told.insert(observed.wish.uid.clone(), mark.clone());
    if ctx.bell.per_second == 0 || before.as_ref() == Some(&mark) || !(just_written || is_fresh) {
        return;
    }
    let key = (observed.wish.namespace.clone(), observed.wish.name.clone());
    if ctx.bell.begin(&key, mark) {
        let ctx = Arc::clone(ctx);
        ctx.tracker.clone().spawn(async move {
            let mut end = CutShort { bell: &ctx.bell, key: &key, is_cut: true };
            let late = async {
                ctx.over.cancelled().await;
                sleep(LAST_WORDS).await;
            };
            tokio::select! {
                biased;
                () = ring(&ctx, &key) => end.is_cut = false,
                () = late => {}
            }
        });
    }
}

/// If the telling does not come to its end, by a panic or the end of the term, these pods can be told again.
struct CutShort<'a> {
    bell: &'a Bell,
    key: &'a Key,
    is_cut: bool,
}

impl Drop for CutShort<'_> {
    fn drop(&mut self) {
        if self.is_cut {
            self.bell.state().under_way.remove(self.key);
        }
    }
}

/// Round after round, until there is no newer word.
async fn ring(ctx: &Context, key: &Key) {
    while let Some(mark) = ctx.bell.word(key) {
        round(ctx, key, &mark).await;
        if ctx.bell.finish(key, &mark) {
            return;
        }
    }
}

/// Tells one pod, unless there is a newer word, before its turn or after.
async fn tell_one(ctx: &Context, key: &Key, mark: &str, pod: String) -> Option<Result<(), StoreError>> {
    let is_last_word = || ctx.bell.word(key).is_some_and(|word| word == mark);
    if !is_last_word() {
        return None;
    }
    ctx.bell.turn().await;
    let _place = ctx.bell.place().await;
    if is_last_word() { Some(ctx.store.tell_pod(&key.0, &pod, mark).await) } else { None }
}

async fn round(ctx: &Context, key: &Key, mark: &str) {
    let (namespace, connection) = key;
    let listed = {
        let _place = ctx.bell.place().await;
        ctx.store.untold_pods(namespace, connection, mark).await
    };
    let untold = match listed {
        Ok(untold) => untold,
        Err(error) => {
            ctx.metrics.pod_notification(false);
            warn!(namespace, connection, "pods cannot be listed, and learn of the new token a minute later: {error}");
            return;
        }
    };
    let told = stream::iter(untold).map(|pod| tell_one(ctx, key, mark, pod));
    let mut told = std::pin::pin!(told.buffer_unordered(AT_ONCE));
    let (mut successes, mut failures) = (0_usize, None);
    while let Some(told) = told.next().await {
        match told {
            Some(Ok(())) => {
                ctx.metrics.pod_notification(true);
                successes += 1;
            }
            Some(Err(StoreError::Missing)) | None => {}
            Some(Err(error)) => {
                ctx.metrics.pod_notification(false);
                failures = Some((failures.map_or(1, |(count, _)| count + 1), error));
            }
        }
    }
    if successes > 0 {
        info!(namespace, connection, rotation = mark, pods = successes, "pods were told");
    }
    if let Some((pods, error)) = failures {
        warn!(
            namespace,
            connection, pods, "pods could not be told, and learn of the new token a minute later: {error}"
        );
    }
}
