//! Chance, in the words of a plan.

use crate::{
    apiserver::{Faults, Rng},
    stage::world::{minutes, seconds},
};
use pleo_sandbox::script::{Coding, Malformed, RetryAfter, Step};
use std::time::Duration;

use super::*;

/// Chance, in the words of a plan.
pub struct Dice {
    pub rng: Rng,
    pub two_leaders: bool,
}

impl Dice {
    pub fn one_in(&mut self, odds: u64) -> bool {
        self.rng.one_in(odds)
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.rng.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap()].clone()
    }

    pub fn seconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(1000 * least + self.rng.below(1000 * (most - least) + 1))
    }

    pub fn connection(&mut self, name: &'static str) -> Connection {
        let life = self.pick(&[seconds(40), seconds(90), minutes(3), minutes(15)]);
        Connection { name, life, keep: self.one_in(3), retry_timeout: self.pick(&["72h", "72h", "72h", "10m"]) }
    }

    /// Two that lead at once, with clocks an hour apart, would each find the other's token to be out of time.
    pub fn skew(&mut self) -> i64 {
        let skew = if self.two_leaders { self.pick(&[0, 0, 3]) } else { self.pick(&[0, 0, 3, 8, 40, 3600]) };
        if self.one_in(2) { skew } else { -skew }
    }

    /// Some kinds of faults in requests to the API server, more or less often.
    pub fn faults(&mut self) -> Faults {
        let storm = Faults::storm();
        let factor = self.pick(&[1, 1, 3]);
        let mut some = |odds: u64| if self.one_in(2) { odds / factor } else { 0 };
        Faults {
            unreachable: some(storm.unreachable),
            conflict: some(storm.conflict),
            server_error: some(storm.server_error),
            throttled: some(storm.throttled),
            answer_lost: some(storm.answer_lost),
            done_but_timed_out: some(storm.done_but_timed_out),
            late: some(storm.late),
            answer_late: some(storm.answer_late),
            watch_cut: some(storm.watch_cut),
            crash: some(1500),
            latency_ms: some(storm.latency_ms),
            event_delay_ms: some(30 * storm.event_delay_ms),
        }
    }

    /// Which kinds of events there are at all, and then when.
    pub fn events(&mut self, plan: &Plan) -> Vec<(Duration, Event)> {
        let deeds: Vec<Deed> = DEEDS.into_iter().filter(|_| self.one_in(3)).collect();
        let (nodes, pleo, api) = (self.pick(&[0, 4, 10]), self.pick(&[0, 5, 15]), self.pick(&[0, 0, 3]));
        let people = if deeds.is_empty() { 0 } else { self.pick(&[0, 4, 12]) };
        let mut events = Vec::new();
        for (count, kind) in [(nodes, 0), (pleo, 1), (people, 2), (api, 3)] {
            for _ in 0..self.rng.below(count + 1) {
                let at = Duration::from_millis(self.rng.below(u64::try_from(plan.trouble.as_millis()).unwrap()));
                let connection = usize::try_from(self.rng.below(plan.connections.len() as u64)).unwrap();
                let event = match kind {
                    0 => Event::Node(self.pick(&[0, 1]), self.node_event()),
                    1 => Event::Pleo(connection, self.pleo_event()),
                    2 => Event::People(connection, self.pick(&deeds)),
                    _ => Event::Api(self.api_event()),
                };
                events.push((at, event));
            }
        }
        events
    }

    pub fn node_event(&mut self) -> NodeEvent {
        match self.rng.below(8) {
            0 | 1 => NodeEvent::Kill { absence: self.seconds(0, 20) },
            2 => NodeEvent::Terminate,
            3 => NodeEvent::Freeze(self.spell()),
            4 => NodeEvent::Suspend(self.spell()),
            5 => NodeEvent::CutOff(self.spell()),
            6 => NodeEvent::Hang(self.spell()),
            _ => NodeEvent::SetClock(self.skew()),
        }
    }

    /// Mostly short, sometimes longer than anyone waits.
    pub fn spell(&mut self) -> Duration {
        let most = self.pick(&[5, 15, 15, 40, 200]);
        self.seconds(1, most)
    }

    pub fn pleo_event(&mut self) -> PleoEvent {
        match self.rng.below(12) {
            0 => PleoEvent::Unreachable(self.seconds(5, 300)),
            1 => {
                let delay = self.seconds(1, 14);
                PleoEvent::SlowToConnect(delay, self.seconds(5, 120))
            }
            2 if self.one_in(2) => PleoEvent::Revoke,
            _ => {
                let count = self.pick(&[1, 1, 1, 2, 4]);
                PleoEvent::Next((0..count).map(|_| self.step()).collect())
            }
        }
    }

    /// One exchange that does not go as it should.
    pub fn step(&mut self) -> Step {
        let status = self.pick(&[500, 502, 503, 504]);
        match self.rng.below(19) {
            16 => Step::pair_with_status(self.pick(&[201, 203])),
            17 => Step::pair_coded(&[self.pick(&Coding::ALL)]),
            18 => Step::error("invalid_grant").with_status(self.pick(&[401, 403, 404])),
            0 => Step::normal().delayed_before(self.seconds(1, 55)),
            1 | 2 => Step::normal().delayed_after(self.seconds(1, 55)),
            3 => Step::normal().delayed_after(self.seconds(61, 80)),
            4 => Step::request_lost(),
            5 => Step::answer_lost(),
            6 => Step::status(status),
            7 => Step::status(status).rotating(),
            8 => Step::status(503).retry_after(RetryAfter::Seconds(self.rng.below(200))),
            9 => Step::status(429).retry_after(RetryAfter::Seconds(self.rng.below(200))),
            10 => Step::error(self.pick(&["invalid_grant", "invalid_token"])),
            11 => Step::error(self.pick(&[
                "invalid_client",
                "invalid_request",
                "temporarily_unavailable",
                "invalid_refresh_token",
            ])),
            12 => Step::malformed(self.pick(&[Malformed::NotJson, Malformed::Html, Malformed::Empty])),
            13 => Step::malformed(self.pick(&[Malformed::Truncated, Malformed::WrongTypes])).not_rotating(),
            14 => Step::malformed(self.pick(&[Malformed::NoAccessToken, Malformed::DuplicateKeys])),
            _ => Step::malformed(self.pick(&[Malformed::ExpiresInString, Malformed::ExpiresInFloat])),
        }
    }

    pub fn api_event(&mut self) -> ApiEvent {
        match self.rng.below(4) {
            0 => ApiEvent::Outage(self.seconds(5, 240)),
            1 => ApiEvent::Compaction,
            _ => {
                let what = self.pick(&["secrets", "secrets", "pleoconnections.pleo.io", "events.events.k8s.io"]);
                ApiEvent::NoRights(what, self.seconds(10, 240))
            }
        }
    }
}
