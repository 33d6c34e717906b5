//! What can go wrong with a request: thrown from a seed, or scripted by a test.

use crate::call::{Call, Verb};
use std::time::Duration;

/// splitmix64: one seed, one world.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From nought to one less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit.max(1)
    }

    /// True once in `odds` times; never, when that is nought.
    pub fn one_in(&mut self, odds: u64) -> bool {
        odds > 0 && self.below(odds) == 0
    }

    pub fn millis_up_to(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing is done; the caller sees a broken connection.
    Unreachable,
    /// Nothing is done; the caller is answered with this status.
    Status(u16),
    /// It is done; the caller sees a broken connection.
    AnswerLost,
    /// It is done, and answered with this status all the same, as 504 may be.
    DoneThenStatus(u16),
    /// It is done that much later, whether or not the caller still waits.
    Late(Duration),
    /// It is done in time, and answered that much later.
    AnswerLate(Duration),
    /// The watch breaks after that time.
    WatchCut(Duration),
    /// The client dies, and nothing is done.
    CrashBefore,
    /// It is done, and the client dies before it hears of it.
    CrashAfter,
}

impl Fault {
    /// Can this happen to such a request?
    fn suits(self, verb: Verb) -> bool {
        match self {
            Self::WatchCut(_) => verb == Verb::Watch,
            Self::AnswerLost | Self::DoneThenStatus(_) | Self::Late(_) | Self::AnswerLate(_) => verb != Verb::Watch,
            Self::Status(409) => matches!(verb, Verb::Update | Verb::Patch),
            Self::Unreachable | Self::Status(_) | Self::CrashBefore | Self::CrashAfter => true,
        }
    }
}

/// How often what goes wrong, as one in so many requests; nought is never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub unreachable: u64,
    /// 409 to an update or a patch, out of the blue.
    pub conflict: u64,
    /// 500, nothing done.
    pub server_error: u64,
    /// 429, nothing done.
    pub throttled: u64,
    pub answer_lost: u64,
    /// 504, and yet done.
    pub done_but_timed_out: u64,
    /// Done up to half a minute late.
    pub late: u64,
    /// Answered up to half a minute late.
    pub answer_late: u64,
    /// Of the watches: broken within two minutes.
    pub watch_cut: u64,
    /// The client dies, before or after.
    pub crash: u64,
    /// Each way of a request takes up to that much longer than its least millisecond.
    pub latency_ms: u64,
    /// Each event of a watch is up to that late.
    pub event_delay_ms: u64,
}

impl Faults {
    /// A bad day: everything but crashes, which are for those who can restart what died.
    pub fn storm() -> Self {
        Self {
            unreachable: 200,
            conflict: 100,
            server_error: 100,
            throttled: 200,
            answer_lost: 100,
            done_but_timed_out: 200,
            late: 500,
            answer_late: 500,
            watch_cut: 10,
            crash: 0,
            latency_ms: 40,
            event_delay_ms: 200,
        }
    }

    /// All dice are always thrown, so that one fault more or less does not change those of other requests.
    pub(super) fn throw(&self, rng: &mut Rng, verb: Verb) -> Fate {
        let (before, after) = (rng.millis_up_to(self.latency_ms), rng.millis_up_to(self.latency_ms));
        let crash = if rng.one_in(2) { Fault::CrashBefore } else { Fault::CrashAfter };
        let mut late = || rng.millis_up_to(30_000);
        let (late, answer_late, cut) = (late(), late(), 4 * late());
        let dice = [
            (self.crash, crash),
            (self.unreachable, Fault::Unreachable),
            (self.conflict, Fault::Status(409)),
            (self.server_error, Fault::Status(500)),
            (self.throttled, Fault::Status(429)),
            (self.answer_lost, Fault::AnswerLost),
            (self.done_but_timed_out, Fault::DoneThenStatus(504)),
            (self.late, Fault::Late(late)),
            (self.answer_late, Fault::AnswerLate(answer_late)),
            (self.watch_cut, Fault::WatchCut(cut)),
        ];
        let fell = dice.map(|(odds, fault)| rng.one_in(odds).then_some(fault));
        Fate { before, after, fault: fell.into_iter().flatten().find(|fault| fault.suits(verb)) }
    }
}

/// How long one request takes, and what goes wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    before: Duration,
    after: Duration,
    pub fault: Option<Fault>,
}

impl Fate {
    /// No request is free: a hot loop must move the clock, or the test would hang instead of failing.
    const LEAST: Duration = Duration::from_millis(1);

    pub fn before(&self) -> Duration {
        let late = if let Some(Fault::Late(late)) = self.fault { late } else { Duration::ZERO };
        Self::LEAST + self.before + late
    }

    pub fn after(&self) -> Duration {
        let late = if let Some(Fault::AnswerLate(late)) = self.fault { late } else { Duration::ZERO };
        Self::LEAST + self.after + late
    }
}

/// A fault that a test has scripted for the requests that it picks.
pub(super) struct Rule {
    pub picks: Box<dyn Fn(&Call) -> bool + Send>,
    pub fault: Fault,
    /// How often it still strikes; for ever, when there is no number.
    pub left: Option<u32>,
}

/// The first rule that picks a call strikes, and one that has struck its last is gone.
pub(super) fn struck_by(rules: &mut Vec<Rule>, call: &Call) -> Option<Fault> {
    let at = rules.iter().position(|rule| (rule.picks)(call))?;
    let fault = rules[at].fault;
    if let Some(left) = &mut rules[at].left {
        *left -= 1;
        if *left == 0 {
            rules.remove(at);
        }
    }
    Some(fault)
}
