//! Whether a token is to be sent, which one, and when: the code of a new authorization, the candidate, or the current token; each not
//! before its retry, nor while another process may be sending one.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    introspection,
    ownership::Ownership,
    rejection_report,
    schedule::{self, Pace, lies_ahead, refresh_due, retry_at},
};
use crate::domain::{
    introspection::Introspected,
    ledger::{
        grant::{Claim, Grant, Which},
        held::{Attempts, Pair},
    },
    snapshot::{ClaimOwner, ClientSecretState, Snapshot},
    time::{between, later},
    token::ClientCredentials,
};

/// A token to be sent now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rotation {
    pub which: Which,
    /// Consecutive failures are counted from zero: a halt was lifted.
    pub resumes: bool,
    /// A halted token is sent, though nothing has changed.
    pub is_probe: bool,
    /// The claim that is taken over was never used: so its outcome is known.
    pub claim_unused: bool,
    /// The refresh request that this answers.
    pub request: Option<String>,
}

/// What a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// The current token is good; this is when it is due.
    NextRefresh,
    /// A try failed; this is the next.
    Retry,
    /// Another process may be sending the token right now.
    Claim,
    /// The server gets no more requests at present: there is a turn for it.
    Server,
    /// A user, the spec or a Secret.
    Change,
}

/// Whether a token is to be sent, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextRefresh {
    /// Now.
    Now(Rotation),
    /// Then.
    At(Timestamp, WaitReason),
    /// Now, once the server gets another request.
    Held,
    /// Not before something changes.
    Never,
}

/// An attempt of an earlier term of this process ends without waking this one.
const UNDER_WAY_RECHECK: Duration = Duration::from_secs(2);
/// What a claim is given beyond its end.
const CLAIM_GRACE: Duration = Duration::from_secs(5);
/// The longest that a usable token makes us wait for another pod's claim.
const MAX_CLAIM_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Whether a token is to be sent, which one and when.
pub fn next_refresh(snapshot: &Snapshot, now: Timestamp, pace: Pace) -> NextRefresh {
    let spec = &snapshot.spec;
    let (Some(_), Some(grant)) = (spec.token_url(), snapshot.grant.ours()) else { return NextRefresh::Never };
    let ClientSecretState::Present(client) = &snapshot.client else { return NextRefresh::Never };
    if spec.suspend || spec.deleting || snapshot.token.published().is_none() {
        // Without a token Secret a missing right would show only after a token was used.
        return NextRefresh::Never;
    }
    let over = match check_claim(&grant.value, snapshot, now, pace) {
        ClaimCheck::Free => None,
        ClaimCheck::Until(time) => return NextRefresh::At(time, WaitReason::Claim),
        ClaimCheck::TakeOver(claim) => Some(claim),
    };
    let request = spec.refresh_request.as_ref().filter(|request| grant.value.handled_request.as_ref() != Some(request));
    let look = Look { snapshot, grant: &grant.value, client, over, asked: request.is_some(), now, pace };
    let choices = [look.code(), look.candidate(), look.current()].into_iter().flatten();
    let spaced = choices.map(|choice| Choice { at: choice.at.max(look.spaced()), ..choice });
    // A probe gives way. Else the newest authorization comes first: `min_by_key` keeps the first of equals, and whatever is due counts
    // as due now.
    let Some(choice) = spaced.min_by_key(|choice| (choice.at.max(now), choice.is_probe)) else {
        return NextRefresh::Never;
    };
    if choice.at > now {
        return NextRefresh::At(choice.at, choice.reason);
    }
    if snapshot.local.held.is_some() {
        return NextRefresh::Held;
    }
    NextRefresh::Now(Rotation {
        which: choice.which,
        resumes: choice.resumes,
        is_probe: choice.is_probe,
        claim_unused: snapshot.local.claim_owner == Some(ClaimOwner::NeverSentHere),
        request: request.cloned(),
    })
}

enum ClaimCheck<'a> {
    Free,
    Until(Timestamp),
    TakeOver(&'a Claim),
}

/// A claim without commit or release: another process may be sending that token right now, or has ended doing so.
fn check_claim<'a>(grant: &'a Grant, snapshot: &Snapshot, now: Timestamp, pace: Pace) -> ClaimCheck<'a> {
    let (Some(claim), local) = (&grant.claim, snapshot.local) else { return ClaimCheck::Free };
    let patience = match local.claim_owner {
        Some(ClaimOwner::UnderWayHere) => return ClaimCheck::Until(later(now, UNDER_WAY_RECHECK)),
        Some(ClaimOwner::NeverSentHere) => Duration::ZERO,
        Some(ClaimOwner::DeadHere) => pace.settle_time(),
        Some(ClaimOwner::Elsewhere) | None => {
            let expiry = grant.current.as_ref().map_or(claim.started_at, |current| current.issue.expires_at());
            let whole = between(claim.started_at, claim.ends_at) + CLAIM_GRACE;
            whole.max(between(claim.started_at, expiry).min(MAX_CLAIM_PATIENCE))
        }
    };
    match patience.checked_sub(local.claim_seen_for) {
        None | Some(Duration::ZERO) => ClaimCheck::TakeOver(claim),
        Some(left) => ClaimCheck::Until(later(now, left)),
    }
}

/// Whether there is a claim that no process will end.
pub(super) fn is_abandoned(snapshot: &Snapshot, now: Timestamp, pace: Pace) -> bool {
    snapshot.grant.ours().is_some_and(|grant| match check_claim(&grant.value, snapshot, now, pace) {
        ClaimCheck::TakeOver(_) => true,
        ClaimCheck::Free | ClaimCheck::Until(_) => false,
    })
}

struct Choice {
    which: Which,
    at: Timestamp,
    reason: WaitReason,
    resumes: bool,
    is_probe: bool,
}

struct Look<'a> {
    snapshot: &'a Snapshot,
    grant: &'a Grant,
    client: &'a ClientCredentials,
    over: Option<&'a Claim>,
    asked: bool,
    now: Timestamp,
    pace: Pace,
}

impl Look<'_> {
    fn code(&self) -> Option<Choice> {
        let code = self.grant.by_link.code.as_ref()?;
        let is_ours = Ownership::of_code(code, self.snapshot) == Ownership::Ours;
        is_ours.then_some(Choice {
            which: Which::Code,
            at: self.now,
            reason: WaitReason::Retry,
            resumes: false,
            is_probe: false,
        })
    }

    fn candidate(&self) -> Option<Choice> {
        let candidate = self.grant.candidate.as_ref()?;
        if Ownership::of_candidate(candidate, self.snapshot) != Ownership::Ours {
            return None;
        }
        self.choice(Which::Candidate, &candidate.attempts, self.now)
    }

    fn current(&self) -> Option<Choice> {
        let current = self.grant.current.as_ref()?;
        if Ownership::of_current(current, self.snapshot) != Ownership::Ours {
            return None;
        }
        let Pair { refresh, issue, .. } = current;
        let spec = &self.snapshot.spec;
        let urgent = self.asked || self.is_in_doubt(current) || lies_ahead(issue.issued_at, self.now);
        let due = match urgent {
            true => self.now,
            false => {
                let planned = refresh_due(issue, spec.refresh_before, &spec.uid, self.grant.rotation);
                let due = rejection_report::due(self.grant).map_or(planned, |reported| reported.min(planned));
                // A clock that was set back does not make the token any younger.
                let age = self.snapshot.local.current_seen_for;
                due.min(later(self.now, between(issue.issued_at, due).saturating_sub(age)))
            }
        };
        let choice = self.choice(Which::Current, &refresh.attempts, due)?;
        let until = self.waits_for_answer(current);
        Some(Choice { at: choice.at.max(until.unwrap_or(Timestamp::MIN)), ..choice })
    }

    /// A token in doubt is not sent yet: the server calls it active, or is to be asked again.
    fn waits_for_answer(&self, current: &Pair) -> Option<Timestamp> {
        let (answer, ago) = self.snapshot.local.introspected?;
        // A refresh request is not held up by a token that is active.
        let waits = self.is_in_doubt(current) && !(self.asked && answer == Introspected::Active);
        let until = introspection::wait_until(current, &self.snapshot.local, (answer, ago), self.now, self.pace);
        until.filter(|_| waits)
    }

    fn is_in_doubt(&self, current: &Pair) -> bool {
        let is_claimed = self.over.is_some_and(|claim| claim.fingerprint == current.refresh.fingerprint);
        is_claimed || current.refresh.attempts.outcome_unknown
    }

    /// When this token may be sent, given what was tried with it.
    fn choice(&self, which: Which, attempts: &Attempts, due: Timestamp) -> Option<Choice> {
        let spec = &self.snapshot.spec;
        let halted = attempts.halt();
        let changed = halted.is_none_or(|halt| {
            self.asked || halt.generation != spec.generation || halt.client != self.client.fingerprint(&spec.uid)
        });
        if !changed {
            let probe = halted.filter(|halt| halt.reason.is_probed()).and_then(|halt| halt.retry.as_ref())?;
            let at = retry_at(probe, false, self.now, self.failure_seen_for(which));
            return Some(Choice { which, at, reason: WaitReason::Retry, resumes: false, is_probe: true });
        }
        let skip_backoff = self.asked || halted.is_some();
        let (at, reason) = match (attempts.retry(), halted) {
            (Some(retry), _) => {
                (retry_at(retry, skip_backoff, self.now, self.failure_seen_for(which)), WaitReason::Retry)
            }
            (None, Some(_)) => (self.now, WaitReason::Retry),
            (None, None) => (due, WaitReason::NextRefresh),
        };
        Some(Choice { which, at, reason, resumes: halted.is_some(), is_probe: false })
    }

    fn failure_seen_for(&self, which: Which) -> Duration {
        match which {
            Which::Candidate => self.snapshot.local.candidate_failure_seen_for,
            Which::Current | Which::Code => self.snapshot.local.current_failure_seen_for,
        }
    }

    /// The earliest instant that keeps two exchanges apart.
    fn spaced(&self) -> Timestamp {
        let life = self.grant.current.as_ref().map(|current| current.issue.lifetime());
        // What an ended process claimed, it may have sent.
        let unused = self.snapshot.local.claim_owner == Some(ClaimOwner::NeverSentHere);
        let claimed = self.over.filter(|_| !unused).map(|claim| claim.started_at);
        let starts =
            [self.grant.last_sent_at, claimed].into_iter().flatten().filter(|start| !lies_ahead(*start, self.now));
        starts.max().map_or(Timestamp::MIN, |last| later(last, schedule::spacing(life)))
    }
}
