//! All that a seed decides before the story begins: who is there, what goes wrong and when. Each kind of trouble is part of
//! some stories only: what always comes together hides what each can do alone.

mod dice;

use dice::Dice;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_sandbox::script::Step;

use crate::{
    apiserver::{EPOCH, Faults, Rng},
    stage::world::seconds,
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
    /// Who has the token of a connection reports to this replica that the API rejects it.
    Report(usize, usize),
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
    /// The API rejects the access token before its time.
    RejectAccessToken,
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
        plan.report(seed);
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

    /// In one of three stories clients report tokens, mostly good ones, one after the other.
    fn report(&mut self, seed: u64) {
        if seed % 3 != 1 {
            return;
        }
        let mut dice = Dice { rng: Rng::new(seed ^ 0x4e9), two_leaders: self.two_leaders };
        for _ in 0..1 + dice.rng.below(8) {
            let at = Duration::from_millis(dice.rng.below(u64::try_from(self.trouble.as_millis()).unwrap()));
            let connection = usize::try_from(dice.rng.below(self.connections.len() as u64)).unwrap();
            if dice.one_in(3) {
                self.events.push((at, Event::Pleo(connection, PleoEvent::RejectAccessToken)));
            }
            for _ in 0..dice.pick(&[1, 2, 5]) {
                self.events.push((at + dice.seconds(0, 30), Event::Report(connection, dice.pick(&[0, 1]))));
            }
        }
    }

    /// By how much one clock may differ from another, or from itself.
    pub fn clock_error(&self) -> Duration {
        let set = self.events.iter().map(|(_, event)| match event {
            Event::Node(_, NodeEvent::SetClock(by)) => by.unsigned_abs(),
            Event::Node(..)
            | Event::Pleo(..)
            | Event::People(..)
            | Event::Visit(..)
            | Event::Report(..)
            | Event::Api(_) => 0,
        });
        seconds(self.skews[0].abs_diff(self.skews[1]) + set.sum::<u64>())
    }

    /// The true time of day, so long after the beginning.
    pub fn wall(passed: Duration) -> Timestamp {
        EPOCH + SignedDuration::try_from(passed).expect("no simulation is that long")
    }
}
