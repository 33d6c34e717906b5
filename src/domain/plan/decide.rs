//! What is to be done now: one decision from one observation. Waiting is a decision like any other, and says what
//! for and until when.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    adoption::{self, Adoption, Tidying},
    aging, link,
    ownership::Ownership,
    projection,
    restarts::{self, Restart},
    schedule::{self, Pace, lies_ahead, refresh_due, retry_at},
};
use crate::domain::{
    ledger::grant::{Attempts, Claim, Grant, Which},
    snapshot::{
        observed::{Claimant, ClientSecretState, GrantSecret, Observed, PutOff, TokenSecret},
        published::Content,
    },
    time::{between, later},
    token::ClientCredentials,
};

/// The next step. Each is one write, but for [`Decision::Rotate`], which is a claim and what follows from it, and
/// [`Decision::Restart`], a write for each workload and one for the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The connection is being deleted: its Secrets go with it.
    Leave,
    /// Write the token Secret.
    Publish(Content),
    /// Take the token from the initial grant.
    Adopt(Box<Adoption>),
    /// Delete the token Secret of an earlier `secretName`.
    Retire(String),
    /// Remove the spent token from the initial grant.
    Tidy(Tidying),
    /// Send a refresh token, or a code.
    Rotate(Rotation),
    /// Write the grant without a code, or a claim on one, that nobody will exchange any more.
    Forget(Box<Grant>),
    /// Make the link anew by which a human can consent.
    Invite,
    /// Restart workloads that cannot read the new token otherwise.
    Restart(Restart),
    /// Nothing, until then or until something changes.
    Wait(Wait),
}

/// A token to be sent now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rotation {
    /// Which of them.
    pub which: Which,
    /// The row of failures begins anew: a halt was lifted.
    pub resumes: bool,
    /// The claim that is taken over was never used: no doubt follows from it.
    pub claim_unused: bool,
    /// The refresh request that this answers.
    pub request: Option<String>,
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// The wake-up; none: only a change brings one.
    pub until: Option<Timestamp>,
    /// What is waited for.
    pub reason: WaitReason,
}

/// What a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// The live token is good; this is when it is due.
    NextRefresh,
    /// A try failed; this is the next.
    Retry,
    /// Somebody may be sending the token right now.
    Claim,
    /// A human, a spec or a Secret.
    Change,
}

/// Whether a token is to be sent, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Now.
    Now(Rotation),
    /// Then.
    At(Timestamp, WaitReason),
    /// Not before something changes.
    Never,
}

/// What nobody tells us about is looked at again after this long: another connection that is gone, a right that is back.
const RECHECK: Duration = Duration::from_secs(60);
/// An attempt of an earlier term of this process ends without waking this one.
const UNDER_WAY_RECHECK: Duration = Duration::from_secs(2);
/// What a claim is given beyond its end.
const CLAIM_GRACE: Duration = Duration::from_secs(5);
/// The longest that a living token makes us wait for another pod's claim.
const MAX_CLAIM_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The next step.
pub fn decide(observed: &Observed, now: Timestamp, pace: Pace) -> Decision {
    if observed.wish.deleting {
        return Decision::Leave;
    }
    if must_be_left_alone(observed) {
        let until = [expiry_of_published(observed, now), aging::next(observed, now)].into_iter().flatten().min();
        return Decision::Wait(Wait { until, reason: WaitReason::Change });
    }
    let turn = turn(observed, now, pace);
    if let Some(grant) = link::forgotten(observed, is_abandoned(observed, now, pace), now) {
        return Decision::Forget(Box::new(grant));
    }
    let content = publication(observed, now, &turn);
    let repair = content.as_ref().and_then(|content| projection::repaired_again_at(observed, content, now));
    if let Some(content) = content.filter(|_| repair.is_none()) {
        return Decision::Publish(content);
    }
    if let Some(adoption) = adoption::due(observed) {
        return Decision::Adopt(Box::new(adoption));
    }
    if let Some(retired) = retirement(observed) {
        return Decision::Retire(retired);
    }
    if let Some(tidying) = adoption::tidying(observed, now) {
        return Decision::Tidy(tidying);
    }
    let put_off = observed.put_off != PutOff::default();
    let recheck = (put_off || waits_for_another(observed)).then(|| later(now, RECHECK));
    let flip = expiry_of_published(observed, now);
    let (next, reason) = match turn {
        // Also before a restart, which would be for a token that is about to die.
        Turn::Now(rotation) => return Decision::Rotate(rotation),
        Turn::At(time, reason) => (Some(time), reason),
        Turn::Never => (None, WaitReason::Change),
    };
    if let Some(restart) = restarts::due(observed, now) {
        return Decision::Restart(restart);
    }
    if link::is_due(observed, now) {
        return Decision::Invite;
    }
    let others = [restarts::next(observed, now), link::next(observed, now), aging::next(observed, now)];
    let repairs = [repair, adoption::next(observed, now)];
    let wake_ups = [next, recheck, flip].into_iter().chain(others).chain(repairs);
    Decision::Wait(Wait { until: wake_ups.flatten().min(), reason })
}

/// A Secret that is not ours, or not to be understood: nothing is touched or sent.
fn must_be_left_alone(observed: &Observed) -> bool {
    let grant = match observed.grant {
        GrantSecret::Foreign | GrantSecret::Unreadable(_) => true,
        GrantSecret::Absent | GrantSecret::Ours(_) | GrantSecret::Predecessor(_) => false,
    };
    grant || observed.token == TokenSecret::Foreign
}

/// A token that is news and was not adopted: another connection has it, or that could not be found out.
fn waits_for_another(observed: &Observed) -> bool {
    let news = |server| adoption::news(&observed.initial, &observed.grant, server, &observed.client);
    observed.wish.token_url().and_then(news).is_some()
}

/// The old token Secret goes when the new one stands.
fn retirement(observed: &Observed) -> Option<String> {
    let stands = observed.token.published().is_some() && !observed.put_off.retirement;
    observed.retired.clone().filter(|_| stands)
}

/// When what pods see has to be marked as expired.
fn expiry_of_published(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    observed.token.published().and_then(|published| published.usable(now)).map(|access| access.expires_at)
}

/// The token Secret as it should be written, if it is not so already.
fn publication(observed: &Observed, now: Timestamp, turn: &Turn) -> Option<Content> {
    let Some(published) = observed.token.published() else {
        return projection::desired(observed, now).filter(|_| observed.wish.server.is_ok());
    };
    let mut desired = projection::desired(observed, now)?;
    let about_to_send = match turn {
        Turn::Now(_) => true,
        Turn::At(..) | Turn::Never => false,
    };
    if let Some(content) =
        published.content.as_ref().filter(|content| about_to_send && content.access == desired.access)
    {
        // That it has expired is not worth a write while a new token is about to be fetched.
        desired.state = content.state;
    }
    (!projection::is_intact(published, &desired, &observed.wish)).then_some(desired)
}

/// Whether a token is to be sent, which one and when.
pub fn turn(observed: &Observed, now: Timestamp, pace: Pace) -> Turn {
    let wish = &observed.wish;
    let (Some(_), Some(grant)) = (wish.token_url(), observed.grant.ours()) else { return Turn::Never };
    let ClientSecretState::Present(client) = &observed.client else { return Turn::Never };
    if wish.suspend || wish.deleting || observed.token.published().is_none() {
        // Without a token Secret a missing right would show only after something was spent.
        return Turn::Never;
    }
    let over = match claim_gate(&grant.value, observed, now, pace) {
        Gate::Free => None,
        Gate::Until(time) => return Turn::At(time, WaitReason::Claim),
        Gate::TakeOver(claim) => Some(claim),
    };
    let request = wish.refresh_request.as_ref().filter(|request| grant.value.handled_request.as_ref() != Some(request));
    let look = Look { observed, grant: &grant.value, client, over, asked: request.is_some(), now };
    let choices = [look.code(), look.candidate(), look.live()].into_iter().flatten();
    let spaced = choices.map(|choice| Choice { at: choice.at.max(look.spaced()), ..choice });
    // The newest consent comes first: `min_by_key` keeps the first of equals, and whatever is due counts as due now.
    let Some(choice) = spaced.min_by_key(|choice| choice.at.max(now)) else { return Turn::Never };
    if choice.at > now {
        return Turn::At(choice.at, choice.reason);
    }
    Turn::Now(Rotation {
        which: choice.which,
        resumes: choice.resumes,
        claim_unused: observed.sighting.claimant == Some(Claimant::NeverSentHere),
        request: request.cloned(),
    })
}

enum Gate<'a> {
    Free,
    Until(Timestamp),
    TakeOver(&'a Claim),
}

/// A claim without commit or release: somebody may be sending that token right now, or has died doing so.
fn claim_gate<'a>(grant: &'a Grant, observed: &Observed, now: Timestamp, pace: Pace) -> Gate<'a> {
    let (Some(claim), sighting) = (&grant.claim, observed.sighting) else { return Gate::Free };
    let patience = match sighting.claimant {
        Some(Claimant::UnderWayHere) => return Gate::Until(later(now, UNDER_WAY_RECHECK)),
        Some(Claimant::NeverSentHere) => Duration::ZERO,
        Some(Claimant::DeadHere) => pace.settle_time(),
        Some(Claimant::Elsewhere) | None => {
            let expiry = grant.live.as_ref().map_or(claim.started_at, |live| live.record.expires_at());
            let whole = between(claim.started_at, claim.ends_at) + CLAIM_GRACE;
            whole.max(between(claim.started_at, expiry).min(MAX_CLAIM_PATIENCE))
        }
    };
    match patience.checked_sub(sighting.claim_seen_for) {
        None | Some(Duration::ZERO) => Gate::TakeOver(claim),
        Some(left) => Gate::Until(later(now, left)),
    }
}

/// Whether a claim stands that nobody will end.
fn is_abandoned(observed: &Observed, now: Timestamp, pace: Pace) -> bool {
    observed.grant.ours().is_some_and(|grant| match claim_gate(&grant.value, observed, now, pace) {
        Gate::TakeOver(_) => true,
        Gate::Free | Gate::Until(_) => false,
    })
}

struct Choice {
    which: Which,
    at: Timestamp,
    reason: WaitReason,
    resumes: bool,
}

struct Look<'a> {
    observed: &'a Observed,
    grant: &'a Grant,
    client: &'a ClientCredentials,
    over: Option<&'a Claim>,
    asked: bool,
    now: Timestamp,
}

impl Look<'_> {
    fn code(&self) -> Option<Choice> {
        let code = self.grant.code.as_ref()?;
        let is_ours = Ownership::of_code(code, self.observed) == Ownership::Ours;
        is_ours.then_some(Choice { which: Which::Code, at: self.now, reason: WaitReason::Retry, resumes: false })
    }

    fn candidate(&self) -> Option<Choice> {
        let candidate = self.grant.candidate.as_ref()?;
        if Ownership::of_candidate(candidate, self.observed) != Ownership::Ours {
            return None;
        }
        self.choice(Which::Candidate, &candidate.record.attempts, self.now)
    }

    fn live(&self) -> Option<Choice> {
        let live = self.grant.live.as_ref()?;
        if Ownership::of_live(live, self.observed) != Ownership::Ours {
            return None;
        }
        let record = &live.record;
        let wish = &self.observed.wish;
        let claimed = self.over.is_some_and(|claim| claim.fingerprint == record.fingerprint);
        let urgent = self.asked || claimed || record.attempts.in_doubt || lies_ahead(record.issued_at, self.now);
        let due = match urgent {
            true => self.now,
            false => {
                let due = refresh_due(record, wish.refresh_before, &wish.uid, self.grant.rotation);
                // A clock that was set back does not make the token any younger.
                let age = self.observed.sighting.live_seen_for;
                due.min(later(self.now, between(record.issued_at, due).saturating_sub(age)))
            }
        };
        self.choice(Which::Live, &record.attempts, due)
    }

    /// When this token may be sent, given what was tried with it.
    fn choice(&self, which: Which, attempts: &Attempts, due: Timestamp) -> Option<Choice> {
        let wish = &self.observed.wish;
        let halted = attempts.halt.as_ref();
        let changed = halted.is_none_or(|halt| {
            self.asked || halt.generation != wish.generation || halt.client != self.client.fingerprint(&wish.uid)
        });
        if !changed {
            return None;
        }
        let skip_backoff = self.asked || halted.is_some();
        let (at, reason) = match (&attempts.retry, halted) {
            (Some(retry), _) => {
                let sighting = &self.observed.sighting;
                let seen_for = match which {
                    Which::Candidate => sighting.candidate_failure_seen_for,
                    Which::Live | Which::Code => sighting.live_failure_seen_for,
                };
                (retry_at(retry, skip_backoff, self.now, seen_for), WaitReason::Retry)
            }
            (None, Some(_)) => (self.now, WaitReason::Retry),
            (None, None) => (due, WaitReason::NextRefresh),
        };
        Some(Choice { which, at, reason, resumes: halted.is_some() })
    }

    /// The earliest instant that keeps two exchanges apart.
    fn spaced(&self) -> Timestamp {
        let life = self.grant.live.as_ref().map(|live| live.record.life());
        // What a dead process claimed, it may have sent.
        let unused = self.observed.sighting.claimant == Some(Claimant::NeverSentHere);
        let claimed = self.over.filter(|_| !unused).map(|claim| claim.started_at);
        let starts =
            [self.grant.last_sent_at, claimed].into_iter().flatten().filter(|start| !lies_ahead(*start, self.now));
        starts.max().map_or(Timestamp::MIN, |last| later(last, schedule::spacing(life)))
    }
}
