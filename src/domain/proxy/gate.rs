//! The gate: whether a call may leave now, and with which token. A value; the proxy asks it under a lock, reports what came back, and
//! asks again after every change and at the instants that it names.

use std::{collections::BTreeSet, time::Duration};

use super::{
    call::{Answer, Call, CallId, Moment, Unauthorized},
    due,
    evidence::{Certainty, Evidence, Verdict},
    health::{FIRST_PROBE, Health, ProbeResult, Rejection},
    step::{News, State, Step, Unavailable},
};
use crate::{
    api::TokenState,
    domain::{
        snapshot::published::{Access, Content},
        time::between,
        token::{AccessToken, Fingerprint},
    },
};

/// How long a folder that cannot be read is no news.
const UNREADABLE: Duration = Duration::from_secs(2);
/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(5);
/// However long there has been trouble, a call waits this long.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);
/// Each time with another token.
const MOST_SENDS: usize = 3;

/// The whole state.
#[derive(Clone, Debug)]
pub struct Gate {
    max_hold: Duration,
    content: Option<Content>,
    fingerprint: Option<Fingerprint>,
    unreadable_since: Option<Duration>,
    /// The token had ended when it was first seen, or was accepted after that: a clock is wrong.
    ignores_expiry: bool,
    health: Health,
    evidence: Evidence,
    trouble_since: Option<Duration>,
    last_state: State,
    /// Calls that wait, and could be a probe of the current token.
    probers: BTreeSet<CallId>,
}

impl Gate {
    /// Nothing was read yet. No call waits for longer than `max_hold`.
    pub fn new(max_hold: Duration) -> Self {
        Self {
            max_hold,
            content: None,
            fingerprint: None,
            unreadable_since: Some(Duration::ZERO),
            ignores_expiry: false,
            health: Health::Good,
            evidence: Evidence::default(),
            trouble_since: None,
            last_state: State::Pending,
            probers: BTreeSet::new(),
        }
    }

    /// Takes in what the folder holds; none: it could not be read.
    pub fn look(&mut self, content: Option<Content>, now: Moment) -> News {
        let Some(content) = content else {
            self.unreadable_since.get_or_insert(now.elapsed);
            return News::None;
        };
        let was_readable = self.unreadable_since.take().is_none();
        if was_readable && self.content.as_ref() == Some(&content) {
            return News::None;
        }
        let fingerprint = content.access.as_ref().map(|access| access.token.fingerprint());
        let is_new = fingerprint != self.fingerprint;
        let has_ended = content.access.as_ref().is_some_and(|access| access.expires_at <= now.wall);
        if is_new {
            self.health = Health::Good;
            self.evidence.forget_token();
            self.ignores_expiry = has_ended && content.state == TokenState::Ready;
        }
        self.content = Some(content);
        self.fingerprint = fingerprint;
        if is_new && self.ignores_expiry { News::WrongClock } else { News::Changed }
    }

    /// Why calls wait at this moment, if they do.
    pub fn state(&self, now: Moment) -> State {
        let unreadable = self.unreadable_since.is_some_and(|since| since.saturating_add(UNREADABLE) <= now.elapsed);
        let Some(content) = self.content.as_ref().filter(|_| !unreadable) else { return State::Pending };
        let access = match (content.state, &content.access) {
            (TokenState::ReauthRequired, _) => return State::ReauthRequired,
            (TokenState::Expired, _) => return State::Expired,
            (TokenState::Pending, _) | (TokenState::Ready, None) => return State::Pending,
            (TokenState::Ready, Some(access)) => access,
        };
        let has_ended = !self.ignores_expiry && due::has_ended(access, now.wall);
        match self.health {
            Health::Rejected(_) if has_ended => State::Expired,
            Health::Rejected(_) => State::Rejected,
            Health::Probing { .. } => State::Probing,
            Health::Checked { refresh_at }
                if !has_ended && refresh_at == access.refresh_at && due::was_due(access, now.wall) =>
            {
                State::Ready
            }
            // What has ended and the operator calls good is tried by one call: perhaps our clock is ahead.
            Health::Good | Health::Checked { .. } if has_ended || self.is_due(access, now) => State::RefreshDue,
            Health::Good | Health::Checked { .. } => State::Ready,
        }
    }

    /// From a little before the planned refresh to the end of the window; where calls wait, until one of them has tried the token.
    fn is_due(&self, access: &Access, now: Moment) -> bool {
        due::was_due(access, now.wall) && (!due::is_window_over(access, now.wall) || !self.probers.is_empty())
    }

    /// What to do with this call now. Without a turn it is not sent: too many others are at the API.
    pub fn ask(&mut self, call: &mut Call, has_turn: bool, now: Moment) -> Step {
        self.end_overdue_probe(now);
        if let Some(unauthorized) = call.unauthorized.clone() {
            match self.judge(call, &unauthorized, now) {
                Verdict::Endpoint => return self.pass_through(call),
                Verdict::Open(until) => {
                    let until = until.min(self.deadline(call, now));
                    let is_over = until <= now.elapsed;
                    return if is_over {
                        self.unavailable(call, Unavailable::TokenRejected)
                    } else {
                        Step::Wait(until)
                    };
                }
                Verdict::Token(_) if call.is_replayable || self.state(now) == State::ReauthRequired => {}
                Verdict::Token(_) => return self.unavailable(call, Unavailable::NotReplayable),
            }
        }
        let state = self.note_trouble(now);
        match (state, self.access().cloned()) {
            (State::Ready, Some(_)) if self.has_tried(call) => self.pass_through(call),
            (State::Ready, Some(_)) if !has_turn => {
                let deadline = self.deadline(call, now);
                let is_over = deadline <= now.elapsed;
                if is_over { self.unavailable(call, Unavailable::Overloaded) } else { Step::Wait(deadline) }
            }
            (State::Ready, Some(access)) => {
                self.note_window(&access, now);
                self.send(call, access, now)
            }
            (State::ReauthRequired, _) => self.unavailable(call, Unavailable::ReauthRequired),
            _ => self.hold(call, state, has_turn, now),
        }
    }

    fn hold(&mut self, call: &mut Call, state: State, has_turn: bool, now: Moment) -> Step {
        let deadline = self.deadline(call, now);
        if self.may_probe(call, now) && deadline > now.elapsed {
            self.probers.insert(call.id);
        } else {
            self.probers.remove(&call.id);
        }
        let probe_at = self.probe_at(state, now);
        let is_first = self.probers.first() == Some(&call.id) && has_turn;
        let is_due = probe_at.is_some_and(|at| at <= now.elapsed);
        if let Some(access) = self.access().filter(|_| is_first && is_due).cloned() {
            let rejected = match self.health {
                Health::Rejected(rejected) => Some(rejected),
                Health::Good | Health::Checked { .. } | Health::Probing { .. } => None,
            };
            self.health = Health::Probing { by: call.id, since: now.elapsed, rejected };
            return self.send(call, access, now);
        }
        if deadline <= now.elapsed {
            return self.unavailable(call, state.unavailable());
        }
        // A probe that is due is sent by another call in a moment, and may then take this long.
        let next = probe_at.or(self.probe_ends_at()).filter(|at| now.elapsed < *at);
        let next = next.or(is_due.then(|| now.elapsed.saturating_add(PROBE)));
        Step::Wait(next.map_or(deadline, |next| next.min(deadline)))
    }

    /// Whether this call could show whether the token is good: it can be sent again, and at first, a 401 of it would say something.
    fn may_probe(&self, call: &Call, now: Moment) -> bool {
        let is_fresh = call.is_replayable && !self.has_tried(call) && call.sent.len() < MOST_SENDS;
        let is_patient = match self.health {
            Health::Rejected(rejected) => now.elapsed < rejected.since.saturating_add(FIRST_PROBE),
            Health::Good | Health::Checked { .. } | Health::Probing { .. } => false,
        };
        is_fresh && (!is_patient || self.evidence.is_telling(call.route, now.elapsed))
    }

    /// When one of those who wait tries the token.
    fn probe_at(&self, state: State, now: Moment) -> Option<Duration> {
        let access = self.access()?;
        match (state, &self.health) {
            (State::RefreshDue, _) => {
                let left = due::window_ends(access).map_or(Duration::ZERO, |ends| between(now.wall, ends));
                Some(now.elapsed.saturating_add(left))
            }
            (State::Rejected, Health::Rejected(rejected)) => Some(rejected.probe_at),
            _ => None,
        }
    }

    fn probe_ends_at(&self) -> Option<Duration> {
        match self.health {
            Health::Probing { since, .. } => Some(since.saturating_add(PROBE)),
            Health::Good | Health::Checked { .. } | Health::Rejected(_) => None,
        }
    }

    /// What came back for a call that was sent. Whether calls that wait are to ask again.
    pub fn answered(&mut self, call: &mut Call, answer: Answer, now: Moment) -> bool {
        let token = call.sent.last().cloned();
        let is_current = token.is_some() && token == self.fingerprint;
        match answer {
            Answer::Success if is_current => {
                self.evidence.accepted(call, now.elapsed);
                self.ignores_expiry |= self.access().is_some_and(|access| access.expires_at <= now.wall);
                self.absolve(call, now);
            }
            Answer::Unauthorized { is_explicit } => {
                call.unauthorized = token.map(|token| Unauthorized { token, at: now, is_explicit });
                // It waits again, for as long as any other.
                call.deadline = None;
                if is_current {
                    self.evidence.unauthorized(call, now.elapsed);
                    if call.sent.len() > 1 && !self.access().is_some_and(|access| due::was_due(access, now.wall)) {
                        self.evidence.list(call.route, now.elapsed);
                    }
                }
            }
            Answer::Success | Answer::Other => {}
        }
        let result = match answer {
            Answer::Success => ProbeResult::Accepted,
            Answer::Unauthorized { .. } => ProbeResult::Rejected,
            Answer::Other => ProbeResult::Unknown,
        };
        self.end_probe(call.id, result, now) || answer == Answer::Success
    }

    /// A call that was sent after the token was rejected has been accepted: it was a mistake.
    fn absolve(&mut self, call: &Call, now: Moment) {
        let rejected = match &self.health {
            Health::Rejected(rejected) | Health::Probing { rejected: Some(rejected), .. } => rejected,
            Health::Good | Health::Checked { .. } | Health::Probing { rejected: None, .. } => return,
        };
        if rejected.since <= call.sent_at {
            self.health = self.checked(now);
        }
    }

    /// The call is over, or its client is gone. Whether calls that wait are to ask again.
    pub fn leave(&mut self, id: CallId, now: Moment) -> bool {
        let waited = self.probers.remove(&id);
        self.end_probe(id, ProbeResult::Unknown, now) || waited
    }

    /// The probe is over. Only a 401 speaks against the token, and that of a route that never accepted it speaks so loudly only if
    /// others say the same: until then the next call tries.
    fn end_probe(&mut self, call: CallId, result: ProbeResult, now: Moment) -> bool {
        let Health::Probing { by, rejected, .. } = self.health else { return false };
        if by != call {
            return false;
        }
        self.health = match (result, rejected) {
            (ProbeResult::Accepted, _) | (ProbeResult::Unknown, None) => self.checked(now),
            (ProbeResult::Rejected, before) => {
                let rejected = before.unwrap_or(Rejection::since(now.elapsed, Duration::ZERO));
                Health::Rejected(rejected.probed(now.elapsed))
            }
            (ProbeResult::Unknown, Some(rejected)) => Health::Rejected(rejected.untested(now.elapsed)),
        };
        true
    }

    /// Of a token that has just been accepted.
    fn checked(&self, now: Moment) -> Health {
        match self.access().filter(|access| due::was_due(access, now.wall)) {
            Some(access) => Health::Checked { refresh_at: access.refresh_at },
            None => Health::Good,
        }
    }

    fn end_overdue_probe(&mut self, now: Moment) {
        if let Health::Probing { by, since, .. } = self.health
            && since.saturating_add(PROBE) <= now.elapsed
        {
            self.end_probe(by, ProbeResult::Unknown, now);
        }
    }

    fn judge(&mut self, call: &Call, unauthorized: &Unauthorized, now: Moment) -> Verdict {
        // There is another token, or none: this one is not sent again.
        if self.fingerprint.as_ref() != Some(&unauthorized.token) {
            let is_over = call.sent.len() >= MOST_SENDS;
            return if is_over { Verdict::Endpoint } else { Verdict::Token(Certainty::Due) };
        }
        if call.sent.len() >= MOST_SENDS || self.evidence.is_listed(call.route, now.elapsed) {
            return Verdict::Endpoint;
        }
        match self.health {
            Health::Rejected(_) | Health::Probing { .. } => return Verdict::Token(Certainty::Likely),
            Health::Good | Health::Checked { .. } => {}
        }
        let is_checked = matches!(self.health, Health::Checked { .. });
        let due = self.access().filter(|_| !is_checked).and_then(due::window_begins);
        let verdict = self.evidence.judge(call, unauthorized, due, now.elapsed);
        if let Verdict::Token(certainty) = verdict {
            // Where it was due, a new token comes in a moment; else the next call may show that this was a mistake.
            let first = match certainty {
                Certainty::Due => due::WINDOW,
                Certainty::Likely => Duration::ZERO,
            };
            self.health = Health::Rejected(Rejection::since(now.elapsed, first));
        }
        verdict
    }

    fn send(&mut self, call: &mut Call, access: Access, now: Moment) -> Step {
        self.probers.remove(&call.id);
        call.sent.extend(self.fingerprint.clone());
        call.sent_at = now.elapsed;
        call.unauthorized = None;
        Step::Send(access)
    }

    fn pass_through(&mut self, call: &Call) -> Step {
        self.probers.remove(&call.id);
        Step::PassThrough
    }

    fn unavailable(&mut self, call: &Call, why: Unavailable) -> Step {
        self.probers.remove(&call.id);
        Step::Unavailable(why)
    }

    fn has_tried(&self, call: &Call) -> bool {
        self.fingerprint.as_ref().is_some_and(|token| call.was_sent_with(token))
    }

    fn access(&self) -> Option<&Access> {
        self.content.as_ref()?.access.as_ref()
    }

    /// Once the window is over and no one waited, there is none until the next token.
    fn note_window(&mut self, access: &Access, now: Moment) {
        if due::is_window_over(access, now.wall) {
            self.health = self.checked(now);
        }
    }

    /// Until when a call waits: for less, the longer there has been trouble.
    fn deadline(&mut self, call: &mut Call, now: Moment) -> Duration {
        let trouble = now.elapsed.saturating_sub(self.trouble_since.unwrap_or(now.elapsed));
        let hold = self.max_hold.saturating_sub(trouble).max(SHORTEST_HOLD);
        let hold = call.patience.map_or(hold, |patience| patience.min(hold));
        *call.deadline.get_or_insert(now.elapsed.saturating_add(hold))
    }

    /// Notes since when calls wait. To be called often: at each look at the folder.
    pub fn note_trouble(&mut self, now: Moment) -> State {
        self.end_overdue_probe(now);
        let state = self.state(now);
        self.last_state = state;
        self.trouble_since = (state != State::Ready).then(|| self.trouble_since.unwrap_or(now.elapsed));
        state
    }

    /// As it was noted last.
    pub fn last_state(&self) -> State {
        self.last_state
    }

    /// The token, while the server does not accept it, as far as is known.
    pub fn rejected_token(&self, now: Moment) -> Option<AccessToken> {
        let is_rejected = match self.health {
            Health::Rejected(_) | Health::Probing { rejected: Some(_), .. } => true,
            Health::Good | Health::Checked { .. } | Health::Probing { rejected: None, .. } => false,
        };
        let is_current = matches!(self.state(now), State::Rejected | State::Probing);
        self.access().filter(|_| is_rejected && is_current).map(|access| access.token.clone())
    }

    /// What the folder holds, as far as it could be read.
    pub fn content(&self) -> Option<&Content> {
        self.content.as_ref()
    }
}
