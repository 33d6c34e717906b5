//! How the outcome of an exchange is stored.

use pleo_operator::domain::{
    commit::{
        attempt::Attempt,
        base::{Base, base},
        settlement::{AttemptResult, Settlement, settle},
    },
    ledger::grant::{Grant, Which},
    snapshot::{GrantSecret, Versioned},
};

use super::Fate;
use crate::{
    protocol::World,
    world::{
        books::{Known, Mark, known_by, pair_in},
        look::grant_secret,
        state::{Doing, Job, PATIENCE, State, since},
        tokens,
    },
};

impl World {
    /// Steps 3 and 4: one round of storing the outcome. After a conflict or a lost answer the next one reads anew.
    pub fn settle(&self, state: &mut State, pod: usize, fate: Fate) {
        let Doing::Ended { job, ending, over, since } = &state.pods[pod].doing else { return };
        let (job, ending, over, tick) = (job.clone(), ending.clone(), *over, *since);
        let stored_now = match over {
            Some(version) => Some(Versioned { value: job.attempt.claimed.clone(), version: version.to_string() }),
            None => reread(state, &job.attempt, &ending),
        };
        let Some(stored_now) = stored_now else { return self.lets_go(state, pod, &job, &ending) };
        match settle(&stored_now.value, &job.attempt, &ending) {
            Settlement::AlreadyStored => {
                if pair_in(&ending.outcome).is_some() {
                    state.keep_books(|books| books.mark(Mark::FoundStored));
                }
                self.has_stored(state, pod, &job, &ending, stored_now);
            }
            Settlement::Superseded => self.lets_go(state, pod, &job, &ending),
            Settlement::Write(grant) => {
                let replaces = stored_now.version.parse().ok();
                let made_anew = over.is_none() && stored_now.value == job.attempt.claimed && fate != Fate::Late;
                let written = self.write(state, *grant.clone(), replaces, fate);
                if written && fate == Fate::Answered {
                    if made_anew && state.books.is_meddled_with {
                        state.keep_books(|books| books.mark(Mark::MadeAnew));
                    }
                    let version = state.versions.grant.to_string();
                    return self.has_stored(state, pod, &job, &ending, Versioned { value: *grant, version });
                }
                state.goes_on(pod, Doing::Ended { job, ending, over: None, since: tick });
                if fate != Fate::Answered {
                    self.outage(state, pod);
                }
            }
        }
    }

    /// The outcome is stored, or what is stored is newer. The pass goes on with what is stored.
    pub(super) fn has_stored(
        &self,
        state: &mut State,
        pod: usize,
        job: &Job,
        ending: &AttemptResult,
        stored: Versioned<Grant>,
    ) {
        if let Some(pair) = pair_in(&ending.outcome) {
            if tokens::current(&stored.value) != Some(pair) {
                state.note_dropped(job, pair);
            } else if job.attempt.which == Which::Code {
                state.keep_books(|books| books.mark(Mark::ByLink));
            } else if since(job.begun, state.tick) > PATIENCE {
                state.keep_books(|books| books.mark(Mark::StoredLate));
            }
        }
        state.keep_books(|books| books.settle(job.name, known_by(&ending.outcome)));
        let before = job.scene.grant.ours().map(|grant| grant.value.rotation);
        if Some(stored.value.rotation) == before {
            return state.goes_on(pod, Doing::Idle);
        }
        let mut scene = job.scene.clone();
        scene.grant = GrantSecret::Ours(stored);
        scene.local = self.sight(state, pod, &scene.grant);
        self.goes_over(state, pod, scene);
    }

    /// There is nothing to store: a newer attempt has won.
    fn lets_go(&self, state: &mut State, pod: usize, job: &Job, ending: &AttemptResult) {
        if let Some(pair) = pair_in(&ending.outcome) {
            state.note_dropped(job, pair);
        }
        state.keep_books(|books| books.settle(job.name, known_by(&ending.outcome)));
        state.goes_on(pod, Doing::Idle);
    }

    /// A failure that could not be stored for so long is not worth more: the claim that stays leads to the same doubt.
    pub fn gives_up(&self, state: &mut State, pod: usize) {
        let Doing::Ended { job, .. } = &state.pods[pod].doing else { return };
        let name = job.name;
        state.keep_books(|books| books.settle(name, Known::May));
        state.goes_on(pod, Doing::Idle);
    }
}

/// What is stored now, after a conflict or a lost answer; nothing if there is nothing left to say. Connections always exist here.
fn reread(state: &State, attempt: &Attempt, ending: &AttemptResult) -> Option<Versioned<Grant>> {
    match base(grant_secret(state), attempt, &ending.outcome) {
        Base::Stored(grant) => Some(*grant),
        Base::Claimed { version } | Base::ClaimedIfConnected { version } => {
            Some(Versioned { value: attempt.claimed.clone(), version })
        }
        Base::Nothing => None,
        Base::ClaimedOverDamaged | Base::Blocked => unreachable!("no one damages a Secret here"),
    }
}
