//! The last step, tell: the status, if it changed, and an event for each transition. A picture of what is stored: losing it
//! costs nothing.

use kube::ResourceExt;
use tracing::{debug, warn};

use super::{
    context::{Context, Doing, PassError},
    observe::Scene,
};
use crate::{
    api::{PleoConnection, PleoConnectionStatus},
    cluster::StoreError,
    domain::report,
};

/// How often a status is written anew over somebody else's edit of the connection.
const STATUS_TRIES: usize = 3;

/// Whether the status says what is.
#[must_use = "a status that was refused must be written later: nobody tells us when the right is given back"]
pub enum Told {
    /// It does.
    Yes,
    /// Somebody else wrote one since we looked.
    BySomebodyElse,
    /// The API server does not let us write it.
    Refused,
}

/// Writes the status, if it changed, and an event for each transition.
///
/// # Errors
/// If the API server gave no answer.
pub async fn status(ctx: &Context, scene: &mut Scene, refused: Option<&str>) -> Result<Told, PassError> {
    for _ in 0..STATUS_TRIES {
        let before = scene.connection.status.clone().unwrap_or_default();
        let after = report::status(&scene.observed, &before, refused, ctx.now(), ctx.policy.pace);
        match write(ctx, &mut scene.connection, before, after).await? {
            Written::Done => return Ok(Told::Yes),
            Written::Refused => return Ok(Told::Refused),
            Written::Conflict => {}
        }
        let wish = &scene.observed.wish;
        let newer = ctx.store.read_connection(&wish.namespace, &wish.name).await.doing("read the connection")?;
        // A status that somebody else wrote is newer than ours.
        let same = |newer: &PleoConnection| {
            newer.metadata.uid.as_ref() == Some(&wish.uid) && newer.status == scene.connection.status
        };
        match newer.filter(same) {
            Some(newer) => scene.connection = newer,
            None => return Ok(Told::BySomebodyElse),
        }
    }
    Err(StoreError::Conflict).doing("write the status")
}

/// Tells that the Secrets cannot be read: all else is unknown.
///
/// # Errors
/// If the API server gave no answer.
pub async fn status_without_secrets(ctx: &Context, mut connection: PleoConnection, why: &str) -> Result<(), PassError> {
    let before = connection.status.clone().unwrap_or_default();
    let generation = connection.metadata.generation.unwrap_or_default();
    let after = report::status_without_secrets(&before, generation, why, ctx.now());
    write(ctx, &mut connection, before, after).await.map(|_| ())
}

/// Writes the status before an exchange, if a condition is about to say something else: the exchange may take a minute.
/// The status is only a picture: that it cannot be written keeps no token from being refreshed.
pub async fn status_before_exchange(ctx: &Context, scene: &mut Scene) {
    let before = scene.connection.status.clone().unwrap_or_default();
    let after = report::status(&scene.observed, &before, None, ctx.now(), ctx.policy.pace);
    // What was refused a moment ago is about to be tried again; only the end of it is news.
    if report::same_conditions(&before, &after) || report::tells_of_refused_storage(&before) {
        return;
    }
    match status(ctx, scene, None).await {
        // What comes of the exchange will be told in any case.
        Ok(Told::Yes | Told::BySomebodyElse | Told::Refused) => {}
        Err(error) => debug!("the status was not written before the exchange: {error}"),
    }
}

/// What became of one write.
enum Written {
    Done,
    /// Somebody else edited the connection first.
    Conflict,
    Refused,
}

/// One write, and the events that go with it.
async fn write(
    ctx: &Context,
    connection: &mut PleoConnection,
    before: PleoConnectionStatus,
    after: PleoConnectionStatus,
) -> Result<Written, PassError> {
    if before == after {
        return Ok(Written::Done);
    }
    match ctx.store.write_status(connection, after.clone()).await {
        Ok(written) => *connection = written,
        Err(StoreError::Conflict) => return Ok(Written::Conflict),
        Err(StoreError::Missing) => return Ok(Written::Done),
        Err(StoreError::Refused(why)) => {
            let (namespace, name) = (connection.namespace(), connection.name_any());
            warn!(namespace, connection = name, "the status cannot be written, and is tried again: {why}");
            return Ok(Written::Refused);
        }
        Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => {
            return Err(outage).doing("write the status");
        }
    }
    for transition in report::transitions(&before, &after) {
        let reporter = ctx.policy.holder.identity.as_str();
        let told = ctx.store.write_event(connection, &transition, reporter, ctx.now()).await;
        if let Err(error) = told {
            debug!(reason = transition.reason, "an event was not written: {error}");
        }
    }
    Ok(Written::Done)
}
