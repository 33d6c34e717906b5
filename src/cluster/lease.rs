//! Leader election: compare-and-swap on a Lease. It only keeps the other replicas quiet; what fences a token request is its
//! claim. What makes it sound:
//!
//! - every write is a PUT with the resourceVersion that was read;
//! - another holder's expiry is judged on our own monotonic clock, since we last saw its record change;
//! - who leads stops at the renew deadline, two thirds of the lease, and no attempt to renew it outlives that;
//! - a holder with our identity and another process UUID is a process of this pod that has ended: no wait;
//! - it is released only when no token can be sent any more.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{Store, StoreError};
use crate::{
    clock::{Clock, Stopwatch},
    domain::ledger::grant::Holder,
};

/// Where the Lease is and how long it lasts.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    pub namespace: String,
    pub name: String,
    /// How long the others wait for a holder that is silent.
    pub duration: Duration,
}

impl LeaseConfig {
    fn renew_deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    fn retry_period(&self) -> Duration {
        self.duration / 8
    }
}

/// What the rest of the process sees of the Lease.
#[derive(Clone)]
pub struct Leadership {
    held: Arc<Mutex<Option<Stopwatch>>>,
    deadline: Duration,
    clock: Clock,
}

impl Leadership {
    /// Whether the Lease is certainly ours at this instant.
    pub fn is_held(&self) -> bool {
        let held = *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_some_and(|renewed| renewed.elapsed(&self.clock) < self.deadline)
    }

    fn set(&self, renewed: Option<Stopwatch>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }
}

/// Runs for the Lease.
pub struct Elector {
    store: Store,
    config: LeaseConfig,
    me: Holder,
    clock: Clock,
    leadership: Leadership,
    /// Another holder's record, and when we last saw it change.
    seen: Option<(LeaseSpec, Instant)>,
    /// What was complained of last: once is enough.
    logged: Option<String>,
}

impl Elector {
    /// A candidate for the Lease, in the name of this process.
    pub fn new(store: Store, config: LeaseConfig, me: Holder, clock: Clock) -> Self {
        let leadership =
            Leadership { held: Arc::default(), deadline: config.renew_deadline(), clock: Arc::clone(&clock) };
        Self { store, config, me, clock, leadership, seen: None, logged: None }
    }

    /// What the rest of the process sees.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Campaigns for ever; `leading` says whether new work may be begun.
    pub async fn campaign(&mut self, leading: &watch::Sender<bool>) {
        let mut renewed: Option<Stopwatch> = None;
        loop {
            let begun = Stopwatch::start(&self.clock);
            let left = renewed.map_or(self.config.renew_deadline(), |at| self.left(&at));
            // One broken connection must not cost the Lease: there is time for another attempt.
            let budget = left.min((self.config.renew_deadline() / 2).max(Duration::from_secs(1)));
            match timeout(budget, self.attempt()).await {
                Ok(Ok(true)) => (renewed, self.logged) = (Some(begun), None),
                Ok(Ok(false)) => renewed = None,
                Ok(Err(error)) => self.say(&error),
                Err(_) => {
                    self.store.note_failure(None);
                    debug!("the Lease could not be renewed in time");
                }
            }
            renewed = renewed.filter(|at| !self.left(at).is_zero());
            self.leadership.set(renewed);
            leading.send_if_modified(|before| std::mem::replace(before, renewed.is_some()) != renewed.is_some());
            sleep(renewed.map_or(self.config.retry_period(), |at| self.left(&at).min(self.config.retry_period())))
                .await;
        }
    }

    /// How long we lead without another renewal.
    fn left(&self, renewed: &Stopwatch) -> Duration {
        self.config.renew_deadline().saturating_sub(renewed.elapsed(&self.clock))
    }

    fn say(&mut self, error: &StoreError) {
        if self.logged.replace(error.to_string()).as_deref() == Some(error.to_string().as_str()) {
            return;
        }
        match error {
            StoreError::Refused(why) => warn!(
                lease = self.config.name,
                namespace = self.config.namespace,
                "the Lease cannot be read or written: {why}: check its credentials, and give it get, create and update on leases there"
            ),
            StoreError::NotFound => warn!(
                namespace = self.config.namespace,
                "the namespace of the Lease is not there: create it, or set --lease-namespace"
            ),
            StoreError::Conflict | StoreError::Unavailable(_) | StoreError::TimedOut => {
                debug!("the Lease was not renewed: {error}");
            }
        }
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.store.client(), &self.config.namespace)
    }

    /// One look at the Lease, and a write if it is ours to take. True: we hold it.
    async fn attempt(&mut self) -> Result<bool, StoreError> {
        let Some(lease) = self.store.call(None, self.api().get_opt(&self.config.name)).await? else {
            let metadata = ObjectMeta { name: Some(self.config.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.record(None)) };
            self.store.call(None, self.api().create(&PostParams::default(), &lease)).await?;
            return Ok(true);
        };
        let record = lease.spec.clone().unwrap_or_default();
        let holder = record.holder_identity.clone().filter(|holder| !holder.is_empty());
        let mine = holder.as_deref() == Some(self.me.to_string().as_str());
        if holder.is_some_and(|holder| !mine && !self.is_dead_process_of_this_pod(&holder))
            && !self.has_expired(&record)
        {
            return Ok(false);
        }
        let taken = Lease { metadata: lease.metadata, spec: Some(self.record(Some(&record))) };
        self.store.call(None, self.api().replace(&self.config.name, &PostParams::default(), &taken)).await?;
        if !mine {
            info!(lease = self.config.name, holder = %self.me, "took the Lease");
        }
        Ok(true)
    }

    /// No two running processes share an identity.
    fn is_dead_process_of_this_pod(&self, holder: &str) -> bool {
        holder
            .rsplit_once('_')
            .is_some_and(|(identity, process)| identity == self.me.identity && process != self.me.process)
    }

    /// Whether another's record has stood unchanged for as long as it says it lasts, or as long as we think it does.
    fn has_expired(&mut self, record: &LeaseSpec) -> bool {
        let lasts = u64::try_from(record.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let lasts = Duration::from_secs(lasts).max(self.config.duration);
        match &self.seen {
            Some((seen, since)) if seen == record => since.elapsed() >= lasts,
            Some(_) | None => {
                self.seen = Some((record.clone(), Instant::now()));
                false
            }
        }
    }

    fn record(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let me = self.me.to_string();
        let renews = before.is_some_and(|before| before.holder_identity.as_deref() == Some(&me));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(me),
            lease_duration_seconds: Some(
                i32::try_from(self.config.duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX),
            ),
            acquire_time: before
                .filter(|_| renews)
                .and_then(|before| before.acquire_time.clone())
                .or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && !renews)),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, if it is ours. Only when no token can be sent any more.
    pub async fn release(&self) {
        self.leadership.set(None);
        let release = async {
            let Some(mut lease) = self.store.call(None, self.api().get_opt(&self.config.name)).await? else {
                return Ok(());
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(self.me.to_string().as_str()) {
                spec.holder_identity = None;
                self.store.call(None, self.api().replace(&self.config.name, &PostParams::default(), &lease)).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(error) = release.await {
            debug!("failed to release the Lease; it will expire: {error}");
        }
    }
}
