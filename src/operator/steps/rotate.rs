//! Rotate, the central step: claim, send, commit or release. The only place in the operator that calls the token endpoint. It runs in a task that nothing interrupts: not a cancelled reconciliation, not a
//! lost Lease, not SIGTERM. A pair that was received and is not stored yet exists nowhere else.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{error, info, warn};

use crate::{
    clock::Stopwatch,
    cluster::StoreError,
    domain::{
        commit::{
            attempt::{self, Attempt, Claiming},
            base::{Base, base},
            settlement::{AttemptResult, Settlement, settle},
        },
        failure::{Failure, FailureKind, Outcome},
        governor::Shown,
        ledger::grant::{Grant, Which},
        plan::{
            authentication::{Methods, is_unauthenticated},
            next_refresh::Rotation,
            schedule::SEND_WITHIN,
        },
        snapshot::{GrantSecret, Versioned},
        spec::{ResolvedSpec, Server},
        token::ClientCredentials,
    },
    operator::{
        context::{Context, Doing, ReconcileError},
        workqueue::InFlight,
    },
    pleo::{Fence, TokenRequest},
};

/// All that one attempt needs. The grant's version is the expected version of the claim.
pub struct Job {
    /// What the user wants, read live.
    pub spec: ResolvedSpec,
    pub server: Server,
    /// As whom.
    pub client: ClientCredentials,
    pub grant: Versioned<Grant>,
    pub rotation: Rotation,
    /// Given up once the claim is stored, but for a code.
    pub unsent: Option<TaskTrackerToken>,
    /// Given up once the claim is stored.
    pub place: Option<OwnedSemaphorePermit>,
    /// Given up once the server has answered.
    pub request: InFlight,
}

/// How a rotation ended.
pub enum Rotated {
    /// The outcome, success or failure, is stored.
    Stored(Box<Versioned<Grant>>),
    /// Someone else was faster, or the connection is gone: look again.
    Reobserve,
    /// The API server rejected the claim; no token was used.
    Refused(String),
}

/// Longest pause between two tries to store an outcome.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Sends one refresh token once, and sees to it that what comes back is stored.
///
/// # Errors
/// If the claim could not be made. Nothing was sent then.
pub async fn rotate(ctx: Arc<Context>, mut job: Job) -> Result<Rotated, ReconcileError> {
    let stopwatch = Stopwatch::start(&ctx.clock);
    let id = ctx.memory.next_attempt(&ctx.policy.holder);
    let terms = ctx.terms(&job.spec, &job.server, &job.client, &job.grant.value, &job.rotation);
    let Some(Claiming { attempt, token, fallback }) =
        attempt::claim(&job.grant.value, &job.rotation, id, stopwatch.started_at(), terms)
    else {
        return Ok(Rotated::Reobserve);
    };
    let _under_way = ctx.memory.begin(&attempt.id);
    let claimed = match claim(&ctx, &job.spec, &attempt, &job.grant.version).await? {
        Claimed::Won(claimed) => *claimed,
        Claimed::Lost => return Ok(Rotated::Reobserve),
        Claimed::Refused(why) => return Ok(Rotated::Refused(why)),
    };
    drop(job.place.take());
    if attempt.which == Which::Code {
        // It can be sent only under this claim, so the Lease is kept until it is.
        ctx.memory.sends_code(&job.spec.uid, &attempt.fingerprint);
    } else {
        drop(job.unsent.take());
    }
    let sent_at = SentAt::default();
    let fence = fence(&ctx, stopwatch, &sent_at);
    let request = |method, presented| {
        let (server, client) = (job.server.clone(), job.client.clone());
        TokenRequest { server, method, client, presented, fence: fence.clone() }
    };
    let Methods { first, fallback: second, standing } = attempt.terms.methods;
    let mut ending = send(&ctx, &job, request(first, token), &sent_at).await;
    // The one exception to one request for each attempt: the server did not look at the token.
    if let (Outcome::Failed(failure), Some(second), Some(token)) = (&ending.outcome, second, fallback)
        && is_unauthenticated(failure, attempt.which, standing)
        && fence.is_open()
    {
        info!(method = first.as_str(), "the server did not authenticate the client; trying the other method");
        ending = AttemptResult { fell_back: true, ..send(&ctx, &job, request(second, token), &sent_at).await };
    }
    let Job { spec, request, unsent, .. } = job;
    drop((request, unsent));
    log_outcome(&attempt, &ending);
    Ok(store(&ctx, &spec, &attempt, &ending, claimed).await)
}

/// The instant of sending must lie within 10 s of the claim's beginning, by both clocks, and within our lease.
fn fence(ctx: &Context, stopwatch: Stopwatch, sent_at: &SentAt) -> Fence {
    let (clock, leadership, sent_at) = (Arc::clone(&ctx.clock), ctx.leadership.clone(), Arc::clone(sent_at));
    Fence::new(move || {
        let open = stopwatch.elapsed(&clock) < SEND_WITHIN && leadership.is_held();
        if open {
            *sent_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.now());
        }
        open
    })
}

/// When the fence was last found open: the earliest moment at which the request may have left.
type SentAt = Arc<Mutex<Option<Timestamp>>>;

enum Claimed {
    Won(Box<Versioned<Grant>>),
    Lost,
    Refused(String),
}

/// Claim: proves that the grant Secret is writable before a token is used, and lets one process win.
async fn claim(
    ctx: &Context,
    spec: &ResolvedSpec,
    attempt: &Attempt,
    version: &str,
) -> Result<Claimed, ReconcileError> {
    let written = ctx.store.write_grant(spec, attempt.claimed.clone(), Some(version)).await;
    match written {
        Ok(claimed) => Ok(Claimed::Won(Box::new(claimed))),
        Err(StoreError::Conflict | StoreError::NotFound) => {
            info!("another process wrote the grant first; looking again");
            Ok(Claimed::Lost)
        }
        Err(StoreError::Refused(why)) => Ok(Claimed::Refused(why)),
        Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => {
            // It may have been stored, or be stored later. Only what can be read is ours to use.
            let stored = ctx.store.read_grant(&spec.namespace, &spec.name).await;
            if let Ok(GrantSecret::Ours(grant)) = stored
                && grant.value == attempt.claimed
            {
                return Ok(Claimed::Won(Box::new(grant)));
            }
            ctx.memory.never_sent(&spec.uid, &attempt.id, version);
            Err(outage).doing("claim the refresh token")
        }
    }
}

/// Send: one POST, or none if it has become too late.
async fn send(ctx: &Context, job: &Job, exchange: TokenRequest, sent_at: &SentAt) -> AttemptResult {
    let (started_at, stopwatch, method) = (ctx.now(), Instant::now(), exchange.method);
    let outcome = if exchange.fence.is_open() {
        let fence = exchange.fence.clone();
        let outcome = ctx.endpoint.exchange(exchange).await;
        // What was not sent because of the fence says nothing of the server.
        let shown = Shown::by(&outcome, job.rotation.which != Which::Current);
        if shown != Shown::Unreached || fence.is_open() {
            job.request.note(&job.spec.uid, shown);
        }
        outcome
    } else {
        let why = "it took too long until the claim was stored, or the lease was lost";
        Outcome::Failed(Failure::new(FailureKind::NotSent, why))
    };
    ctx.metrics.attempt(&outcome, stopwatch.elapsed());
    let sent_at = sent_at.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(started_at);
    AttemptResult { outcome, method, fell_back: false, started_at, sent_at, ended_at: ctx.now() }
}

/// A line for every attempt: its outcome and, where there is one, the reason.
fn log_outcome(attempt: &Attempt, ending: &AttemptResult) {
    let which = match attempt.which {
        Which::Candidate => "new authorization",
        Which::Current => "current",
        Which::Code => "authorization by link",
    };
    let id = &attempt.id.0;
    let rotation = attempt.claimed.rotation;
    let outcome = ending.outcome.label();
    match &ending.outcome {
        Outcome::Issued(issued) => {
            let lifetime = issued.lifetime.as_secs();
            info!(attempt = id, token = which, rotation = rotation + 1, outcome, lifetime, "refreshed");
        }
        Outcome::Failed(failure) => {
            let reason = failure.kind.reason().as_str();
            warn!(attempt = id, token = which, rotation, outcome, reason, "refresh failed: {}", failure.detail);
        }
    }
}

/// Commit or release: retried until the outcome is stored, or a newer attempt has won.
async fn store(
    ctx: &Context,
    spec: &ResolvedSpec,
    attempt: &Attempt,
    ending: &AttemptResult,
    claimed: Versioned<Grant>,
) -> Rotated {
    let answered = Instant::now();
    let (mut known, mut pause) = (Some(claimed), Duration::from_millis(50));
    loop {
        if let Some(current) = known.take() {
            match settle(&current.value, attempt, ending) {
                Settlement::AlreadyStored => return stored(ctx, ending, current, answered),
                Settlement::Superseded => {
                    info!(attempt = attempt.id.0, "a newer attempt has won");
                    return Rotated::Reobserve;
                }
                Settlement::Write(grant) => {
                    let replaces = Some(current.version.as_str()).filter(|version| !version.is_empty());
                    match ctx.store.write_grant(spec, *grant, replaces).await {
                        Ok(written) => return stored(ctx, ending, written, answered),
                        Err(error) => log_store_error(ending, &error),
                    }
                }
            }
        }
        if gives_up(ctx, ending, answered) {
            warn!("failed to store a failure; the claim that stays records it");
            return Rotated::Reobserve;
        }
        sleep(pause).await;
        pause = (pause * 2).min(max_pause(ctx, ending, answered));
        match reread(ctx, spec, attempt, ending).await {
            Reread::Now(grant) => known = Some(*grant),
            Reread::NotYet => {}
            Reread::ConnectionGone => return Rotated::Reobserve,
        }
    }
}

/// A pair that was received is retried indefinitely, and so is a rejection, until this process ends: no one else knows that this
/// token must not be sent again. Another failure is not: the claim that stays leads to the same conclusion.
fn gives_up(ctx: &Context, ending: &AttemptResult, answered: Instant) -> bool {
    let is_worth_more = match &ending.outcome {
        Outcome::Issued(_) => true,
        Outcome::Failed(failure) => match failure.kind {
            FailureKind::Rejected(_) => !ctx.stopping.is_cancelled(),
            FailureKind::NotSent
            | FailureKind::Throttled
            | FailureKind::OutcomeUnknown
            | FailureKind::UnknownRejection
            | FailureKind::Misconfigured(_) => false,
        },
    };
    !is_worth_more && answered.elapsed() > ctx.policy.pace.claim_length()
}

/// Pods wait for a pair. No one waits for a rejection that cannot be stored for so long.
fn max_pause(ctx: &Context, ending: &AttemptResult, answered: Instant) -> Duration {
    match ending.outcome {
        Outcome::Failed(_) if answered.elapsed() > ctx.policy.pace.claim_length() => 15 * MAX_PAUSE,
        Outcome::Issued(_) | Outcome::Failed(_) => MAX_PAUSE,
    }
}

fn stored(ctx: &Context, ending: &AttemptResult, grant: Versioned<Grant>, answered: Instant) -> Rotated {
    match ending.outcome {
        Outcome::Issued(_) => ctx.metrics.commit(answered.elapsed()),
        Outcome::Failed(_) => {}
    }
    Rotated::Stored(Box::new(grant))
}

enum Reread {
    Now(Box<Versioned<Grant>>),
    NotYet,
    ConnectionGone,
}

/// What is stored now, after a conflict or a lost response.
async fn reread(ctx: &Context, spec: &ResolvedSpec, attempt: &Attempt, ending: &AttemptResult) -> Reread {
    let stored = match ctx.store.look_at_grant(&spec.namespace, &spec.name).await {
        Ok(seen) => {
            seen.edit.into_iter().for_each(|edit| ctx.memory.saw_edit(&spec.uid, edit));
            seen.what.as_seen_by(&spec.uid)
        }
        Err(error) => {
            log_store_error(ending, &error);
            return Reread::NotYet;
        }
    };
    // As if our claim were still stored: it is newer than what is stored.
    let in_hand = |version: String| Reread::Now(Box::new(Versioned { value: attempt.claimed.clone(), version }));
    match base(stored, attempt, &ending.outcome) {
        Base::Stored(grant) => Reread::Now(grant),
        Base::Claimed { version } => in_hand(version),
        Base::ClaimedIfConnected { version } => match connection_exists(ctx, spec).await {
            Some(true) => in_hand(version),
            Some(false) => Reread::ConnectionGone,
            None => Reread::NotYet,
        },
        Base::ClaimedOverDamaged => match ctx.store.grant_version(&spec.namespace, &spec.name).await {
            Ok(Some(version)) => in_hand(version),
            Ok(None) | Err(_) => Reread::NotYet,
        },
        Base::Blocked => {
            error!(
                "failed to store a token response: the grant Secret is not the operator's any more; remove it, so that the response can be stored"
            );
            // For a connection that is gone, no one will.
            if connection_exists(ctx, spec).await == Some(false) { Reread::ConnectionGone } else { Reread::NotYet }
        }
        Base::Nothing => Reread::ConnectionGone,
    }
}

/// Whether the connection is still there; nothing if that cannot be found out.
async fn connection_exists(ctx: &Context, spec: &ResolvedSpec) -> Option<bool> {
    let connection = ctx.store.read_connection(&spec.namespace, &spec.name).await.ok()?;
    Some(connection.is_some_and(|connection| connection.metadata.uid.as_ref() == Some(&spec.uid)))
}

fn log_store_error(ending: &AttemptResult, error: &StoreError) {
    let outcome = ending.outcome.label();
    warn!(outcome, "failed to store a token response; retrying: {error}");
}
