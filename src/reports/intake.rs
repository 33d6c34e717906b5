//! Checks a report, and notes it in the grant Secret by compare-and-swap.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::limits::{Limits, Target};
use crate::{
    clock::Clock,
    cluster::{Store, StoreError, connections::Scope},
    domain::plan::rejection_report::{self, Ignored},
    telemetry::metrics::{Metrics, ReportOutcome},
};

/// Reports that are looked at at the same time.
const AT_ONCE: usize = 16;
/// Someone else may write the grant at the same moment; not often.
const TRIES: u32 = 3;
/// Between two looks whether a report may be noted, and how long it waits for that.
const TURN: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What every report needs.
pub struct Intake {
    /// Not the operator's own: what is written here must wake it.
    store: Store,
    clock: Clock,
    scope: Scope,
    metrics: Arc<Metrics>,
    limits: Mutex<Limits>,
    turns: Arc<Semaphore>,
    began: Instant,
}

impl Intake {
    pub fn new(store: Store, clock: Clock, scope: Scope, metrics: Arc<Metrics>) -> Self {
        let (limits, turns) = (Mutex::default(), Arc::new(Semaphore::new(AT_ONCE)));
        Self { store, clock, scope, metrics, limits, turns, began: Instant::now() }
    }

    /// The turn of a report from there, to be kept while it is looked at; none: there are too many. Costs no read.
    pub fn admit(&self, source: IpAddr, target: &Target) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().ok();
        let turn = turn.filter(|_| self.with_limits(|limits| limits.admit(source, target, self.began.elapsed())));
        if turn.is_none() {
            self.metrics.report(ReportOutcome::Limited);
        }
        turn
    }

    /// Checks a report, and notes it if a refresh is to follow.
    pub async fn take(&self, target: &Target, proof: &str) {
        let Target { namespace, name } = target;
        let outcome = match self.note(target, proof).await {
            Ok(outcome) => outcome,
            Err(error) => {
                warn!(namespace, connection = name, "failed to note that the API rejects the access token: {error}");
                ReportOutcome::Failed
            }
        };
        match outcome {
            ReportOutcome::Noted => info!(
                namespace,
                connection = name,
                "a client reports that the API rejects the access token; it is refreshed early, unless the server calls it active"
            ),
            ReportOutcome::Failed | ReportOutcome::Ignored(_) | ReportOutcome::Limited | ReportOutcome::Unproved => {
                debug!(namespace, connection = name, outcome = outcome.label(), "took in a report");
            }
        }
        self.metrics.report(outcome);
    }

    async fn note(&self, target: &Target, proof: &str) -> Result<ReportOutcome, StoreError> {
        let mut is_admitted = false;
        for left in (0..TRIES).rev() {
            let managed = self.store.read_managed(&self.scope, &target.namespace, &target.name).await?;
            let Some(managed) = managed.filter(|managed| rejection_report::is_proved(&managed.grant.value, proof))
            else {
                return Ok(ReportOutcome::Unproved);
            };
            let noted = match rejection_report::note(&managed.grant.value, &managed.spec, self.clock.now()) {
                Ok(noted) => noted,
                // The first write may have been stored, though its answer was lost.
                Err(Ignored::Repeated) if is_admitted => return Ok(ReportOutcome::Noted),
                Err(ignored) => return Ok(ReportOutcome::Ignored(ignored)),
            };
            is_admitted = is_admitted || self.is_admitted_in_time().await;
            if !is_admitted {
                return Ok(ReportOutcome::Limited);
            }
            match self.store.write_grant(&managed.spec, noted, Some(&managed.grant.version)).await {
                Ok(_) => return Ok(ReportOutcome::Noted),
                Err(error) if left == 0 => return Err(error),
                Err(_) => {}
            }
        }
        Ok(ReportOutcome::Failed)
    }

    /// The reports of a whole fleet may come at the same moment, each answered with 202: they wait for their turn.
    async fn is_admitted_in_time(&self) -> bool {
        let admitted = async {
            while !self.with_limits(|limits| limits.admit_proved(self.began.elapsed())) {
                sleep(TURN).await;
            }
        };
        timeout(LONGEST_WAIT, admitted).await.is_ok()
    }

    fn with_limits<T>(&self, work: impl FnOnce(&mut Limits) -> T) -> T {
        work(&mut self.limits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
