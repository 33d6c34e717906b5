//! The table of contents: observe, decide, act, until there is nothing left to do but wait; then report.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use kube_runtime::controller::Action;
use tracing::{Instrument, instrument, warn};

use crate::{
    api::PleoConnection,
    domain::{
        ledger::grant::Grant,
        plan::{
            decide::{Decision, Rotation, decide},
            link,
            schedule::SEND_WITHIN,
        },
        snapshot::{ClientSecretState, GrantSecret},
        time::between,
    },
    operator::{
        context::{Context, ReconcileError},
        steps::{
            apply::{self, StepResult},
            introspect,
            observe::{Observation, ObserveResult, local_observations, observe},
            pods, restart,
            rotate::{Job, Rotated, rotate},
            status::{self, StatusWrite},
        },
    },
};

/// More than any connection needs: empty token Secret, adoption, refresh, token Secret, removal of the adopted token and of an
/// old token Secret, restarts, a link.
const MAX_STEPS: usize = 12;

/// A former leader may have written what it saw last. Another leader, by mistake, would do so repeatedly.
const REOBSERVE_AFTER: Duration = Duration::from_secs(10);

/// One look at a connection, and all that follows from it.
///
/// # Errors
/// If it was broken off. What was stored is stored; the next pass goes on from there.
#[instrument(level = "error", skip_all, fields(namespace = connection.namespace(), connection = connection.name_any()))]
pub async fn reconcile(ctx: &Arc<Context>, connection: &PleoConnection) -> Result<Action, ReconcileError> {
    let mut observation = match observe(ctx, connection).await? {
        ObserveResult::Found(observation) => *observation,
        ObserveResult::Gone => return Ok(gone(ctx, connection)),
        ObserveResult::Refused { connection, why } => return without_secrets(ctx, *connection, &why).await,
    };
    for _ in 0..MAX_STEPS {
        let step = match decide(&observation.snapshot, ctx.now(), ctx.policy.pace) {
            Decision::Ignore => return Ok(Action::await_change()),
            Decision::Publish(content) => {
                let step = apply::token(ctx, &mut observation, &content).await?;
                if let StepResult::Done = step {
                    pods::notify(ctx, &observation, true);
                }
                step
            }
            Decision::Adopt(adoption) => apply::adopt(ctx, &observation, *adoption).await?,
            Decision::DeleteOldSecret(name) => apply::delete_old_secret(ctx, &mut observation, &name).await,
            Decision::RemoveAdoptedToken(token_removal) => {
                apply::remove_adopted_token(ctx, &mut observation, &token_removal).await
            }
            // A commit may have taken minutes: the connection may be suspended or point elsewhere now.
            Decision::Rotate(_) if observation.age.elapsed(&ctx.clock) > SEND_WITHIN => StepResult::Reobserve,
            Decision::Rotate(rotation) => {
                status::write_before_refresh(ctx, &mut observation).await;
                refresh(ctx, &mut observation, rotation).await?
            }
            Decision::ProveIntrospection => introspect::prove(ctx, &mut observation).await?,
            Decision::DropAuthorizationCode(grant) => drop_code(ctx, &mut observation, *grant).await?,
            Decision::CreateLink => apply::create_link(ctx, &mut observation).await?,
            Decision::Restart(restart) => restart::workloads(ctx, &mut observation, &restart).await?,
            Decision::Wait(wait) => {
                pods::notify(ctx, &observation, false);
                let written = status::write(ctx, &mut observation, None).await?;
                return Ok(requeue(ctx, &observation, wait.until, &written));
            }
        };
        match step {
            StepResult::Done => {}
            StepResult::Reobserve => match observe(ctx, connection).await? {
                ObserveResult::Found(newer) => observation = *newer,
                ObserveResult::Gone => return Ok(gone(ctx, connection)),
                ObserveResult::Refused { connection, why } => return without_secrets(ctx, *connection, &why).await,
            },
            StepResult::Refused(why) => {
                // Both are tried again in the same while.
                let (StatusWrite::Yes | StatusWrite::BySomebodyElse | StatusWrite::Refused) =
                    status::write(ctx, &mut observation, Some(&why)).await?;
                return Ok(Action::requeue(ctx.memory.was_refused(&observation.snapshot.spec.uid)));
            }
        }
    }
    warn!("still not settled after {MAX_STEPS} steps; looking again shortly");
    Ok(Action::requeue(Duration::from_secs(1)))
}

/// The connection is gone, perhaps while no one watched: nothing of it is remembered.
fn gone(ctx: &Context, connection: &PleoConnection) -> Action {
    ctx.forget(&connection.uid().unwrap_or_default());
    Action::await_change()
}

/// The Secrets cannot be read: said in the status, and tried again.
async fn without_secrets(ctx: &Arc<Context>, connection: PleoConnection, why: &str) -> Result<Action, ReconcileError> {
    let uid = connection.uid().unwrap_or_default();
    status::write_without_secrets(ctx, connection, why).await?;
    Ok(Action::requeue(ctx.memory.was_refused(&uid)))
}

/// Sends the token that was decided on, in a task that nothing cuts.
async fn refresh(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    rotation: Rotation,
) -> Result<StepResult, ReconcileError> {
    if let Some(step) = introspect::before_sending(ctx, observation, &rotation).await? {
        return Ok(step);
    }
    if ctx.over.is_cancelled() || !ctx.leadership.is_held() {
        return Err(ReconcileError::NotLeading);
    }
    let snapshot = &observation.snapshot;
    let (GrantSecret::Ours(grant), ClientSecretState::Present(client), Ok(server)) =
        (&snapshot.grant, &snapshot.client, &snapshot.spec.server)
    else {
        return Ok(StepResult::Reobserve);
    };
    let before = grant.value.clone();
    let job = Job {
        spec: snapshot.spec.clone(),
        server: server.clone(),
        client: client.clone(),
        grant: grant.clone(),
        rotation,
    };
    let rotated =
        ctx.tracker.spawn(rotate(Arc::clone(ctx), job).in_current_span()).await.map_err(ReconcileError::Panicked)??;
    if let Rotated::Stored(grant) = &rotated
        && let Some(end) = link::ended(&before, &grant.value)
    {
        status::report_authorization(ctx, observation, end);
    }
    Ok(match rotated {
        // A failure may leave another token to be sent: not on an old look at the connection.
        Rotated::Stored(grant) if grant.value.rotation == before.rotation => StepResult::Reobserve,
        Rotated::Stored(grant) => {
            observation.snapshot.grant = GrantSecret::Ours(*grant);
            observation.snapshot.local = local_observations(ctx, &observation.snapshot.grant);
            StepResult::Done
        }
        Rotated::Reobserve => StepResult::Reobserve,
        Rotated::Refused(why) => StepResult::Refused(why),
    })
}

/// That code will not be used any more. The user who brought it should know.
async fn drop_code(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    grant: Grant,
) -> Result<StepResult, ReconcileError> {
    let end = observation.snapshot.grant.ours().and_then(|before| link::ended(&before.value, &grant));
    let step = apply::grant(ctx, observation, grant).await?;
    if let (StepResult::Done, Some(end)) = (&step, end) {
        status::report_authorization(ctx, observation, end);
    }
    Ok(step)
}

/// When something is due, or a status that was refused may be written.
fn requeue(ctx: &Context, observation: &Observation, until: Option<Timestamp>, written: &StatusWrite) -> Action {
    let uid = &observation.snapshot.spec.uid;
    let due = until.map(|until| between(ctx.now(), until));
    let again = match written {
        StatusWrite::Yes => {
            ctx.memory.reset_backoff(uid);
            None
        }
        StatusWrite::BySomebodyElse => Some(REOBSERVE_AFTER),
        StatusWrite::Refused => Some(ctx.memory.was_refused(uid)),
    };
    due.into_iter().chain(again).min().map_or_else(Action::await_change, Action::requeue)
}
