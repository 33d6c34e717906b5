//! Start, leader election, drain. The leader reconciles; losing the Lease stops new work at once, and what is in flight continues
//! under its claim. The Lease is released as soon as no token can be sent any more: what was sent is waited for after that.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::{join, join_all};
use kube_runtime::reflector;
use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    cluster::{
        Store,
        lease::{Elector, Leadership, LeaseConfig},
    },
    notify::Outbox,
    operator::{
        context::{Context, Policy},
        dispatch,
        index::Index,
        memory::Memory,
        notifier::PodNotifier,
        watches,
        workqueue::WorkQueue,
    },
    pleo::TokenEndpoint,
    telemetry::metrics::Metrics,
};

/// How long to wait before looking again for a cluster or a CRD that is not there yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// The parts that a process is made of. In the simulation they are the same, but for client, endpoint and clock.
pub struct Operator {
    /// Reads and writes objects.
    pub store: Store,
    /// Sends refresh tokens.
    pub endpoint: Arc<dyn TokenEndpoint>,
    pub clock: Clock,
    /// From the flags.
    pub policy: Policy,
    /// Where the Lease is.
    pub lease: LeaseConfig,
    /// Notifies others that a user is needed.
    pub outbox: Outbox,
    pub metrics: Arc<Metrics>,
}

impl Operator {
    /// Runs until `stop`, then gives the Lease back and drains.
    pub async fn run(self, stop: CancellationToken) {
        if stop.run_until_cancelled(self.wait_for_connections()).await.is_none() {
            return;
        }
        self.metrics.set_ready(true);
        let mut elector =
            Elector::new(self.store.clone(), self.lease.clone(), self.policy.holder.clone(), Arc::clone(&self.clock));
        let leadership = elector.leadership();
        let (tell, leading) = watch::channel(false);
        let released = CancellationToken::new();
        let campaign = async {
            released.run_until_cancelled(elector.campaign(&tell)).await;
            elector.release().await;
        };
        join(campaign, self.terms(leadership, leading, &stop, &released)).await;
    }

    /// A cluster or a CRD that is not there yet is waited for; each reason is logged once. One namespace that can be read is
    /// enough: the watches of the others go on trying.
    async fn wait_for_connections(&self) {
        let mut logged = BTreeSet::new();
        loop {
            for scope in self.scopes() {
                match self.store.check_connections(scope.as_deref()).await {
                    Ok(()) => return,
                    Err(missing) if logged.insert(missing.to_string()) => warn!("{missing}"),
                    Err(_) => {}
                }
            }
            sleep(PATIENCE).await;
        }
    }

    /// Term after term, until `stop`; then what is still in flight is drained. A term that ends drops its watches and
    /// waits for nothing: passes are tasks of their own, and one that hangs must not keep the Lease idle. `released` is
    /// cancelled once the Lease is no longer needed.
    async fn terms(
        &self,
        leadership: Leadership,
        mut leading: watch::Receiver<bool>,
        stop: &CancellationToken,
        released: &CancellationToken,
    ) {
        let (memory, tracker, unsent) = (Arc::new(Memory::default()), TaskTracker::new(), TaskTracker::new());
        let workqueue = Arc::new(WorkQueue::new(self.policy.concurrency, self.policy.max_refusals));
        // Each with what is known of its connections, also from earlier terms: what was deleted while another process led is
        // forgotten with the first list of the next term.
        let scopes: Vec<_> = self.scopes().into_iter().map(|scope| (scope, Arc::<Index>::default())).collect();
        while elected(&mut leading, stop).await {
            info!(holder = %self.policy.holder, "leading");
            self.metrics.set_leader(true);
            let servers = Arc::clone(&workqueue);
            self.metrics.show_servers(move || servers.servers());
            let ctx = Arc::new(Context {
                store: self.store.clone(),
                endpoint: Arc::clone(&self.endpoint),
                clock: Arc::clone(&self.clock),
                policy: self.policy.clone(),
                leadership: leadership.clone(),
                memory: Arc::clone(&memory),
                workqueue: Arc::clone(&workqueue),
                notifier: PodNotifier::new(self.policy.notify_pods_per_second),
                outbox: self.outbox.clone(),
                metrics: Arc::clone(&self.metrics),
                tracker: tracker.clone(),
                unsent: unsent.clone(),
                over: stop.child_token(),
                stopping: stop.clone(),
            });
            tokio::select! {
                biased;
                () = ctx.over.cancelled() => {}
                // An error means that the campaign is over, and the term with it.
                _ = leading.wait_for(|leads| !*leads) => {
                    warn!(holder = %self.policy.holder, "the Lease was lost: no new work; what is in flight goes on under its claim");
                }
                () = self.reconcile(&ctx, &scopes) => warn!("the watches ended unexpectedly; beginning them again"),
            }
            ctx.over.cancel();
            self.metrics.forget_connections();
            self.metrics.set_leader(false);
        }
        unsent.close();
        unsent.wait().await;
        // From here on the fence is closed. A successor waits for the claims that are left, and the rest is compare-and-swap.
        released.cancel();
        tracker.close();
        tracker.wait().await;
    }

    /// The namespaces to look after; none: all.
    fn scopes(&self) -> Vec<Option<String>> {
        match self.policy.namespaces.as_slice() {
            [] => vec![None],
            namespaces => namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// The watches of each of them, and the work that follows.
    async fn reconcile(&self, ctx: &Arc<Context>, scopes: &[(Option<String>, Arc<Index>)]) {
        ctx.workqueue.begin_term();
        let (mut views, mut watches) = (Vec::new(), Vec::new());
        for (scope, index) in scopes {
            let (view, writer) = reflector::store();
            self.metrics.show_connections(view.clone());
            views.push(view);
            watches.push(watches::run(Arc::clone(ctx), scope.clone(), Arc::clone(index), writer));
        }
        join(join_all(watches), dispatch::run(Arc::clone(ctx), views)).await;
    }
}

/// Waits until this process leads; false if it is to stop.
async fn elected(leading: &mut watch::Receiver<bool>, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(leading.wait_for(|leads| *leads)).await.is_some_and(|leads| leads.is_ok())
}
