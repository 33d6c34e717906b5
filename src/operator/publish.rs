//! Step 5 and the rest of the writes: the token Secret, the adoption of a new token, tidying, the status and its events.
//! The only writer of what pods mount. Each function makes one decision come true and puts the result into the scene, so
//! that the next decision sees it without a read.

use tracing::{debug, info, warn};

use super::{
    context::{Context, Doing, PassError},
    observe::Scene,
};
use crate::{
    api::PleoConnectionStatus,
    cluster::StoreError,
    domain::{
        adoption::{Adoption, Tidying},
        observed::{InitialGrant, TokenSecret},
        projection::Content,
        report,
    },
};

/// What follows a write.
#[must_use]
pub enum Step {
    /// The scene shows what is stored now.
    Done,
    /// What was seen is old: look again.
    LookAgain,
    /// The API server does not want it; nothing was spent.
    Refused(String),
}

/// Writes the token Secret, over the version that was read before anything else: a slow process never puts an old token
/// over a new one (I4).
///
/// # Errors
/// If the API server gave no answer.
pub async fn token(ctx: &Context, scene: &mut Scene, content: &Content) -> Result<Step, PassError> {
    let replaces = match &scene.observed.token {
        TokenSecret::Ours(published) => Some(published),
        TokenSecret::Absent | TokenSecret::Foreign => None,
    };
    let written = ctx.store.write_token(&scene.observed.wish, content, replaces).await;
    settled(written, "write the token Secret", |token| scene.observed.token = token)
}

/// Takes a token from the initial grant. From the look at other connections to the write under one lock: no two
/// connections adopt the same token.
///
/// # Errors
/// If the API server gave no answer.
pub async fn adopt(ctx: &Context, scene: &Scene, adoption: Adoption) -> Result<Step, PassError> {
    let wish = &scene.observed.wish;
    let _alone = ctx.memory.adoption.lock().await;
    let other = ctx.store.adopter(&adoption.fingerprint, wish, &ctx.policy.namespaces).await;
    if other.doing("look for another connection with the same grant")?.is_some() {
        return Ok(Step::LookAgain);
    }
    let written = ctx.store.write_grant(wish, adoption.grant, adoption.replaces.as_deref()).await;
    let step = settled(written, "write the grant Secret", |_| ())?;
    Ok(match step {
        Step::Done => {
            info!(
                namespace = wish.namespace,
                connection = wish.name,
                "took a new refresh token from the initial grant"
            );
            // The connection may have been edited meanwhile: nothing is sent on an old look.
            Step::LookAgain
        }
        Step::LookAgain | Step::Refused(_) => step,
    })
}

/// Deletes the token Secret of an earlier `secretName`.
///
/// # Errors
/// If the API server gave no answer.
pub async fn retire(ctx: &Context, scene: &mut Scene, name: &str) -> Result<Step, PassError> {
    let deleted = ctx.store.retire_token(&scene.observed.wish, name).await;
    settled(deleted, "delete the token Secret of an earlier name", |()| scene.observed.retired = None)
}

/// Removes the spent token from the user's Secret. That it cannot be removed is no failure.
///
/// # Errors
/// If the API server gave no answer.
pub async fn tidy(ctx: &Context, scene: &mut Scene, tidying: &Tidying) -> Result<Step, PassError> {
    let tidied = ctx.store.tidy(&scene.observed.wish.namespace, tidying).await;
    let initial = &mut scene.observed.initial;
    let step = settled(tidied, "remove the spent token from the initial grant", |()| {
        let why = format!("the refresh token in the Secret {} was adopted and removed", tidying.secret);
        *initial = InitialGrant::Missing(why);
    })?;
    Ok(match step {
        Step::Refused(why) => {
            let wish = &scene.observed.wish;
            let (namespace, connection, secret) = (&wish.namespace, &wish.name, &tidying.secret);
            warn!(
                namespace,
                connection, secret, "the spent token stays in the initial grant, remove it by hand or set keep: {why}"
            );
            scene.observed.initial_is_fixed = true;
            Step::Done
        }
        Step::Done | Step::LookAgain => step,
    })
}

fn settled<T>(written: Result<T, StoreError>, doing: &'static str, done: impl FnOnce(T)) -> Result<Step, PassError> {
    match written {
        Ok(written) => {
            done(written);
            Ok(Step::Done)
        }
        Err(StoreError::Conflict | StoreError::Missing) => Ok(Step::LookAgain),
        Err(StoreError::Refused(why)) => Ok(Step::Refused(why)),
        Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => Err(outage).doing(doing),
    }
}

/// Writes the status, if it changed, and an event for each transition.
///
/// # Errors
/// If the API server gave no answer.
pub async fn status(ctx: &Context, scene: &mut Scene, refused: Option<&str>) -> Result<(), PassError> {
    let before = scene.connection.status.clone().unwrap_or_default();
    let after = report::status(&scene.observed, &before, refused, ctx.now(), ctx.policy.pace);
    if before == after {
        return Ok(());
    }
    match ctx.store.write_status(&scene.connection, after.clone()).await {
        Ok(written) => scene.connection = written,
        // Edited meanwhile: that edit wakes us again, with a newer look.
        Err(StoreError::Conflict | StoreError::Missing) => return Ok(()),
        Err(StoreError::Refused(why)) => {
            let wish = &scene.observed.wish;
            warn!(namespace = wish.namespace, connection = wish.name, "the status cannot be written: {why}");
            return Ok(());
        }
        Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => {
            return Err(outage).doing("write the status");
        }
    }
    events(ctx, scene, &before, &after).await;
    Ok(())
}

/// Writes the status before an exchange, if a condition is about to say something else: the exchange may take a minute.
///
/// # Errors
/// If the API server gave no answer.
pub async fn status_before_exchange(ctx: &Context, scene: &mut Scene) -> Result<(), PassError> {
    let before = scene.connection.status.clone().unwrap_or_default();
    let after = report::status(&scene.observed, &before, None, ctx.now(), ctx.policy.pace);
    if report::same_conditions(&before, &after) { Ok(()) } else { status(ctx, scene, None).await }
}

async fn events(ctx: &Context, scene: &Scene, before: &PleoConnectionStatus, after: &PleoConnectionStatus) {
    for transition in report::transitions(before, after) {
        let reporter = ctx.policy.holder.identity.as_str();
        let told = ctx.store.write_event(&scene.connection, &transition, reporter, ctx.now()).await;
        if let Err(error) = told {
            debug!(reason = transition.reason, "an event was not written: {error}");
        }
    }
}
