//! What to do now: one decision from one snapshot. Waiting is a decision like any other, and says what for and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    adoption::{self, Adoption, TokenRemoval},
    introspection, link,
    next_refresh::{NextRefresh, Rotation, WaitReason, is_abandoned, next_refresh},
    projection,
    restarts::{self, Restart},
    schedule::Pace,
    users::aging,
};
use crate::domain::{
    governor::ServerState,
    ledger::grant::Grant,
    snapshot::{Deferred, GrantSecret, Snapshot, TokenSecret, published::Content},
    time::later,
};

/// The next step. Each is one write, but for [`Decision::Rotate`], which is a claim and what follows from it, and
/// [`Decision::Restart`], a write for each workload and one for the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The connection is being deleted: its Secrets go with it.
    Ignore,
    /// Write the token Secret.
    Publish(Content),
    /// Take the token from the initial grant.
    Adopt(Box<Adoption>),
    /// Delete the token Secret of an earlier `secretName`.
    DeleteOldSecret(String),
    /// Remove the used token from the initial grant.
    RemoveAdoptedToken(TokenRemoval),
    /// Send a refresh token, or a code.
    Rotate(Rotation),
    /// Ask the introspection endpoint about the token that was just issued.
    ProveIntrospection,
    /// Write the grant without a code, or a claim on one, that will not be used any more.
    DropAuthorizationCode(Box<Grant>),
    /// Create a new link by which a user can authorize.
    CreateLink,
    /// Restart workloads that cannot read the new token otherwise.
    Restart(Restart),
    /// Nothing, until then or until something changes.
    Wait(Wait),
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// The wake-up; none: only a change brings one.
    pub until: Option<Timestamp>,
    pub reason: WaitReason,
}

/// What has no event is checked again after this long: another connection that is gone, a right that is back.
const RECHECK: Duration = Duration::from_secs(60);
/// The next step.
pub fn decide(snapshot: &Snapshot, now: Timestamp, pace: Pace) -> Decision {
    if snapshot.spec.deleting {
        return Decision::Ignore;
    }
    if must_be_left_alone(snapshot) {
        let until = [expiry_of_published(snapshot, now), aging::next(snapshot, now)].into_iter().flatten().min();
        return Decision::Wait(Wait { until, reason: WaitReason::Change });
    }
    let next = next_refresh(snapshot, now, pace);
    if let Some(grant) = link::forgotten(snapshot, is_abandoned(snapshot, now, pace), now) {
        return Decision::DropAuthorizationCode(Box::new(grant));
    }
    let content = publication(snapshot, now, &next);
    let repair = content.as_ref().and_then(|content| projection::repaired_again_at(snapshot, content, now));
    if let Some(content) = content.filter(|_| repair.is_none()) {
        return Decision::Publish(content);
    }
    if let Some(adoption) = adoption::due(snapshot) {
        return Decision::Adopt(Box::new(adoption));
    }
    if let Some(retired) = old_secret_deletion(snapshot) {
        return Decision::DeleteOldSecret(retired);
    }
    if let Some(token_removal) = adoption::token_removal(snapshot, now) {
        return Decision::RemoveAdoptedToken(token_removal);
    }
    let deferred = snapshot.deferred != Deferred::default();
    let recheck = (deferred || waits_for_another(snapshot)).then(|| later(now, RECHECK));
    let flip = expiry_of_published(snapshot, now);
    let (at, reason) = match next {
        // Also before a restart, which would be for a token that is about to die.
        NextRefresh::Now(rotation) => return Decision::Rotate(rotation),
        NextRefresh::At(time, reason) => (Some(time), reason),
        NextRefresh::Held => (None, WaitReason::Server),
        NextRefresh::Never => (None, WaitReason::Change),
    };
    if let Some(restart) = restarts::due(snapshot, now) {
        return Decision::Restart(restart);
    }
    if introspection::is_proof_due(snapshot, now) {
        return Decision::ProveIntrospection;
    }
    if link::is_due(snapshot, now) {
        return Decision::CreateLink;
    }
    let others = [restarts::next(snapshot, now), link::next(snapshot, now), aging::next(snapshot, now)];
    let repairs = [repair, adoption::next(snapshot, now)];
    let wake_ups = [at, recheck, flip].into_iter().chain(others).chain(repairs);
    Decision::Wait(Wait { until: wake_ups.flatten().min(), reason })
}

/// A Secret that is not ours, or not to be understood: nothing is touched or sent.
fn must_be_left_alone(snapshot: &Snapshot) -> bool {
    let grant = match snapshot.grant {
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => true,
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Stale(_) => false,
    };
    grant || snapshot.token == TokenSecret::NotOwned
}

/// A token that is news and was not adopted: another connection has it, or that could not be found out.
fn waits_for_another(snapshot: &Snapshot) -> bool {
    let news = |server| adoption::news(&snapshot.initial, &snapshot.grant, server, &snapshot.client);
    snapshot.spec.token_url().and_then(news).is_some()
}

/// The old token Secret is deleted once the new one exists.
fn old_secret_deletion(snapshot: &Snapshot) -> Option<String> {
    let stands = snapshot.token.published().is_some() && !snapshot.deferred.old_secret_deletion;
    snapshot.retired.clone().filter(|_| stands)
}

/// When what pods see has to be marked as expired.
fn expiry_of_published(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    snapshot.token.published().and_then(|published| published.usable(now)).map(|access| access.expires_at)
}

/// The token Secret as it should be written, if it is not so already.
fn publication(snapshot: &Snapshot, now: Timestamp, next: &NextRefresh) -> Option<Content> {
    let Some(published) = snapshot.token.published() else {
        return projection::desired(snapshot, now).filter(|_| snapshot.spec.server.is_ok());
    };
    let mut desired = projection::desired(snapshot, now)?;
    let about_to_send = match next {
        NextRefresh::Now(_) => true,
        NextRefresh::Held => snapshot.local.held == Some(ServerState::Healthy),
        NextRefresh::At(..) | NextRefresh::Never => false,
    };
    if let Some(content) =
        published.content.as_ref().filter(|content| about_to_send && content.access == desired.access)
    {
        // That it has expired is not worth a write while a new token is about to be fetched.
        desired.state = content.state;
    }
    (!projection::is_intact(published, &desired, &snapshot.spec)).then_some(desired)
}
