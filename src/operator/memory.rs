//! What this process remembers between reconciliations: since when it has seen a claim, a failure, a pair or a code, which attempts
//! are in flight here, which of them were never sent, which code was, and what it has reported. Losing it costs only a longer
//! wait, and an event that is repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    api::PleoConnectionStatus,
    domain::{
        introspection::Introspected,
        ledger::{
            grant::{Claim, Grant, Holder},
            held::AttemptId,
        },
        report::signal::Edit,
        snapshot::{
            ClaimOwner, LocalObservations, Versioned,
            repair::{Repaired, Repairs},
        },
        token::Fingerprint,
    },
};

/// How many edits of one connection's Secrets are remembered.
const MOST_EDITS: usize = 32;
/// How long further edits of a Secret by the same program are not reported.
const BETWEEN_EDITS: Duration = Duration::from_secs(10 * 60);

/// What this process remembers.
#[derive(Default)]
pub struct Memory {
    state: Mutex<State>,
    attempts: AtomicU64,
    /// Held from looking for another adopter to the adoption: two connections of one process cannot adopt one token.
    pub adoption: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// By the connection's uid.
    seen: BTreeMap<String, Seen>,
    under_way: BTreeSet<AttemptId>,
}

#[derive(Default)]
struct Seen {
    claim: Option<(AttemptId, Instant)>,
    /// Attempts for which nothing was sent, and the version of the grant that each claim was to replace: it may be stored late,
    /// as long as that version stands.
    never_sent: BTreeMap<AttemptId, String>,
    candidate_failure: Option<(AttemptId, Instant)>,
    current_failure: Option<(AttemptId, Instant)>,
    current: Option<(AttemptId, Instant)>,
    code: Option<(Fingerprint, Instant)>,
    /// The token that was asked about last, and the answer.
    introspected: Option<(Fingerprint, Introspected, Instant)>,
    /// The newest edit of each of our Secrets by each other program that was seen.
    edits: BTreeMap<(String, String), SeenEdit>,
    /// What was repaired last: the token removed from the initial grant, and what was written into the token Secret.
    removal: Option<Done>,
    publication: Option<Done>,
    /// A removed token whose return was reported.
    returned: Option<Fingerprint>,
    /// What was reported last, where the answer to a write of the status was lost since.
    reported: Option<Box<PleoConnectionStatus>>,
    /// A shared grant that was reported.
    shared: Option<Fingerprint>,
    sent_code: Option<Fingerprint>,
    errors: u32,
    refusals: u32,
}

/// An edit, and when edits of this program were reported last.
struct SeenEdit {
    edit: Edit,
    is_reported: bool,
    last_reported_at: Option<Instant>,
}

/// Something that was done, how often it was done again, and when last.
struct Done {
    what: Fingerprint,
    times: u32,
    last: Instant,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn next_attempt(&self, me: &Holder) -> AttemptId {
        AttemptId(format!("{}-{}", me.process, self.attempts.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// An attempt begins; it is under way until the guard is dropped.
    pub fn begin(&self, attempt: &AttemptId) -> UnderWay<'_> {
        self.state().under_way.insert(attempt.clone());
        UnderWay { memory: self, attempt: attempt.clone() }
    }

    /// Nothing was sent for this attempt, and its claim, which was to replace that version, may be stored all the same.
    pub fn never_sent(&self, uid: &str, attempt: &AttemptId, replaces: &str) {
        let mut state = self.state();
        let seen = state.seen.entry(uid.to_owned()).or_default();
        seen.never_sent.insert(attempt.clone(), replaces.to_owned());
    }

    /// What is remembered of the claim and the failure in this grant. A holder that could not reach the API server
    /// either may still commit, so `last_outage` begins the wait for its claim again.
    pub fn local_observations(
        &self,
        grant: &Versioned<Grant>,
        me: &Holder,
        last_outage: Option<Instant>,
    ) -> LocalObservations {
        let (now, Versioned { value: grant, version }) = (Instant::now(), grant);
        let mut state = self.state();
        let State { seen, under_way } = &mut *state;
        let seen = seen.entry(grant.connection.clone()).or_default();
        let claimed = grant.claim.as_ref().map(|claim| &claim.attempt);
        seen.never_sent.retain(|attempt, replaces| replaces == version || Some(attempt) == claimed);
        let claim_owner = grant.claim.as_ref().map(|claim| claim_owner(under_way, &seen.never_sent, claim, me));
        let claim_since = since(&mut seen.claim, grant.claim.as_ref().map(|claim| &claim.attempt), now);
        let candidate = grant.candidate.as_ref().and_then(|held| held.attempts.retry());
        let current = grant.current.as_ref().and_then(|pair| pair.refresh.attempts.retry());
        let candidate_failed = since(&mut seen.candidate_failure, candidate.map(|retry| &retry.attempt), now);
        let current_failed = since(&mut seen.current_failure, current.map(|retry| &retry.attempt), now);
        let current_since = since(&mut seen.current, grant.current.as_ref().map(|current| &current.issue.attempt), now);
        let code_since = since(&mut seen.code, grant.by_link.code.as_ref().map(|code| &code.record.fingerprint), now);
        let is_spent = seen.sent_code.is_some()
            && seen.sent_code.as_ref() == grant.by_link.code.as_ref().map(|code| &code.record.fingerprint);
        let claim_since = last_outage.map_or(claim_since, |outage| claim_since.max(outage));
        LocalObservations {
            claim_owner,
            claim_seen_for: now.saturating_duration_since(claim_since),
            candidate_failure_seen_for: now.saturating_duration_since(candidate_failed),
            current_failure_seen_for: now.saturating_duration_since(current_failed),
            code_seen_for: if is_spent { Duration::MAX } else { now.saturating_duration_since(code_since) },
            current_seen_for: now.saturating_duration_since(current_since),
            introspected: seen.introspected.as_ref().and_then(|(token, answer, at)| {
                let is_current = grant.current.as_ref().is_some_and(|pair| pair.refresh.fingerprint == *token);
                is_current.then(|| (*answer, now.saturating_duration_since(*at)))
            }),
            held: None,
        }
    }

    /// The answer to a write of the status was lost: it may be there when we look again, and it was not reported.
    pub fn report_later(&self, uid: &str, reported: PleoConnectionStatus) {
        self.state().seen.entry(uid.to_owned()).or_default().reported = Some(Box::new(reported));
    }

    /// The status that was reported last, where that is not the one before.
    pub fn last_reported(&self, uid: &str) -> Option<PleoConnectionStatus> {
        self.state().seen.get(uid).and_then(|seen| seen.reported.as_deref().cloned())
    }

    /// What was to be reported later was reported.
    pub fn reported_now(&self, uid: &str) {
        if let Some(seen) = self.state().seen.get_mut(uid) {
            seen.reported = None;
        }
    }

    /// Another program wrote into a Secret of ours. It is reported later, because our next write removes the trace; a program
    /// that keeps writing is reported every ten minutes.
    pub fn saw_edit(&self, uid: &str, edit: Edit) {
        let mut state = self.state();
        let edits = &mut state.seen.entry(uid.to_owned()).or_default().edits;
        if edits.len() >= MOST_EDITS {
            edits.retain(|_, seen| !seen.is_reported);
        }
        let (key, has_room) = ((edit.secret.clone(), edit.by.clone()), edits.len() < MOST_EDITS);
        match edits.get_mut(&key) {
            Some(known) => {
                let was_lately = known.last_reported_at.is_some_and(|reported| reported.elapsed() < BETWEEN_EDITS);
                if known.edit != edit && !was_lately {
                    (known.edit, known.is_reported) = (edit, false);
                }
            }
            None if has_room => {
                edits.insert(key, SeenEdit { edit, is_reported: false, last_reported_at: None });
            }
            None => {}
        }
    }

    /// The edits that were not reported yet; from now on they are.
    pub fn edits_to_report(&self, uid: &str) -> Vec<Edit> {
        let mut state = self.state();
        let Some(seen) = state.seen.get_mut(uid) else { return Vec::new() };
        let news = seen.edits.values_mut().filter(|seen| !seen.is_reported);
        news.map(|seen| {
            (seen.is_reported, seen.last_reported_at) = (true, Some(Instant::now()));
            seen.edit.clone()
        })
        .collect()
    }

    /// An adopted token was removed from the initial grant.
    pub fn note_removal(&self, uid: &str, token: &Fingerprint) {
        done(&mut self.state().seen.entry(uid.to_owned()).or_default().removal, token, 1);
    }

    /// The token Secret was written.
    pub fn note_publication(&self, uid: &str, what: &Fingerprint) {
        done(&mut self.state().seen.entry(uid.to_owned()).or_default().publication, what, 0);
    }

    /// What this process repaired before.
    pub fn repairs(&self, uid: &str) -> Repairs {
        let state = self.state();
        let repaired = |done: &Option<Done>| {
            let Done { what, times, last } = done.as_ref()?;
            Some(Repaired { what: what.clone(), times: *times, ago: last.elapsed() })
        };
        let seen = state.seen.get(uid);
        seen.map(|seen| Repairs { removal: repaired(&seen.removal), publication: repaired(&seen.publication) })
            .unwrap_or_default()
    }

    /// Whether the return of this token is still to be reported; marks it as reported.
    pub fn is_first_return(&self, uid: &str, token: &Fingerprint) -> bool {
        let mut state = self.state();
        state.seen.entry(uid.to_owned()).or_default().returned.replace(token.clone()).as_ref() != Some(token)
    }

    /// Whether that this grant is shared was not reported yet; from now on it is.
    pub fn is_newly_shared(&self, uid: &str, grant: &Fingerprint) -> bool {
        let mut state = self.state();
        state.seen.entry(uid.to_owned()).or_default().shared.replace(grant.clone()).as_ref() != Some(grant)
    }

    /// A code leaves. It never does so again, whatever is put back.
    pub fn sends_code(&self, uid: &str, code: &Fingerprint) {
        self.state().seen.entry(uid.to_owned()).or_default().sent_code = Some(code.clone());
    }

    /// What the introspection endpoint said about a token.
    pub fn introspected(&self, uid: &str, token: &Fingerprint, answer: Introspected) {
        let mut state = self.state();
        state.seen.entry(uid.to_owned()).or_default().introspected = Some((token.clone(), answer, Instant::now()));
    }

    /// Forgets a connection that is gone.
    pub fn forget(&self, uid: &str) {
        self.state().seen.remove(uid);
    }

    pub fn reset_backoff(&self, uid: &str) {
        if let Some(seen) = self.state().seen.get_mut(uid) {
            (seen.errors, seen.refusals) = (0, 0);
        }
    }

    /// The API server refused a write; how long to wait before the next try: doubled from 15 s to a minute. No event comes
    /// when a right is given back.
    pub fn was_refused(&self, uid: &str) -> Duration {
        let mut state = self.state();
        let seen = state.seen.entry(uid.to_owned()).or_default();
        seen.refusals = seen.refusals.saturating_add(1);
        Duration::from_secs(15) * (1 << (seen.refusals - 1).min(2))
    }

    /// A pass was broken off; how long to wait before the next: doubled from half a second to half a minute.
    pub fn backoff_after_error(&self, uid: &str) -> Duration {
        let mut state = self.state();
        let seen = state.seen.entry(uid.to_owned()).or_default();
        seen.errors = seen.errors.saturating_add(1);
        Duration::from_millis(250) * (1 << seen.errors.min(7))
    }
}

/// Counts what is done again; what is done for the first time counts as `first` repairs.
fn done(before: &mut Option<Done>, what: &Fingerprint, first: u32) {
    let times = before.as_ref().filter(|done| done.what == *what).map_or(first, |done| done.times.saturating_add(1));
    *before = Some(Done { what: what.clone(), times, last: Instant::now() });
}

/// Since when this mark has been seen; now, if it is new.
fn since<M: Clone + PartialEq>(seen: &mut Option<(M, Instant)>, mark: Option<&M>, now: Instant) -> Instant {
    match (&seen, mark) {
        (Some((known, since)), Some(mark)) if known == mark => *since,
        (_, mark) => {
            *seen = mark.map(|mark| (mark.clone(), now));
            now
        }
    }
}

fn claim_owner(
    under_way: &BTreeSet<AttemptId>,
    never_sent: &BTreeMap<AttemptId, String>,
    claim: &Claim,
    me: &Holder,
) -> ClaimOwner {
    if claim.holder.identity != me.identity {
        ClaimOwner::Elsewhere
    } else if under_way.contains(&claim.attempt) {
        ClaimOwner::UnderWayHere
    } else if never_sent.contains_key(&claim.attempt) {
        ClaimOwner::NeverSentHere
    } else {
        ClaimOwner::DeadHere
    }
}

/// An attempt is under way.
pub struct UnderWay<'a> {
    memory: &'a Memory,
    attempt: AttemptId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.memory.state().under_way.remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const UID: &str = "0c5f7d9e-acme";

    fn me() -> Holder {
        Holder { identity: "pod-a".into(), process: "process-1".into() }
    }

    fn grant(version: &str, claimed_by: Option<&AttemptId>) -> Versioned<Grant> {
        let claim = claimed_by.map(|attempt| Claim {
            attempt: attempt.clone(),
            holder: me(),
            started_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::UNIX_EPOCH,
            fingerprint: Fingerprint::of(&["token"]),
            client_id: None,
        });
        Versioned { value: Grant { claim, ..Grant::new(UID, 1) }, version: version.into() }
    }

    /// A claim whose write was never answered may be stored as long as the version that it replaces stands, and no longer.
    #[tokio::test]
    async fn attempts_that_were_never_sent_are_remembered_as_long_as_they_may_come_back() {
        let memory = Memory::default();
        let attempts = [memory.next_attempt(&me()), memory.next_attempt(&me()), memory.next_attempt(&me())];
        attempts.iter().for_each(|attempt| memory.never_sent(UID, attempt, "5"));
        let remembered = || memory.state().seen[UID].never_sent.len();
        memory.local_observations(&grant("5", None), &me(), None);
        assert_eq!(remembered(), 3);

        let late = memory.local_observations(&grant("6", Some(&attempts[1])), &me(), None);
        assert_eq!((late.claim_owner, remembered()), (Some(ClaimOwner::NeverSentHere), 1));
        memory.local_observations(&grant("7", None), &me(), None);
        assert_eq!(remembered(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_edits_again_and_again_is_told_of_every_ten_minutes() {
        let memory = Memory::default();
        let edit =
            |second| Edit { secret: "acme-token".into(), by: "a-tool".into(), at: Timestamp::from_second(second).ok() };
        let mut reported = 0;
        for second in 0..1300 {
            memory.saw_edit(UID, edit(second));
            reported += memory.edits_to_report(UID).len();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(reported, 3, "at once, after ten minutes, and after twenty");
        memory.saw_edit(UID, Edit { by: "another-tool".into(), ..edit(0) });
        assert_eq!(memory.edits_to_report(UID).len(), 1);
    }
}
