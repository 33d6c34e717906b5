//! Apply: the token Secret, adoption, links, the removal of a used token, the deletion of an old Secret. The only
//! writer of what pods mount. Each function carries out one decision and updates the snapshot, so that the next decision
//! sees the result without a read.

use tracing::{info, warn};
use uuid::Uuid;

use super::observe::Observation;
use crate::{
    cluster::StoreError,
    domain::{
        ledger::grant::Grant,
        plan::{
            adoption::{Adoption, TokenRemoval},
            link, projection,
        },
        snapshot::{GrantSecret, InitialGrant, Sharing, TokenSecret, published::Content},
        token::LinkKey,
    },
    operator::context::{Context, Doing, ReconcileError},
};

/// What follows a write.
#[must_use]
pub enum StepResult {
    /// The snapshot matches what is stored.
    Done,
    /// What was seen is old: look again.
    Reobserve,
    /// The API server rejected it; no token was used.
    Refused(String),
}

/// Writes the token Secret, over the version that was read before anything else: a slow process never puts an old token
/// over a new one (I4).
///
/// # Errors
/// If the API server gave no answer.
pub async fn token(
    ctx: &Context,
    observation: &mut Observation,
    content: &Content,
) -> Result<StepResult, ReconcileError> {
    let replaces = match &observation.snapshot.token {
        TokenSecret::Ours(published) => Some(published),
        TokenSecret::Absent | TokenSecret::NotOwned => None,
    };
    let spec = &observation.snapshot.spec;
    let written = ctx.store.write_token(spec, content, replaces).await;
    if written.is_ok() {
        ctx.memory.note_publication(&spec.uid, &projection::written(content, spec));
    }
    settled(written, "write the token Secret", |token| observation.snapshot.token = token)
}

/// Takes a token from the initial grant. From the look at other connections to the write under one lock: no two
/// connections adopt the same token.
///
/// # Errors
/// If the API server gave no answer.
pub async fn adopt(
    ctx: &Context,
    observation: &mut Observation,
    adoption: Adoption,
) -> Result<StepResult, ReconcileError> {
    let spec = &observation.snapshot.spec;
    let _alone = ctx.memory.adoption.lock().await;
    let _unsent = ctx.unsent.token();
    if ctx.over.is_cancelled() {
        return Err(ReconcileError::NotLeading);
    }
    let sharing = match ctx.store.adopter(&adoption.fingerprint, spec, &ctx.policy.namespaces).await {
        Ok(None) => Sharing::Alone,
        Ok(Some(other)) => Sharing::With(other),
        // That it cannot be found out must not cost the working grant its refresh.
        Err(why) => Sharing::Unchecked(why.to_string()),
    };
    if sharing != Sharing::Alone {
        if let InitialGrant::Present(token) = &mut observation.snapshot.initial {
            token.sharing = sharing;
        }
        return Ok(StepResult::Done);
    }
    let written = ctx.store.write_grant(spec, adoption.grant, adoption.replaces.as_deref()).await;
    let step = settled(written, "write the grant Secret", |_| ())?;
    Ok(match step {
        StepResult::Done => {
            info!("took a new refresh token from the initial grant");
            // The connection may have been edited meanwhile: nothing is sent on an old look.
            StepResult::Reobserve
        }
        StepResult::Reobserve | StepResult::Refused(_) => step,
    })
}

/// Writes the grant as it was decided on: what it held that is of no use any more is gone.
///
/// # Errors
/// If the API server gave no answer.
pub async fn grant(ctx: &Context, observation: &mut Observation, grant: Grant) -> Result<StepResult, ReconcileError> {
    let replaces = observation.snapshot.grant.ours().map(|grant| grant.version.clone());
    let written = ctx.store.write_grant(&observation.snapshot.spec, grant, replaces.as_deref()).await;
    settled(written, "write the grant Secret", |grant| observation.snapshot.grant = GrantSecret::Ours(grant))
}

/// Makes a key for the link by which a user can authorize.
///
/// # Errors
/// If the API server gave no answer.
pub async fn create_link(ctx: &Context, observation: &mut Observation) -> Result<StepResult, ReconcileError> {
    let key = LinkKey::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let Some((grant, replaces)) = link::create(&observation.snapshot, key, ctx.now()) else {
        return Ok(StepResult::Reobserve);
    };
    let written = ctx.store.write_grant(&observation.snapshot.spec, grant, replaces.as_deref()).await;
    settled(written, "write the grant Secret", |grant| observation.snapshot.grant = GrantSecret::Ours(grant))
}

/// Deletes the token Secret of an earlier `secretName`. That it does not work keeps nothing else from being done.
pub async fn delete_old_secret(ctx: &Context, observation: &mut Observation, name: &str) -> StepResult {
    match ctx.store.delete_old_token(&observation.snapshot.spec, name).await {
        Ok(()) => observation.snapshot.retired = None,
        Err(error) => {
            warn!("the token Secret of an earlier name cannot be deleted: {error}");
            observation.snapshot.deferred.old_secret_deletion = true;
        }
    }
    StepResult::Done
}

/// Removes the used token from the user's Secret. That it does not work keeps nothing else from being done.
pub async fn remove_adopted_token(
    ctx: &Context,
    observation: &mut Observation,
    token_removal: &TokenRemoval,
) -> StepResult {
    match ctx.store.remove_token(&observation.snapshot.spec, token_removal).await {
        Ok(()) => {
            ctx.memory.note_removal(&observation.snapshot.spec.uid, &token_removal.fingerprint);
            let why = format!("the refresh token in the Secret {} was adopted and removed", token_removal.secret);
            observation.snapshot.initial = InitialGrant::Missing(why);
            StepResult::Done
        }
        Err(StoreError::Conflict | StoreError::NotFound) => StepResult::Reobserve,
        Err(error) => {
            warn!("failed to remove the used token from the initial grant; remove it by hand or set keep: {error}");
            observation.snapshot.deferred.token_removal = true;
            StepResult::Done
        }
    }
}

/// What follows from a write of ours.
pub(super) fn settled<T>(
    written: Result<T, StoreError>,
    doing: &'static str,
    done: impl FnOnce(T),
) -> Result<StepResult, ReconcileError> {
    match written {
        Ok(written) => {
            done(written);
            Ok(StepResult::Done)
        }
        Err(StoreError::Conflict | StoreError::NotFound) => Ok(StepResult::Reobserve),
        Err(StoreError::Refused(why)) => Ok(StepResult::Refused(why)),
        Err(outage @ (StoreError::Unavailable(_) | StoreError::TimedOut)) => Err(outage).doing(doing),
    }
}
