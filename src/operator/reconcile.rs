//! The table of contents: observe, decide, act, until there is nothing left to do but wait; then report.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::timeout;
use tracing::{Instrument, instrument, warn};

use crate::{
    api::PleoConnection,
    domain::{
        ledger::grant::{Grant, Which},
        plan::{
            decide::{Decision, decide},
            link,
            next_refresh::{NextRefresh, Rotation, WaitReason, next_refresh},
            schedule::SEND_WITHIN,
        },
        queue::{Lane, Next, Turn},
        snapshot::{ClientSecretState, GrantSecret, Snapshot},
        time::between,
        token::fraction,
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
        workqueue::{InFlight, Work},
    },
};

/// More than any connection needs: empty token Secret, adoption, refresh, token Secret, removal of the adopted token and of an
/// old token Secret, restarts, a link.
const MAX_STEPS: usize = 12;

/// A refresh that takes longer than this is announced in the status.
const SLOW: Duration = Duration::from_secs(2);

/// What waits for a change is looked at after this, and at most twice as long, even if there seems to be none.
const FALLBACK: Duration = Duration::from_secs(6 * 3600);

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
        let decision = decide(&observation.snapshot, ctx.now(), ctx.policy.pace);
        if ctx.over.is_cancelled() && !is_worth_finishing(&decision) {
            return Err(ReconcileError::NotLeading);
        }
        let step = match decision {
            Decision::Ignore => return Ok(Next::default()),
            Decision::Publish(content) => {
                let step = apply::token(ctx, &mut observation, &content).await?;
                if let StepResult::Done = step {
                    pods::notify(ctx, &observation, true);
                }
                step
            }
            Decision::Adopt(adoption) => apply::adopt(ctx, &mut observation, *adoption).await?,
            Decision::DeleteOldSecret(name) => apply::delete_old_secret(ctx, &mut observation, &name).await,
            Decision::RemoveAdoptedToken(token_removal) => {
                apply::remove_adopted_token(ctx, &mut observation, &token_removal).await
            }
            Decision::Rotate(rotation) => refresh(ctx, &mut observation, rotation, work).await?,
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

/// Pods and users get what is stored, also of a process that no longer leads: both are compare-and-swaps. The rest is begun by the next
/// leader.
fn is_worth_finishing(decision: &Decision) -> bool {
    match decision {
        Decision::Ignore | Decision::Publish(_) | Decision::Wait(_) => true,
        Decision::Adopt(_)
        | Decision::DeleteOldSecret(_)
        | Decision::RemoveAdoptedToken(_)
        | Decision::Rotate(_)
        | Decision::ProveIntrospection
        | Decision::DropAuthorizationCode(_)
        | Decision::CreateLink
        | Decision::Restart(_) => false,
    }
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

/// Sends the token that was decided on, if the server gets another request now.
async fn refresh(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    rotation: Rotation,
    work: &mut Work,
) -> Result<StepResult, ReconcileError> {
    let Some(server) = observation.snapshot.spec.token_url().cloned() else { return Ok(StepResult::Reobserve) };
    // A commit may have taken minutes: the connection may be suspended or point elsewhere now.
    if observation.age.elapsed(&ctx.clock) > SEND_WITHIN {
        return Ok(StepResult::Reobserve);
    }
    let request = match work.enter(&server, is_asked_for(&rotation)) {
        Ok(request) => request,
        Err(state) => {
            observation.snapshot.local.held = Some(state);
            return Ok(StepResult::Done);
        }
    };
    match introspect::before_sending(ctx, observation, &rotation, &request).await? {
        Some(step) => Ok(step),
        None => send(ctx, observation, rotation, work, request).await,
    }
}

/// A user has asked for it, or has just authorized: it does not wait for what other tokens meet.
fn is_asked_for(rotation: &Rotation) -> bool {
    rotation.request.is_some() || rotation.which != Which::Current
}

/// Rotates in a task that nothing cuts.
async fn send(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    rotation: Rotation,
    work: &mut Work,
    request: InFlight,
) -> Result<StepResult, ReconcileError> {
    let unsent = ctx.unsent.token();
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
        unsent: Some(unsent),
        place: work.take_place(),
        request,
    };
    let mut rotating = ctx.tracker.spawn(rotate(Arc::clone(ctx), job).in_current_span());
    let rotated = match timeout(SLOW, &mut rotating).await {
        Ok(rotated) => rotated,
        // The new token does not wait for the status.
        Err(_) => tokio::select! {
            biased;
            rotated = &mut rotating => rotated,
            () = status::write_before_refresh(ctx, observation) => rotating.await,
        },
    };
    let rotated = rotated.map_err(ReconcileError::Panicked)??;
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
            observation.snapshot.local =
                local_observations(ctx, &observation.snapshot.spec.namespace, &observation.snapshot.grant);
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
    let waits = turn_now(ctx, observation, work);
    let later = match (due, again) {
        (Some(due), again) if again.is_none_or(|again| due <= again) => {
            let at = work.after(due);
            Some((at, turn_at(ctx, observation, until, work).unwrap_or_else(|| Turn::look(at))))
        }
        (_, Some(again)) => look_after(work, again).later,
        // In case that an event was missed.
        (_, None) => look_after(work, FALLBACK.mul_f64(1.0 + fraction(&["fallback", uid]))).later,
    };
    Next { waits, later }
}

/// The turn at a server that gets no more requests at present.
fn turn_now(ctx: &Context, observation: &Observation, work: &Work) -> Option<Turn> {
    let snapshot = &observation.snapshot;
    match next_refresh(snapshot, ctx.now(), ctx.policy.pace) {
        NextRefresh::Held => Some(work.turn(snapshot.spec.token_url()?.clone(), is_in_doubt(snapshot))),
        NextRefresh::Now(_) | NextRefresh::At(..) | NextRefresh::Never => None,
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
        WaitReason::Claim | WaitReason::Server | WaitReason::Change => return None,
    };
    let (lane, deadline) = (Lane::Server(server), work.after(between(now, deadline)));
    (until == Some(at)).then_some(Turn { lane, deadline, is_in_doubt: is_in_doubt(snapshot) })
}

fn is_in_doubt(snapshot: &Snapshot) -> bool {
    let current = snapshot.grant.ours().and_then(|grant| grant.value.current.as_ref());
    current.is_some_and(|pair| pair.refresh.attempts.outcome_unknown)
}

fn look_after(work: &Work, wait: Duration) -> Next {
    let at = work.after(wait);
    Next { waits: None, later: Some((at, Turn::look(at))) }
}
