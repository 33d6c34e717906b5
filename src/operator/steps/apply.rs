//! Step 5 and the rest of the writes to Secrets: the token Secret, the adoption of a new token, tidying. The only writer of
//! what pods mount. Each function makes one decision come true and puts the result into the scene, so
//! that the next decision sees it without a read.

use tracing::{info, warn};
use uuid::Uuid;

use super::observe::Scene;
use crate::{
    cluster::StoreError,
    domain::{
        ledger::grant::Grant,
        plan::{
            adoption::{Adoption, Tidying},
            link, projection,
        },
        snapshot::{
            observed::{GrantSecret, InitialGrant, TokenSecret},
            published::Content,
        },
        token::LinkKey,
    },
    operator::context::{Context, Doing, PassError},
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
    let wish = &scene.observed.wish;
    let written = ctx.store.write_token(wish, content, replaces).await;
    if written.is_ok() {
        ctx.memory.note_publication(&wish.uid, &projection::written(content, wish));
    }
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

/// Writes the grant as it was decided on: what it held that is of no use any more is gone.
///
/// # Errors
/// If the API server gave no answer.
pub async fn grant(ctx: &Context, scene: &mut Scene, grant: Grant) -> Result<Step, PassError> {
    let replaces = scene.observed.grant.ours().map(|grant| grant.version.clone());
    let written = ctx.store.write_grant(&scene.observed.wish, grant, replaces.as_deref()).await;
    settled(written, "write the grant Secret", |grant| scene.observed.grant = GrantSecret::Ours(grant))
}

/// Makes a key for the link by which a human can consent.
///
/// # Errors
/// If the API server gave no answer.
pub async fn invite(ctx: &Context, scene: &mut Scene) -> Result<Step, PassError> {
    let key = LinkKey::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let Some((grant, replaces)) = link::invite(&scene.observed, key, ctx.now()) else { return Ok(Step::LookAgain) };
    let written = ctx.store.write_grant(&scene.observed.wish, grant, replaces.as_deref()).await;
    settled(written, "write the grant Secret", |grant| scene.observed.grant = GrantSecret::Ours(grant))
}

/// Deletes the token Secret of an earlier `secretName`. That it does not work keeps nothing else from being done.
pub async fn retire(ctx: &Context, scene: &mut Scene, name: &str) -> Step {
    match ctx.store.retire_token(&scene.observed.wish, name).await {
        Ok(()) => scene.observed.retired = None,
        Err(error) => {
            put_off(scene, &format!("the token Secret of an earlier name cannot be deleted: {error}"));
            scene.observed.put_off.retirement = true;
        }
    }
    Step::Done
}

/// Removes the spent token from the user's Secret. That it does not work keeps nothing else from being done.
pub async fn tidy(ctx: &Context, scene: &mut Scene, tidying: &Tidying) -> Step {
    match ctx.store.tidy(&scene.observed.wish.namespace, tidying).await {
        Ok(()) => {
            ctx.memory.note_removal(&scene.observed.wish.uid, &tidying.fingerprint);
            let why = format!("the refresh token in the Secret {} was adopted and removed", tidying.secret);
            scene.observed.initial = InitialGrant::Missing(why);
            Step::Done
        }
        Err(StoreError::Conflict | StoreError::Missing) => Step::LookAgain,
        Err(error) => {
            put_off(
                scene,
                &format!("the spent token stays in the initial grant; remove it by hand or set keep: {error}"),
            );
            scene.observed.put_off.tidying = true;
            Step::Done
        }
    }
}

/// A side job did not work; it is tried again.
pub(super) fn put_off(scene: &Scene, what: &str) {
    let wish = &scene.observed.wish;
    warn!(namespace = wish.namespace, connection = wish.name, "{what}");
}

/// What follows from a write of ours.
pub(super) fn settled<T>(
    written: Result<T, StoreError>,
    doing: &'static str,
    done: impl FnOnce(T),
) -> Result<Step, PassError> {
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
