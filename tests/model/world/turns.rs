//! Whose turn it is: what each process may do now, when time may pass, and what it costs.

use pleo_operator::domain::{
    ledger::grant::Grant,
    plan::decide::{Decision, Wait, decide},
};

use crate::{
    protocol::{Action, World},
    world::{
        books::{Known, Presented, known_by},
        exchange::Fate,
        state::{Doing, Look, PACE, Request, State, at, since, tick_of},
        tokens::{self, Side, Token},
    },
};

/// Nothing that a token waits for is so far away: whoever sleeps for longer waits for a human, or to warn one.
const FAR: u16 = 4 * 60;

/// What both processes would do if they looked.
enum Rest {
    /// Somebody has something to do now.
    Due,
    /// All wait until then.
    Until(u16),
    /// All wait for a human.
    Forever,
}

impl World {
    /// What a process may do now.
    pub fn steps_of(&self, state: &State, pod: usize, actions: &mut Vec<Action>) {
        let process = &state.pods[pod];
        if process.is_frozen {
            return actions.extend(
                [Action::Thaw(pod), Action::Crash(pod)].into_iter().take(1 + usize::from(state.left.crashes > 0)),
            );
        }
        let loses = state.left.lost_writes > 0;
        let mut may = |fates: &[Fate], action: fn(usize, Fate) -> Action| {
            actions
                .extend(fates.iter().filter(|fate| loses || **fate == Fate::Answered).map(|fate| action(pod, *fate)));
        };
        match &process.doing {
            Doing::Idle if state.api_is_down => {}
            Doing::Idle | Doing::Looking(_) => actions.push(Action::Look(pod)),
            Doing::Looked(_) => actions.push(Action::Decide(pod)),
            Doing::Decided(decided) => match &decided.1 {
                Decision::Rotate(_) if self.scenario.fine => may(&[Fate::Answered], Action::Act),
                Decision::Rotate(_) => may(&[Fate::Answered, Fate::AnswerLost, Fate::Silence, Fate::Late], Action::Act),
                Decision::Adopt(_) => may(&[Fate::Answered, Fate::AnswerLost, Fate::Late], Action::Act),
                _ => may(&[Fate::Answered, Fate::AnswerLost], Action::Act),
            },
            Doing::Claiming(_) => may(&[Fate::Answered, Fate::AnswerLost, Fate::Silence, Fate::Late], Action::Claim),
            Doing::Claimed(_) => {
                actions.push(Action::Send(pod));
                actions.extend((state.left.unsent > 0).then_some(Action::CannotSend(pod)));
            }
            Doing::Sent(job, sent) => {
                let hangs_up = self.scenario.mistakes.hangs_up_early && state.tick > job.begun;
                let is_over = since(*sent, state.tick) >= PACE.request_timeout;
                actions.extend((is_over || hangs_up).then_some(Action::TimeOut(pod)));
            }
            Doing::Ended { ending, since: ended, .. } => {
                if !state.api_is_down {
                    may(&[Fate::Answered, Fate::AnswerLost, Fate::Late], Action::Settle);
                }
                // A pair and a refusal are worth every patience: nobody else knows of them.
                let is_final = known_by(&ending.outcome) == Known::Dead;
                let is_worth_more = is_final || since(*ended, state.tick) <= PACE.claim_length();
                actions.extend((!is_worth_more).then_some(Action::GiveUp(pod)));
            }
        }
        if let Doing::Decided(decided) = &process.doing
            && let Decision::Rotate(rotation) = &decided.1
            && self.is_called_inactive(state, &decided.0, rotation)
        {
            actions.push(Action::CalledInactive(pod));
        }
        let may_freeze = process.doing.job().is_some() || self.scenario.looks_grow_old && process.doing != Doing::Idle;
        if state.left.freezes > 0 && may_freeze {
            actions.push(Action::Freeze(pod));
        }
        if state.left.crashes > 0 && (process.doing != Doing::Idle || !process.memory.is_empty()) {
            actions.push(Action::Crash(pod));
        }
        if self.scenario.mistakes.decides_on_cached_spec && process.cached.is_some_and(|cached| cached != state.spec) {
            actions.push(Action::Refresh(pod));
        }
    }

    /// Time passes if all who are not frozen have done what they had to.
    pub fn passing_of_time(&self, state: &State) -> Option<Action> {
        if state.tick >= self.scenario.horizon {
            return None;
        }
        let is_slow = state.requests.iter().any(|request| request.answer.is_none());
        if is_slow && state.left.slow == 0 || (0..2).any(|pod| is_busy(state, pod)) {
            return None;
        }
        match self.rest(state) {
            Some(Rest::Forever) if self.has_something_to_do(state) => Some(Action::NobodyWakes),
            Some(Rest::Forever) => None,
            Some(Rest::Due) if state.left.idle == 0 => None,
            Some(Rest::Due | Rest::Until(_)) | None => Some(Action::Tick),
        }
    }

    /// What both would do, where both are between two passes and can look.
    fn rest(&self, state: &State) -> Option<Rest> {
        let is_idle = |pod: usize| state.pods[pod].doing == Doing::Idle;
        if state.api_is_down || !is_idle(0) || !is_idle(1) {
            return None;
        }
        let mut wake_up = None;
        for pod in 0..2 {
            match self.glance(state, pod) {
                Decision::Wait(Wait { until: Some(until), .. }) => {
                    let tick = tick_of(until, self.scenario.skew[pod]).max(state.tick + 1);
                    if tick > state.tick + FAR {
                        continue;
                    }
                    wake_up = Some(wake_up.map_or(tick, |other: u16| other.min(tick)));
                }
                Decision::Wait(_) => {}
                _ => return Some(Rest::Due),
            }
        }
        Some(wake_up.map_or(Rest::Forever, Rest::Until))
    }

    /// Whether a process would do something if it looked now.
    pub fn is_due(&self, state: &State, pod: usize) -> bool {
        !matches!(self.glance(state, pod), Decision::Wait(_))
    }

    /// What a process would decide if it looked now.
    fn glance(&self, state: &State, pod: usize) -> Decision {
        let (mut copy, mut look) = (state.clone(), Look::default());
        loop {
            if let Some(snapshot) = self.read(&mut copy, pod, &mut look) {
                return decide(&snapshot, at(state.tick, self.scenario.skew[pod]), PACE);
            }
        }
    }

    /// A token that is good, where the spec points, and no human keeps it from being used (I7). Of three things a human is
    /// asked again: a consent that stood there while the spec pointed elsewhere, for a wrong server may have got to see it;
    /// one that a grant knows which is taken for a backup; and one that had given way to another and was put back.
    fn has_something_to_do(&self, state: &State) -> bool {
        let is_good = |token: &Token| {
            let family = &state.families[usize::from(token.family)];
            let is_at_home = family.home == state.spec.server && !family.named[family.home.other() as usize];
            let is_ours = family.client == state.client && !self.may_be_another_clients(state, *token);
            family.alive && family.current == token.number && is_ours && (is_at_home || token.number > 0)
        };
        let grant: Option<&Grant> = state.grant.as_ref().map(|grant| &*grant.value);
        let is_backup = |grant: &&Grant| state.told().outdates(grant);
        let is_known = |token: &Token| {
            grant.filter(is_backup).is_some_and(|backup| backup.has_seen(&token.refresh().fingerprint()))
        };
        let is_put_back = |token: &Token| {
            let (fingerprint, server) = (token.refresh().fingerprint(), state.spec.server.url());
            let adopted = grant.into_iter().flat_map(|grant| &grant.history);
            let has_been_here = adopted.filter(|old| old.server == server).any(|old| old.fingerprint == fingerprint);
            has_been_here && state.left.put_backs < self.scenario.budget.put_backs
        };
        let consent = state.initial.token.filter(|consent| !is_known(consent) && !is_put_back(consent));
        let grant = grant.filter(|grant| !is_backup(grant));
        let current = grant
            .and_then(|grant| grant.current.as_ref())
            .filter(|current| Side::of(&current.refresh.server) == state.spec.server);
        let current = current.map(|current| Token::read(current.refresh.token.expose()));
        let held = [current, grant.and_then(tokens::candidate), grant.and_then(tokens::code), consent];
        !state.spec.suspended && held.into_iter().flatten().any(|token| is_good(&token))
    }

    /// A consent that was presented by another client, and nobody knows what came of it: it counts as that client's.
    fn may_be_another_clients(&self, state: &State, token: Token) -> bool {
        let others = |before: &&Presented| before.token == token && before.client != state.client;
        token.number == 0 && state.books.presented.iter().filter(others).any(|before| before.known != Known::Dead)
    }

    pub fn tick(&self, state: &mut State) {
        let is_slow = state.requests.iter().any(|request: &Request| request.answer.is_none());
        state.left.slow -= u8::from(is_slow);
        let is_quiet = state.requests.is_empty()
            && state.late.is_empty()
            && state.grant.as_ref().is_none_or(|grant| grant.value.claim.is_none());
        state.tick = match self.rest(state) {
            Some(Rest::Due) => {
                state.left.idle -= 1;
                state.tick + 1
            }
            Some(Rest::Until(tick)) if is_quiet => tick.min(self.scenario.horizon),
            Some(Rest::Until(_) | Rest::Forever) | None => state.tick + 1,
        };
        if state.api_is_down && !self.scenario.mistakes.sleeps_through_outages {
            // Whoever runs for the Lease calls every two seconds.
            (0..2).for_each(|pod| self.outage(state, pod));
        }
        if self.scenario.skew == [0, 0] {
            let tick = state.tick;
            (0..2).for_each(|pod| state.remember(pod, |memory| memory.blur(tick)));
        }
        state.excuse_the_overdue();
    }

    /// All calls that are under way fail. An exchange goes on.
    pub fn goes_down(&self, state: &mut State) {
        state.api_is_down = true;
        for pod in 0..2 {
            match state.pods[pod].doing {
                Doing::Looking(_) | Doing::Looked(_) | Doing::Decided(_) | Doing::Claiming(_) => {
                    self.outage(state, pod);
                    state.goes_on(pod, Doing::Idle);
                }
                Doing::Idle | Doing::Claimed(_) | Doing::Sent(..) | Doing::Ended { .. } => {}
            }
        }
    }
}

/// A process that has something to do before time passes.
fn is_busy(state: &State, pod: usize) -> bool {
    if state.pods[pod].is_frozen {
        return false;
    }
    match &state.pods[pod].doing {
        Doing::Idle => false,
        Doing::Looking(_) | Doing::Looked(_) | Doing::Decided(_) | Doing::Claiming(_) | Doing::Claimed(_) => true,
        Doing::Sent(job, sent) => {
            let is_answered = state.requests.iter().any(|request| request.by == job.name && request.answer.is_some());
            is_answered || since(*sent, state.tick) >= PACE.request_timeout
        }
        Doing::Ended { .. } => !state.api_is_down,
    }
}

impl State {
    /// What goes wrong is paid for, so that there is an end of it.
    pub fn pay(&mut self, action: &Action) {
        let left = &mut self.left;
        let budget = match action {
            Action::Act(_, fate) | Action::Claim(_, fate) | Action::Settle(_, fate) if *fate != Fate::Answered => {
                &mut left.lost_writes
            }
            Action::CannotSend(_) => &mut left.unsent,
            Action::Crash(_) => &mut left.crashes,
            Action::Throttle(_) => &mut left.throttles,
            Action::Unauthenticate(_) => &mut left.unauthenticated,
            Action::CalledInactive(_) => &mut left.introspections,
            Action::Freeze(_) => &mut left.freezes,
            Action::LoseRequest(_) => &mut left.lost_requests,
            Action::LoseAnswer(_) => &mut left.lost_answers,
            Action::Reset(_) => &mut left.resets,
            Action::ApiDown => &mut left.outages,
            _ => return,
        };
        *budget -= 1;
    }
}
