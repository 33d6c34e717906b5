//! Report: the status, if it changed, an event for each transition, notices for the webhook, and signals of what could be an
//! attack. It only writes the status and events. All of it is derived from what is stored: losing it costs nothing.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use tokio::time::timeout;
use tracing::{Instrument, debug, info, warn};

use super::observe::Observation;
use crate::{
    api::{
        PleoConnection, PleoConnectionStatus, SecuritySignal,
        names::{AUTHORIZATION_FAILED, INITIAL_GRANT_RETURNED},
    },
    cluster::StoreError,
    domain::{
        ledger::authorization::SessionEnd,
        plan::adoption,
        report::{
            notice,
            signal::{self, Signal},
            status::{self, Transition},
        },
        snapshot::InitialGrant,
    },
    operator::context::{Context, Doing, ReconcileError},
};

/// How long the events of one step may take.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a status is written again over someone else's edit of the connection.
const STATUS_TRIES: usize = 3;

/// Whether the status says what is.
#[must_use = "a status that was rejected must be written later: there is no event when the right is restored"]
pub enum StatusWrite {
    /// It does.
    Yes,
    /// Someone else wrote one since we looked.
    BySomebodyElse,
    /// The API server does not let us write it.
    Refused,
}

/// Writes the status, if it changed, and an event for each transition.
///
/// # Errors
/// If the API server gave no answer.
pub async fn write(
    ctx: &Arc<Context>,
    observation: &mut Observation,
    refused: Option<&str>,
) -> Result<StatusWrite, ReconcileError> {
    for _ in 0..STATUS_TRIES {
        let before = observation.connection.status.clone().unwrap_or_default();
        let after = status::of(&observation.snapshot, &before, refused, ctx.now(), ctx.policy.pace);
        match put(ctx, &mut observation.connection, &before, &after).await? {
            Written::Done { reported } => {
                notify_others(ctx, observation, &reported, &after);
                returned(ctx, observation);
                return Ok(StatusWrite::Yes);
            }
            Written::Refused => return Ok(StatusWrite::Refused),
            Written::Conflict => {}
        }
        let spec = &observation.snapshot.spec;
        let newer = ctx.store.read_connection(&spec.namespace, &spec.name).await.doing("read the connection")?;
        // A status that someone else wrote is newer than ours.
        let same = |newer: &PleoConnection| {
            newer.metadata.uid.as_ref() == Some(&spec.uid) && newer.status == observation.connection.status
        };
        match newer.filter(same) {
            Some(newer) => observation.connection = newer,
            None => return Ok(StatusWrite::BySomebodyElse),
        }
    }
    Err(StoreError::Conflict).doing("write the status")
}

/// Reports that the Secrets cannot be read: all else is unknown.
///
/// # Errors
/// If the API server gave no answer.
pub async fn write_without_secrets(
    ctx: &Arc<Context>,
    mut connection: PleoConnection,
    why: &str,
) -> Result<(), ReconcileError> {
    let before = connection.status.clone().unwrap_or_default();
    let generation = connection.metadata.generation.unwrap_or_default();
    let after = status::without_secrets(&before, generation, why, ctx.now());
    put(ctx, &mut connection, &before, &after).await.map(|_| ())
}

/// Writes the status before an exchange, if a condition is about to say something else: the exchange may take a minute.
/// The status is derived: that it cannot be written keeps no token from being refreshed.
pub async fn write_before_refresh(ctx: &Arc<Context>, observation: &mut Observation) {
    let before = observation.connection.status.clone().unwrap_or_default();
    let after = status::of(&observation.snapshot, &before, None, ctx.now(), ctx.policy.pace);
    // What was refused a moment ago is about to be tried again; only the end of it is news.
    if status::same_conditions(&before, &after) || status::tells_of_refused_storage(&before) {
        return;
    }
    match write(ctx, observation, None).await {
        // The result of the refresh is reported in any case.
        Ok(StatusWrite::Yes | StatusWrite::BySomebodyElse | StatusWrite::Refused) => {}
        Err(error) => debug!("failed to write the status before the refresh: {error}"),
    }
}

/// What became of one write.
enum Written {
    Done {
        /// The status that was reported last.
        reported: Box<PleoConnectionStatus>,
    },
    /// Someone else edited the connection first.
    Conflict,
    Refused,
}

/// One write, and the events that go with it. Where its answer is lost, they are sent after the next reconciliation.
async fn put(
    ctx: &Arc<Context>,
    connection: &mut PleoConnection,
    before: &PleoConnectionStatus,
    after: &PleoConnectionStatus,
) -> Result<Written, ReconcileError> {
    let uid = connection.uid().unwrap_or_default();
    let reported = Box::new(ctx.memory.last_reported(&uid).unwrap_or_else(|| before.clone()));
    if before != after {
        match ctx.store.write_status(connection, after.clone()).await {
            Ok(written) => *connection = written,
            Err(StoreError::Conflict) => return Ok(Written::Conflict),
            Err(StoreError::NotFound) => return Ok(Written::Done { reported: Box::new(before.clone()) }),
            Err(StoreError::Refused(why)) => {
                warn!("the status cannot be written, and is tried again: {why}");
                return Ok(Written::Refused);
            }
            Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => {
                ctx.memory.report_later(&uid, *reported);
                return Err(outage).doing("write the status");
            }
        }
    }
    ctx.memory.reported_now(&uid);
    events(ctx, connection, status::transitions(&reported, after));
    Ok(Written::Done { reported })
}

/// Writes events, beside all else: no token waits for them, and not for long does a process that is to end.
fn events(ctx: &Arc<Context>, connection: &PleoConnection, transitions: Vec<Transition>) {
    if transitions.is_empty() {
        return;
    }
    let (ctx, connection) = (Arc::clone(ctx), connection.clone());
    let tracker = ctx.tracker.clone();
    let writes = async move {
        for transition in transitions {
            let reporter = ctx.policy.holder.identity.as_str();
            let written = ctx.store.write_event(&connection, &transition, reporter, ctx.now()).await;
            if let Err(error) = written {
                debug!(reason = transition.reason, "an event was not written: {error}");
            }
        }
    };
    drop(tracker.spawn(timeout(EVENTS_TIMEOUT, writes).in_current_span()));
}

/// Notifies those who do not look at conditions: the webhook, and people who watch for attacks.
fn notify_others(
    ctx: &Arc<Context>,
    observation: &Observation,
    before: &PleoConnectionStatus,
    after: &PleoConnectionStatus,
) {
    let spec = &observation.snapshot.spec;
    if let Some(notice) = notice::notice(spec, before, after, ctx.now()) {
        ctx.outbox.send(notice);
    }
    let edits = ctx.memory.edits_to_report(&spec.uid);
    let signals = signal::signals(&observation.snapshot, before, after, ctx.now(), &edits);
    let mut transitions = Vec::new();
    for signal in signals.into_iter().filter(|signal| is_news(ctx, observation, signal)) {
        let kind = signal.kind.as_str();
        warn!(signal = kind, "{}", signal.message);
        ctx.metrics.signal(signal.kind);
        // Where a condition says so as well, its own event was reported.
        if after.conditions.iter().all(|condition| condition.reason != kind) {
            transitions.push(Transition { reason: kind.to_owned(), message: signal.message, warning: true });
        }
    }
    events(ctx, &observation.connection, transitions);
}

/// Another program puts an adopted token back: reported once, because it goes on until that program is changed.
fn returned(ctx: &Arc<Context>, observation: &Observation) {
    let Some((token, message)) = adoption::returned(&observation.snapshot) else { return };
    if ctx.memory.is_first_return(&observation.snapshot.spec.uid, token) {
        let reason = INITIAL_GRANT_RETURNED.to_owned();
        warn!("{message}");
        events(ctx, &observation.connection, vec![Transition { reason, message, warning: true }]);
    }
}

/// A grant stays shared until a user fixes that.
fn is_news(ctx: &Context, observation: &Observation, signal: &Signal) -> bool {
    match (signal.kind, &observation.snapshot.initial) {
        (SecuritySignal::GrantShared, InitialGrant::Present(token)) => {
            ctx.memory.is_newly_shared(&observation.snapshot.spec.uid, &token.fingerprint)
        }
        (SecuritySignal::RejectedEarly | SecuritySignal::SecretEdited | SecuritySignal::GrantShared, _) => true,
    }
}

/// An authorization by link ended: counted, and reported where it failed. The user's page shows it as well.
pub fn report_authorization(ctx: &Arc<Context>, observation: &Observation, end: SessionEnd) {
    info!(outcome = end.label(), "an authorization by link ended");
    ctx.metrics.authorization(end);
    let failed = |advice: &str| {
        let (reason, message) = (AUTHORIZATION_FAILED.to_owned(), advice.to_owned());
        Transition { reason, message, warning: true }
    };
    events(ctx, &observation.connection, end.advice().map(failed).into_iter().collect());
}
