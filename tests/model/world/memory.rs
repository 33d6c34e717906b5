//! What a process remembers between passes, as `operator::memory` does, with ticks instead of a monotonic clock.

use std::collections::BTreeSet;

use pleo_operator::domain::{
    ledger::{
        grant::{Claim, Grant, Holder},
        held::{AttemptId, Attempts},
    },
    snapshot::{ClaimOwner, LocalObservations},
    token::Fingerprint,
};

use crate::world::state::{PACE, since};

/// A mark, and the tick at which it was seen first.
type Seen<M = AttemptId> = Option<(M, u16)>;

/// What a process remembers. A crash loses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    claim: Seen,
    candidate_failure: Seen,
    current_failure: Seen,
    current: Seen,
    code: Seen<Fingerprint>,
    never_sent: BTreeSet<AttemptId>,
    last_outage: Option<u16>,
}

impl Memory {
    /// Nothing was sent for this attempt, and its claim may stand all the same.
    pub fn never_sent(&mut self, attempt: &AttemptId) {
        self.never_sent.insert(attempt.clone());
    }

    /// A call to the API server failed. Where no claim was seen it does not matter: one that comes is first seen later.
    pub fn outage(&mut self, tick: u16) {
        self.last_outage = self.claim.as_ref().map(|_| tick);
    }

    /// What was known of claims, failures and pairs that are gone is of no more use: a new one is first seen anew.
    pub fn forget_all_but(&mut self, grant: &Grant) {
        let claim = grant.claim.as_ref().map(|claim| &claim.attempt);
        let keep = |seen: &mut Seen, mark: Option<&AttemptId>| {
            if seen.as_ref().map(|(seen, _)| seen) != mark {
                *seen = None;
            }
        };
        keep(&mut self.claim, claim);
        let [candidate, current] = failures(grant);
        keep(&mut self.candidate_failure, candidate);
        keep(&mut self.current_failure, current);
        if self.code.as_ref().map(|(seen, _)| seen) != code(grant) {
            self.code = None;
        }
        keep(&mut self.current, grant.current.as_ref().map(|current| &current.issue.attempt));
        self.last_outage = self.last_outage.filter(|_| self.claim.is_some());
        self.never_sent.retain(|attempt| Some(attempt) == claim);
    }

    /// Where clocks are right, a failure that was seen for a settle time might as well have been seen for ever.
    pub fn blur(&mut self, tick: u16) {
        for (_, seen) in self.candidate_failure.iter_mut().chain(&mut self.current_failure) {
            if since(*seen, tick) >= PACE.settle_time() {
                *seen = 0;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is remembered of this grant. For how long a pair was seen counts only where clocks are wrong; elsewhere it is
    /// left out, so that states which differ in nothing else are one.
    pub fn sight(&mut self, grant: &Grant, me: &Holder, tick: u16, clocks_are_wrong: bool) -> LocalObservations {
        let claim_owner = grant.claim.as_ref().map(|claim| self.claim_owner(claim, me));
        let claimed = first_seen(&mut self.claim, grant.claim.as_ref().map(|claim| &claim.attempt), tick);
        let [candidate, current] = failures(grant);
        let candidate_failed = first_seen(&mut self.candidate_failure, candidate, tick);
        let current_failed = first_seen(&mut self.current_failure, current, tick);
        let pair = grant.current.as_ref().filter(|_| clocks_are_wrong).map(|current| &current.issue.attempt);
        let brought = first_seen(&mut self.code, code(grant), tick);
        let paired = first_seen(&mut self.current, pair, tick);
        if grant.claim.is_none() {
            self.last_outage = None;
        }
        let claimed = self.last_outage.map_or(claimed, |outage| claimed.max(outage));
        LocalObservations {
            held: None,
            claim_owner,
            claim_seen_for: since(claimed, tick),
            candidate_failure_seen_for: since(candidate_failed, tick),
            current_failure_seen_for: since(current_failed, tick),
            code_seen_for: since(brought, tick),
            current_seen_for: since(paired, tick),
            introspected: None,
        }
    }

    /// A pass never meets an attempt of its own process that is under way: here a process makes one pass at a time.
    fn claim_owner(&self, claim: &Claim, me: &Holder) -> ClaimOwner {
        if claim.holder.identity != me.identity {
            ClaimOwner::Elsewhere
        } else if self.never_sent.contains(&claim.attempt) {
            ClaimOwner::NeverSentHere
        } else {
            ClaimOwner::DeadHere
        }
    }
}

fn first_seen<M: Clone + PartialEq>(seen: &mut Seen<M>, mark: Option<&M>, tick: u16) -> u16 {
    match (&seen, mark) {
        (Some((known, since)), Some(mark)) if known == mark => *since,
        (_, mark) => {
            *seen = mark.map(|mark| (mark.clone(), tick));
            tick
        }
    }
}

/// The code that a browser brought.
fn code(grant: &Grant) -> Option<&Fingerprint> {
    grant.by_link.code.as_ref().map(|code| &code.record.fingerprint)
}

/// The last failure of the candidate, and that of the current token.
fn failures(grant: &Grant) -> [Option<&AttemptId>; 2] {
    let candidate = grant.candidate.as_ref().and_then(|held| last_failure(&held.attempts));
    [candidate, grant.current.as_ref().and_then(|held| last_failure(&held.refresh.attempts))]
}

fn last_failure(attempts: &Attempts) -> Option<&AttemptId> {
    attempts.retry().map(|retry| &retry.attempt)
}
