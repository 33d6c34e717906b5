//! Whether one authorization server gets another token request now. What happens to one connection says something about the others: a
//! server that throttles, does not answer, or rejects token after token is not asked as often as there are connections.
//!
//! A rejected token costs an authorization, which a user has to give again. So rejections have a budget: each takes one from it, each success
//! gives a tenth back. Where it is used up, the rest is held, and one token at a time shows whether the server is well again.
//!
//! Nothing of this is stored. Times are counted from the start of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::failure::{Failure, FailureKind, Misconfiguration, Outcome};

/// A server with fewer connections is never held for its rejections: they may all be right.
const FEW: usize = 6;
/// How long a rejection counts.
pub const RECENT: Duration = Duration::from_secs(600);
/// In tenths of a rejection.
const TENTHS: u32 = 10;
const FIRST_LIMIT: usize = 16;
const MOST_AT_ONCE: usize = 128;
/// One connection whose requests hang must not keep all others waiting.
const LEAST_AT_ONCE: usize = 2;
/// So many requests without an answer in a row, of so many connections.
const UNANSWERED: usize = 5;
const DIFFERENT: usize = 3;
const SUCCESSES: u32 = 2;
/// Within which two throttled connections mean the server and not them.
const TOGETHER: Duration = Duration::from_secs(10);
const MAX_THROTTLE: Duration = Duration::from_secs(15 * 60);
const MINUTE: Duration = Duration::from_secs(60);
/// Until a server that could not be reached is tried again.
const SOON: Duration = Duration::from_secs(5);
/// Until a server that did not answer is tried again: then tokens that may be used already can be presented once more, and no other has
/// to be put in doubt.
const SETTLED: Duration = Duration::from_secs(31);

/// What a token request showed of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It issued tokens: to the grant that works, not only to a new authorization.
    Success,
    /// It rejected the token of a grant that worked.
    Rejected,
    Throttled(Option<Duration>),
    /// It could not be reached: no token was sent.
    Unreached,
    /// Its response says nothing, or never came: a token is in doubt.
    Unanswered,
    /// It is there. More is not known.
    Answered,
}

impl Shown {
    /// What this outcome shows. A new authorization that is rejected may never have been good.
    pub fn by(outcome: &Outcome, is_new_authorization: bool) -> Self {
        let Outcome::Failed(Failure { kind, retry_after, .. }) = outcome else {
            return if is_new_authorization { Self::Answered } else { Self::Success };
        };
        match kind {
            FailureKind::Throttled => Self::Throttled(*retry_after),
            FailureKind::NotSent => Self::Unreached,
            FailureKind::OutcomeUnknown => Self::Unanswered,
            FailureKind::Rejected(_) | FailureKind::UnknownRejection if !is_new_authorization => Self::Rejected,
            FailureKind::Rejected(_)
            | FailureKind::UnknownRejection
            | FailureKind::Misconfigured(Misconfiguration::Client | Misconfiguration::Request) => Self::Answered,
        }
    }
}

/// How a server is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerState {
    Healthy,
    /// It has asked several connections to wait.
    Throttled,
    /// It does not answer.
    Failing,
    /// It rejects so many tokens that they are no longer presented.
    Refusing,
}

impl ServerState {
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Throttled, Self::Failing, Self::Refusing];

    /// As metrics and logs name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Throttled => "throttled",
            Self::Failing => "failing",
            Self::Refusing => "refusing",
        }
    }
}

/// What is known of one server.
#[derive(Clone, Debug)]
pub struct Governor {
    /// How many rejections are taken; 0: any number.
    max_refusals: u32,
    state: State,
    in_flight: usize,
    limit: usize,
    /// Successes since the limit was last raised.
    successes: usize,
    /// In tenths.
    budget: u32,
    /// Connections that were rejected, and when.
    rejected: BTreeMap<String, Duration>,
    /// Some of the connections to it: as many as it takes.
    connections: Vec<String>,
    /// The last ones in a row that got no answer.
    unanswered: Vec<String>,
    /// Who was throttled, when, and until when.
    throttled: Vec<(String, Duration, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Healthy,
    Throttled { until: Duration, wait: Duration },
    Failing { probe_at: Duration, wait: Duration, successes: u32 },
    Refusing { probe_at: Duration, wait: Duration },
}

impl Governor {
    /// A server of which nothing is known.
    pub fn new(max_refusals: u32) -> Self {
        Self {
            max_refusals,
            state: State::Healthy,
            in_flight: 0,
            limit: FIRST_LIMIT,
            successes: 0,
            budget: max_refusals.saturating_mul(TENTHS),
            rejected: BTreeMap::new(),
            connections: Vec::new(),
            unanswered: Vec::new(),
            throttled: Vec::new(),
        }
    }

    pub fn state(&self) -> ServerState {
        match self.state {
            State::Healthy => ServerState::Healthy,
            State::Throttled { .. } => ServerState::Throttled,
            State::Failing { .. } => ServerState::Failing,
            State::Refusing { .. } => ServerState::Refusing,
        }
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many connections were rejected lately.
    pub fn rejected(&self, now: Duration) -> usize {
        self.rejected.values().filter(|at| now.saturating_sub(**at) < RECENT).count()
    }

    /// Whether it gets another request now.
    pub fn is_open(&self, now: Duration) -> bool {
        match self.state {
            State::Healthy => self.in_flight < self.limit.min(self.affordable()),
            State::Throttled { until, .. } => now >= until && self.in_flight < self.limit.min(self.affordable()),
            State::Failing { probe_at, .. } | State::Refusing { probe_at, .. } => {
                now >= probe_at && self.in_flight == 0
            }
        }
    }

    /// When time alone opens it again.
    pub fn opens_at(&self) -> Option<Duration> {
        match self.state {
            State::Healthy => None,
            State::Throttled { until, .. } => Some(until),
            State::Failing { probe_at, .. } | State::Refusing { probe_at, .. } => {
                (self.in_flight == 0).then_some(probe_at)
            }
        }
    }

    /// A request is sent.
    pub fn enter(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A request has ended, or was not sent after all.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A connection to this server is there.
    pub fn note_connection(&mut self, uid: &str) {
        if self.connections.len() >= FEW || self.connections.iter().any(|known| known == uid) {
            return;
        }
        self.connections.push(uid.to_owned());
    }

    /// An earlier process met a rejection. What it had gained by successes is not known: this alone holds nothing, but has one token sent at
    /// a time.
    pub fn note_earlier_rejection(&mut self, uid: &str, now: Duration) {
        if self.rejected.insert(uid.to_owned(), now).is_none() {
            self.budget = self.budget.saturating_sub(TENTHS).max(self.full().min(TENTHS));
        }
    }

    /// What a request of this connection showed.
    pub fn note(&mut self, uid: &str, shown: Shown, now: Duration) {
        self.note_connection(uid);
        self.rejected.retain(|_, at| now.saturating_sub(*at) < RECENT);
        match shown {
            Shown::Success => self.succeeded(),
            Shown::Rejected => self.was_rejected(uid, now),
            Shown::Throttled(wait) => self.was_throttled(uid, wait, now),
            Shown::Unreached => self.was_unanswered(uid, SOON, now),
            Shown::Unanswered => self.was_unanswered(uid, SETTLED, now),
            Shown::Answered => self.unanswered.clear(),
        }
    }

    /// The whole budget.
    fn full(&self) -> u32 {
        self.max_refusals.saturating_mul(TENTHS)
    }

    fn halve_limit(&mut self) {
        (self.limit, self.successes) = ((self.limit / 2).max(LEAST_AT_ONCE), 0);
    }

    /// More rejections at once than are left would be too many.
    fn affordable(&self) -> usize {
        let is_plenty = self.budget.saturating_add(TENTHS) >= self.full();
        if self.max_refusals == 0 || self.connections.len() < FEW || is_plenty {
            return usize::MAX;
        }
        usize::try_from(self.budget / TENTHS).unwrap_or(usize::MAX).max(1)
    }

    fn succeeded(&mut self) {
        self.unanswered.clear();
        self.budget = self.budget.saturating_add(1).min(self.full());
        self.successes = self.successes.saturating_add(1);
        if self.successes >= self.limit {
            self.successes = 0;
            let raised = if self.limit < FIRST_LIMIT { self.limit.saturating_mul(2) } else { self.limit + 1 };
            // Only what was used up is worth raising.
            if self.in_flight >= self.limit {
                self.limit = raised.min(MOST_AT_ONCE);
            }
        }
        match &mut self.state {
            State::Healthy | State::Throttled { .. } => self.state = State::Healthy,
            State::Failing { successes, probe_at, .. } => {
                *successes = successes.saturating_add(1);
                *probe_at = Duration::ZERO;
                if *successes >= SUCCESSES {
                    (self.state, self.limit, self.successes) = (State::Healthy, LEAST_AT_ONCE, 0);
                }
            }
            State::Refusing { .. } => {
                (self.state, self.budget) = (State::Healthy, TENTHS);
            }
        }
    }

    fn was_rejected(&mut self, uid: &str, now: Duration) {
        self.unanswered.clear();
        if self.rejected.insert(uid.to_owned(), now).is_none() {
            self.budget = self.budget.saturating_sub(TENTHS);
        }
        match self.state {
            // Only the probe counts, not what was sent before, or asked for.
            State::Refusing { wait, probe_at } if now >= probe_at => self.refuse(wait.saturating_mul(2), now),
            State::Healthy | State::Throttled { .. } | State::Failing { .. } if self.is_used_up() => {
                self.refuse(MINUTE, now);
            }
            State::Failing { wait, probe_at, .. } if now >= probe_at => self.fail(wait, now),
            State::Healthy | State::Throttled { .. } | State::Failing { .. } | State::Refusing { .. } => {}
        }
    }

    fn is_used_up(&self) -> bool {
        self.max_refusals > 0 && self.budget < TENTHS && self.connections.len() >= FEW
    }

    /// Probes after 1, 2, 4, 8 minutes, then every 15.
    fn refuse(&mut self, wait: Duration, now: Duration) {
        let wait = wait.min(MAX_THROTTLE);
        self.state = State::Refusing { probe_at: now.saturating_add(wait), wait };
    }

    /// One probe after that, at most a minute later.
    fn fail(&mut self, wait: Duration, now: Duration) {
        let wait = wait.min(MINUTE);
        self.state = State::Failing { probe_at: now.saturating_add(wait), wait, successes: 0 };
    }

    fn was_throttled(&mut self, uid: &str, asked: Option<Duration>, now: Duration) {
        self.unanswered.clear();
        let next = match self.state {
            State::Throttled { wait, until } if now >= until => wait.saturating_mul(2),
            State::Throttled { wait, .. } => wait,
            State::Healthy | State::Failing { .. } | State::Refusing { .. } => Duration::ZERO,
        };
        let wait = asked.unwrap_or_else(|| next.clamp(Duration::from_secs(1), MINUTE)).min(MAX_THROTTLE);
        self.throttled.retain(|(other, at, _)| other != uid && now.saturating_sub(*at) < TOGETHER);
        self.throttled.push((uid.to_owned(), now, now.saturating_add(wait)));
        match self.state {
            State::Failing { wait, probe_at, .. } if now >= probe_at => self.fail(wait, now),
            State::Refusing { wait, probe_at } if now >= probe_at => self.refuse(wait, now),
            State::Failing { .. } | State::Refusing { .. } => {}
            State::Healthy | State::Throttled { .. } => {
                // The longest wait may be meant for one connection alone.
                let mut untils: Vec<Duration> = self.throttled.iter().map(|(_, _, until)| *until).collect();
                untils.sort();
                let Some(until) = untils.iter().rev().nth(1) else { return };
                self.halve_limit();
                self.state = State::Throttled { until: *until, wait };
            }
        }
    }

    fn was_unanswered(&mut self, uid: &str, first_wait: Duration, now: Duration) {
        self.halve_limit();
        self.unanswered.push(uid.to_owned());
        let different = self.unanswered.iter().collect::<BTreeSet<_>>().len();
        let is_down = self.unanswered.len() >= UNANSWERED && different >= DIFFERENT;
        if self.unanswered.len() > UNANSWERED {
            self.unanswered.remove(0);
        }
        match self.state {
            State::Failing { wait, probe_at, .. } if now >= probe_at => self.fail(wait.saturating_mul(2), now),
            State::Refusing { wait, probe_at } if now >= probe_at => self.refuse(wait, now),
            State::Healthy | State::Throttled { .. } if is_down => self.fail(first_wait, now),
            State::Healthy | State::Throttled { .. } | State::Failing { .. } | State::Refusing { .. } => {}
        }
    }
}
