//! Restart workloads whose programs cannot read the new token otherwise. It writes one annotation in their pod templates, and
//! records in the grant Secret for which rotation that was done. A failure does not delay anything else.

use futures::future::join_all;
use tracing::{info, warn};

use super::{
    apply::{StepResult, settled},
    observe::Observation,
};
use crate::{
    api::RestartTarget,
    cluster::StoreError,
    domain::{
        plan::restarts::{self, Restart, Tried},
        snapshot::GrantSecret,
    },
    operator::context::{Context, ReconcileError},
};

/// Restarts workloads, all at once, then notes it in the ledger. In this order a crash in between repeats a mark that is
/// there already, which restarts nothing.
///
/// # Errors
/// If someone else leads by now, or the API server gave no answer when the ledger was written.
pub async fn workloads(
    ctx: &Context,
    observation: &mut Observation,
    restart: &Restart,
) -> Result<StepResult, ReconcileError> {
    if ctx.over.is_cancelled() || !ctx.leadership.is_held() {
        // The next leader does it, perhaps for a newer rotation already.
        return Err(ReconcileError::NotLeading);
    }
    let namespace = &observation.snapshot.spec.namespace;
    let restarts = restart.targets.iter().map(|target| ctx.store.restart(namespace, target, &restart.mark));
    let ended = join_all(restarts).await;
    let mut tried = Tried::default();
    for (target, ended) in restart.targets.iter().zip(ended) {
        settle(ctx, observation, &mut tried, target, ended);
    }
    if tried.is_nothing() {
        return Ok(StepResult::Done);
    }
    let (Some(grant), Some(stored)) =
        (restarts::note(&observation.snapshot, &tried, ctx.now()), observation.snapshot.grant.ours())
    else {
        return Ok(StepResult::Reobserve);
    };
    let written = ctx.store.write_grant(&observation.snapshot.spec, grant, Some(&stored.version)).await;
    settled(written, "note a restart in the grant Secret", |grant| {
        observation.snapshot.grant = GrantSecret::Ours(grant);
    })
}

/// What one answer means.
fn settle(
    ctx: &Context,
    observation: &mut Observation,
    tried: &mut Tried,
    target: &RestartTarget,
    ended: Result<(), StoreError>,
) {
    match ended {
        Ok(()) => {
            ctx.metrics.restart(true);
            info!("restarted {target}");
            tried.done.push(target.clone());
        }
        // What starts later reads the newest token anyway.
        Err(StoreError::NotFound) => {
            warn!("there is no {target} to restart");
            tried.done.push(target.clone());
        }
        Err(error) => {
            ctx.metrics.restart(false);
            if error.is_outage() {
                tried.perhaps.push(target.clone());
            }
            let what = format!(
                "{target} cannot be restarted, and may still use the old token: {error}; tried again every minute. See that the operator may patch it (chart: restartTargets.enabled=true), or restart it by hand"
            );
            warn!("{what}");
            observation.snapshot.deferred.restarts = Some(what);
        }
    }
}
