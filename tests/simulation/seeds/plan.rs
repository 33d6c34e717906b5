//! All that a seed decides before the story begins: who is there, what goes wrong and when. Each kind of trouble is part of
//! some stories only: what always comes together hides what each can do alone.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_sandbox::script::{Coding, Malformed, RetryAfter, Step};

use crate::{
    apiserver::{EPOCH, Faults, Rng},
    world::{minutes, seconds},
};

#[derive(Debug)]
pub struct Plan {
    pub connections: Vec<Connection>,
    pub lease: Duration,
    /// Each replica has a Lease of its own: both lead all the time.
    pub two_leaders: bool,
    /// People may consent by link, and do so in the middle of everything.
    pub links: bool,
    /// How wrong the wall clocks are, in seconds.
    pub skews: [i64; 2],
    /// How long there is trouble.
    pub trouble: Duration,
    pub faults: Faults,
    /// In order of time.
    pub events: Vec<(Duration, Event)>,
}

#[derive(Debug)]
pub struct Connection {
    pub name: &'static str,
    pub life: Duration,
    pub keep: bool,
    pub retry_timeout: &'static str,
}

/// Something that happens. The number is that of a node or of a connection.
#[derive(Clone, Debug)]
pub enum Event {
    Node(usize, NodeEvent),
    Pleo(usize, PleoEvent),
    People(usize, Deed),
    Visit(usize, Visit),
    Api(ApiEvent),
}

/// A human opens the link of a connection, if there is one.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The replica that shows him the pages.
    pub node: usize,
    /// How long he takes to say yes.
    pub thinks: Duration,
}

#[derive(Clone, Debug)]
pub enum NodeEvent {
    Kill {
        absence: Duration,
    },
    Terminate,
    Freeze(Duration),
    Suspend(Duration),
    /// Every call to the API server fails.
    CutOff(Duration),
    /// Every call to the API server hangs.
    Hang(Duration),
    /// The wall clock is set by so many seconds.
    SetClock(i64),
}

#[derive(Clone, Debug)]
pub enum PleoEvent {
    /// The next exchanges go like this.
    Next(Vec<Step>),
    /// Nobody can connect.
    Unreachable(Duration),
    /// Connecting takes that long, for that long.
    SlowToConnect(Duration, Duration),
    /// The user takes the consent back.
    Revoke,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Consent,
    PutOldTokenBack,
    PutGarbage,
    ShareGrant,
    EditSpec,
    Rename,
    Suspend,
    Resume,
    RequestRefresh,
    SwitchServer,
    SwitchServerAndConsent,
    Recreate,
    RecreateAndConsent,
    DeleteGrant,
    DeleteToken,
    EditToken,
    EditRotation,
    LabelSecrets,
    BackUp,
    Restore,
    BreakClientSecret,
    SwitchClient,
    MistypeClient,
    MendClientSecret,
}

#[derive(Clone, Debug)]
pub enum ApiEvent {
    Outage(Duration),
    Compaction,
    /// Writes of this resource are refused to the operators.
    NoRights(&'static str, Duration),
    /// Watches of this resource say nothing.
    Silence(&'static str, Duration),
}

const DEEDS: [Deed; 24] = [
    Deed::Consent,
    Deed::PutOldTokenBack,
    Deed::PutGarbage,
    Deed::ShareGrant,
    Deed::EditSpec,
    Deed::Rename,
    Deed::Suspend,
    Deed::Resume,
    Deed::RequestRefresh,
    Deed::SwitchServer,
    Deed::SwitchServerAndConsent,
    Deed::Recreate,
    Deed::RecreateAndConsent,
    Deed::DeleteGrant,
    Deed::DeleteToken,
    Deed::EditToken,
    Deed::EditRotation,
    Deed::LabelSecrets,
    Deed::BackUp,
    Deed::Restore,
    Deed::BreakClientSecret,
    Deed::SwitchClient,
    Deed::MistypeClient,
    Deed::MendClientSecret,
];

impl Plan {
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice { rng: Rng::new(seed ^ 0x5eed), two_leaders: false };
        let names = ["acme", "beta", "core"];
        let count = dice.pick(&[1, 1, 2, 3]);
        let connections: Vec<Connection> = names[..count].iter().map(|name| dice.connection(name)).collect();
        let trouble = dice.seconds(600, 1800);
        dice.two_leaders = dice.one_in(4);
        let mut plan = Self {
            lease: dice.pick(&[seconds(6), seconds(15), seconds(15), seconds(60)]),
            two_leaders: dice.two_leaders,
            links: false,
            skews: [dice.skew(), dice.skew()],
            faults: dice.faults(),
            events: Vec::new(),
            connections,
            trouble,
        };
        plan.events = dice.events(&plan);
        plan.restore_midway(seed);
        plan.lose_grant_midway(seed);
        plan.switch_client(seed);
        plan.visit(seed);
        plan.silence_watches(seed);
        plan.events.sort_by_key(|(at, _)| *at);
        plan
    }

    /// In some stories a backup comes back while an answer is awaited. Chance alone seldom does that.
    fn restore_midway(&mut self, seed: u64) {
        let mut dice = Dice { rng: Rng::new(seed ^ 0xbac), two_leaders: self.two_leaders };
        if !dice.one_in(8) {
            return;
        }
        let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
        let backup = dice.seconds(0, 400);
        let (asked, answered) = (backup + dice.seconds(40, 100), dice.seconds(10, 50));
        let slow = vec![Step::normal().delayed_after(answered)];
        self.events.extend([
            (backup, Event::People(connection, Deed::BackUp)),
            (backup + seconds(1), Event::People(connection, Deed::RequestRefresh)),
            (asked, Event::Pleo(connection, PleoEvent::Next(slow))),
            (asked, Event::People(connection, Deed::RequestRefresh)),
            (asked + dice.seconds(2, 9), Event::People(connection, Deed::Restore)),
        ]);
    }

    /// Where both replicas lead, the grant is sometimes deleted while an answer is awaited, and a tool puts an earlier consent
    /// back: the other replica begins a grant that remembers nothing, and its token may be refused before the answer is here.
    /// It takes three events within seconds, which chance alone brought together once in a million stories.
    fn lose_grant_midway(&mut self, seed: u64) {
        let mut dice = Dice { rng: Rng::new(seed ^ 0xde1e7e), two_leaders: self.two_leaders };
        if !self.two_leaders || !dice.one_in(4) {
            return;
        }
        let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
        let consent = dice.seconds(20, 300);
        let (asked, answered) = (consent + dice.seconds(30, 90), dice.seconds(15, 50));
        let slow = vec![Step::normal().delayed_after(answered)];
        let lost = asked + dice.seconds(2, 12);
        self.events.extend([
            (consent, Event::People(connection, Deed::Consent)),
            (asked, Event::Pleo(connection, PleoEvent::Next(slow))),
            (asked, Event::People(connection, Deed::RequestRefresh)),
            (lost, Event::People(connection, Deed::PutOldTokenBack)),
            (lost + dice.seconds(0, 1), Event::People(connection, Deed::DeleteGrant)),
        ]);
    }

    /// In one of nine stories the client Secret names another client for a while.
    fn switch_client(&mut self, seed: u64) {
        if seed % 9 != 4 {
            return;
        }
        let mut dice = Dice { rng: Rng::new(seed ^ 0xc11e), two_leaders: self.two_leaders };
        let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
        let at = dice.seconds(0, 300);
        let deed = dice.pick(&[Deed::SwitchClient, Deed::SwitchClient, Deed::MistypeClient]);
        let meanwhile = dice.pick(&[Deed::RequestRefresh, Deed::RequestRefresh, Deed::Consent, Deed::PutOldTokenBack]);
        self.events.extend([
            (at, Event::People(connection, deed)),
            (at + dice.seconds(1, 30), Event::People(connection, meanwhile)),
            (at + dice.seconds(60, 400), Event::People(connection, Deed::MendClientSecret)),
        ]);
    }

    /// In two of five stories consents are taken back, and people come by link. The others are as if there were no links.
    fn visit(&mut self, seed: u64) {
        self.links = [2, 3].contains(&(seed % 5));
        if !self.links {
            return;
        }
        let mut dice = Dice { rng: Rng::new(seed ^ 0x11ab), two_leaders: self.two_leaders };
        for _ in 0..1 + dice.rng.below(6) {
            let at = Duration::from_millis(dice.rng.below(u64::try_from(self.trouble.as_millis()).unwrap()));
            let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
            if dice.one_in(2) {
                self.events.push((at, Event::Pleo(connection, PleoEvent::Revoke)));
                self.events.push((at + seconds(1), Event::People(connection, Deed::RequestRefresh)));
            }
            // Sometimes two come at once.
            for _ in 0..dice.pick(&[1, 1, 2]) {
                let visit = Visit { node: dice.pick(&[0, 1]), thinks: dice.seconds(0, 20) };
                self.events.push((at + dice.seconds(2, 60), Event::Visit(connection, visit)));
            }
            if dice.one_in(3) {
                let steps = vec![dice.step()];
                self.events.push((at + seconds(2), Event::Pleo(connection, PleoEvent::Next(steps))));
            }
        }
    }

    /// In one of seven stories nobody hears for minutes of what people do to a connection: who decides on what he saw last
    /// sends what he must not send.
    fn silence_watches(&mut self, seed: u64) {
        if seed % 7 != 2 {
            return;
        }
        let mut dice = Dice { rng: Rng::new(seed ^ 0x01d), two_leaders: self.two_leaders };
        let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
        let at = dice.seconds(120, 300);
        let deed = dice.pick(&[Deed::SwitchServer, Deed::SwitchServerAndConsent, Deed::Suspend, Deed::Recreate]);
        self.events.extend([
            (at, Event::Api(ApiEvent::Silence("pleoconnections.pleo.io", dice.seconds(150, 300)))),
            (at + dice.seconds(1, 10), Event::People(connection, deed)),
        ]);
    }

    /// By how much one clock may differ from another, or from itself.
    pub fn clock_error(&self) -> Duration {
        let set = self.events.iter().map(|(_, event)| match event {
            Event::Node(_, NodeEvent::SetClock(by)) => by.unsigned_abs(),
            Event::Node(..) | Event::Pleo(..) | Event::People(..) | Event::Visit(..) | Event::Api(_) => 0,
        });
        seconds(self.skews[0].abs_diff(self.skews[1]) + set.sum::<u64>())
    }

    /// The true time of day, so long after the beginning.
    pub fn wall(passed: Duration) -> Timestamp {
        EPOCH + SignedDuration::try_from(passed).expect("no simulation is that long")
    }
}

/// Chance, in the words of a plan.
struct Dice {
    rng: Rng,
    two_leaders: bool,
}

impl Dice {
    fn one_in(&mut self, odds: u64) -> bool {
        self.rng.one_in(odds)
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.rng.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap()].clone()
    }

    fn seconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(1000 * least + self.rng.below(1000 * (most - least) + 1))
    }

    fn connection(&mut self, name: &'static str) -> Connection {
        let life = self.pick(&[seconds(40), seconds(90), minutes(3), minutes(15)]);
        Connection { name, life, keep: self.one_in(3), retry_timeout: self.pick(&["72h", "72h", "72h", "10m"]) }
    }

    /// Two that lead at once, with clocks an hour apart, would each find the other's token to be out of time.
    fn skew(&mut self) -> i64 {
        let skew = if self.two_leaders { self.pick(&[0, 0, 3]) } else { self.pick(&[0, 0, 3, 8, 40, 3600]) };
        if self.one_in(2) { skew } else { -skew }
    }

    /// Some kinds of faults in requests to the API server, more or less often.
    fn faults(&mut self) -> Faults {
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
    fn events(&mut self, plan: &Plan) -> Vec<(Duration, Event)> {
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

    fn node_event(&mut self) -> NodeEvent {
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
    fn spell(&mut self) -> Duration {
        let most = self.pick(&[5, 15, 15, 40, 200]);
        self.seconds(1, most)
    }

    fn pleo_event(&mut self) -> PleoEvent {
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
    fn step(&mut self) -> Step {
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
            11 => Step::error(self.pick(&["invalid_client", "invalid_request", "temporarily_unavailable"])),
            12 => Step::malformed(self.pick(&[Malformed::NotJson, Malformed::Html, Malformed::Empty])),
            13 => Step::malformed(self.pick(&[Malformed::Truncated, Malformed::WrongTypes])).not_rotating(),
            14 => Step::malformed(self.pick(&[Malformed::NoAccessToken, Malformed::DuplicateKeys])),
            _ => Step::malformed(self.pick(&[Malformed::ExpiresInString, Malformed::ExpiresInFloat])),
        }
    }

    fn api_event(&mut self) -> ApiEvent {
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
