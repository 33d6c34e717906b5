//! The table of contents: observe, decide, act, until there is nothing left to do but wait; then report.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::{Instrument, instrument, warn};

use crate::{
    api::PleoConnection,
    domain::{
        ledger::grant::Grant,
        plan::{
            decide::{Decision, NextRefresh, Rotation, WaitReason, decide, next_refresh},
            link,
            schedule::SEND_WITHIN,
        },
        queue::{Lane, Next, Turn},
        snapshot::{ClientSecretState, GrantSecret},
        time::between,
    },
    operator::{
        context::{Context, ReconcileError},
        schedule::{InFlight, Work},
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
pub async fn reconcile(
    ctx: &Arc<Context>,
    connection: &PleoConnection,
    work: &mut Work,
) -> Result<Next, ReconcileError> {
    let mut observation = match observe(ctx, connection).await? {
        ObserveResult::Found(observation) => *observation,
        ObserveResult::Gone => return Ok(gone(ctx, connection)),
        ObserveResult::Refused { connection, why } => return without_secrets(ctx, *connection, &why, work).await,
    };
    for _ in 0..MAX_STEPS {
        let step = match decide(&observation.snapshot, ctx.now(), ctx.policy.pace) {
            Decision::Ignore => return Ok(Next::default()),
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
            Decision::Rotate(rotation) => match refresh(ctx, &mut observation, rotation, work).await? {
                Refreshed::Step(step) => step,
                Refreshed::Full(next) => return Ok(next),
            },
            Decision::ProveIntrospection => introspect::prove(ctx, &mut observation).await?,
            Decision::DropAuthorizationCode(grant) => drop_code(ctx, &mut observation, *grant).await?,
            Decision::CreateLink => apply::create_link(ctx, &mut observation).await?,
            Decision::Restart(restart) => restart::workloads(ctx, &mut observation, &restart).await?,
            Decision::Wait(wait) => {
                pods::notify(ctx, &observation, false);
                let written = status::write(ctx, &mut observation, None).await?;
                return Ok(next(ctx, &observation, wait.until, &written, work));
            }
        };
        match step {
            StepResult::Done => {}
            StepResult::Reobserve => match observe(ctx, connection).await? {
                ObserveResult::Found(newer) => observation = *newer,
                ObserveResult::Gone => return Ok(gone(ctx, connection)),
                ObserveResult::Refused { connection, why } => {
                    return without_secrets(ctx, *connection, &why, work).await;
                }
            },
            StepResult::Refused(why) => {
                // Both are tried again in the same while.
                let (StatusWrite::Yes | StatusWrite::BySomebodyElse | StatusWrite::Refused) =
                    status::write(ctx, &mut observation, Some(&why)).await?;
                return Ok(look_after(work, ctx.memory.was_refused(&observation.snapshot.spec.uid)));
            }
        }
    }
    warn!("still not settled after {MAX_STEPS} steps; looking again shortly");
    Ok(look_after(work, Duration::from_secs(1)))
}

/// The connection is gone, perhaps while no one watched: nothing of it is remembered.
fn gone(ctx: &Context, connection: &PleoConnection) -> Next {
    ctx.forget(&connection.uid().unwrap_or_default());
    Next::default()
}

/// The Secrets cannot be read: said in the status, and tried again.
async fn without_secrets(
    ctx: &Arc<Context>,
    connection: PleoConnection,
    why: &str,
    work: &Work,
) -> Result<Next, ReconcileError> {
    let uid = connection.uid().unwrap_or_default();
    status::write_without_secrets(ctx, connection, why).await?;
    Ok(look_after(work, ctx.memory.was_refused(&uid)))
}

/// What became of a token that was to be sent.
enum Refreshed {
    Step(StepResult),
    /// There is no room for another request to that server: it has its turn later.
    Full(Next),
}

/// Sends the token that was decided on, if there is room for it.
async fn refresh(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    rotation: Rotation,
    work: &mut Work,
) -> Result<Refreshed, ReconcileError> {
    let Some(server) = observation.snapshot.spec.token_url().cloned() else {
        return Ok(Refreshed::Step(StepResult::Reobserve));
    };
    // A commit may have taken minutes: the connection may be suspended or point elsewhere now.
    if observation.age.elapsed(&ctx.clock) > SEND_WITHIN {
        return Ok(Refreshed::Step(StepResult::Reobserve));
    }
    status::write_before_refresh(ctx, observation).await;
    let Some(request) = work.enter(&server) else {
        return Ok(Refreshed::Full(Next { waits: Some(work.turn(server)), later: None }));
    };
    let step = match introspect::before_sending(ctx, observation, &rotation).await? {
        Some(step) => step,
        None => send(ctx, observation, rotation, work, request).await?,
    };
    Ok(Refreshed::Step(step))
}

/// Rotates in a task that nothing cuts.
async fn send(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    rotation: Rotation,
    work: &mut Work,
    request: InFlight,
) -> Result<StepResult, ReconcileError> {
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
        place: work.take_place(),
        request,
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
fn next(
    ctx: &Context,
    observation: &Observation,
    until: Option<Timestamp>,
    written: &StatusWrite,
    work: &Work,
) -> Next {
    let (uid, now) = (&observation.snapshot.spec.uid, ctx.now());
    let again = match written {
        StatusWrite::Yes => {
            ctx.memory.reset_backoff(uid);
            None
        }
        StatusWrite::BySomebodyElse => Some(REOBSERVE_AFTER),
        StatusWrite::Refused => Some(ctx.memory.was_refused(uid)),
    };
    let due = until.map(|until| between(now, until));
    match (due, again) {
        (Some(due), again) if again.is_none_or(|again| due <= again) => {
            let turn = turn_at(ctx, observation, until, work).unwrap_or_else(|| look_at(work.after(due)));
            Next { waits: None, later: Some((work.after(due), turn)) }
        }
        (_, Some(again)) => look_after(work, again),
        (_, None) => Next::default(),
    }
}

/// The turn at the server, if that is what is due then: before the token that pods have expires.
fn turn_at(ctx: &Context, observation: &Observation, until: Option<Timestamp>, work: &Work) -> Option<Turn> {
    let (snapshot, now) = (&observation.snapshot, ctx.now());
    let server = snapshot.spec.token_url()?.clone();
    let NextRefresh::At(at, reason) = next_refresh(snapshot, now, ctx.policy.pace) else { return None };
    let deadline = match reason {
        WaitReason::NextRefresh => snapshot.grant.ours()?.value.current.as_ref()?.issue.expires_at(),
        WaitReason::Retry => at,
        WaitReason::Claim | WaitReason::Change => return None,
    };
    let deadline = work.after(between(now, deadline));
    (until == Some(at)).then_some(Turn { lane: Lane::Server(server), deadline })
}

fn look_after(work: &Work, wait: Duration) -> Next {
    let at = work.after(wait);
    Next { waits: None, later: Some((at, look_at(at))) }
}

fn look_at(deadline: Duration) -> Turn {
    Turn { lane: Lane::Look, deadline }
}
