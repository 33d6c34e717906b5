//! All there is at one moment: what is stored, what is under way between the parties, what each process has in its hands,
//! and what may still go wrong.

use std::{fmt, time::Duration};

use jiff::{SignedDuration, Timestamp};
use pleo_operator::domain::{
    commit::{attempt::Attempt, settlement::AttemptResult},
    ledger::authentication::Method,
    ledger::{
        grant::{Grant, Holder},
        held::AttemptId,
    },
    plan::{decide::Decision, schedule::Pace},
    snapshot::{GrantSecret, LastReported, Snapshot, TokenSecret, Versioned, published::Published},
};

use crate::{
    scenarios::Budget,
    world::{
        books::Books,
        look,
        memory::Memory,
        shared::Shared,
        tokens::{Client, Side, Token},
    },
};

/// The connection's.
pub const UID: &str = "0c5f7d9e-acme";
/// The smallest step of time. It tells apart what must be told apart: an instant of sending lies in the tick of its claim
/// (10 s), a server has settled after two (30 s), an answer is awaited for four (60 s), another pod's claim for five (75 s).
pub const TICK: Duration = Duration::from_secs(15);
/// After so long at the earliest another pod takes a claim over.
pub const PATIENCE: Duration = Duration::from_secs(75);
pub const PACE: Pace = Pace { request_timeout: Duration::from_secs(60) };

/// The time of day at a tick, on a clock that is wrong by so many seconds.
pub fn at(tick: u16, skew: i64) -> Timestamp {
    Timestamp::from_second(1_772_452_800 + i64::from(tick) * 15 + skew).unwrap()
}

/// The first tick at or after a time.
pub fn tick_of(time: Timestamp, skew: i64) -> u16 {
    let passed = time.duration_since(at(0, skew)) + SignedDuration::from_millis(14_999);
    u16::try_from(passed.as_secs().max(0) / 15).unwrap_or(u16::MAX)
}

/// How long it is from one tick to another.
pub fn since(earlier: u16, tick: u16) -> Duration {
    TICK * u32::from(tick - earlier)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub tick: u16,
    pub left: Budget,
    pub spec: Spec,
    /// The client that the client Secret names.
    pub client: Client,
    pub initial: Initial,
    /// The rotation in the status. Kept only where somebody may delete or overwrite the grant.
    /// By the status.
    pub reported: LastReported,
    pub grant: Option<Stored<Grant>>,
    pub token: Option<Stored<Published>>,
    pub versions: Versions,
    pub families: Vec<Family>,
    pub requests: Vec<Request>,
    /// Writes of the grant that nobody has an answer to, and that may be applied late.
    pub late: Vec<LateWrite>,
    pub api_is_down: bool,
    pub pods: [Shared<Pod>; 2],
    /// Pod A has taken a step: until then pod B takes none, for they differ in nothing but their names.
    pub begun: bool,
    pub books: Shared<Books>,
}

/// How often the Secrets that are ours were written; they outlive a deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Versions {
    pub grant: u16,
    pub token: u16,
}

/// What of the connection may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    pub server: Side,
    pub suspended: bool,
    pub generation: i64,
}

/// The initial-grant Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Initial {
    pub token: Option<Token>,
    pub version: u16,
}

/// An object and its version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stored<T> {
    pub value: Shared<T>,
    pub version: u16,
}

impl<T: Clone> Stored<T> {
    pub fn versioned(&self) -> Versioned<T> {
        Versioned { value: T::clone(&self.value), version: self.version.to_string() }
    }
}

/// All tokens that descend from one consent, as their server sees them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Family {
    /// The server that gave the consent.
    pub home: Side,
    /// The client that it was given to.
    pub client: Client,
    /// The number of the only token that is good.
    pub current: u8,
    pub alive: bool,
    /// The servers that the spec named while the consent's token stood there, unproved.
    pub named: [bool; 2],
    /// Its first token is a code, that a browser brought.
    pub by_link: bool,
    /// It may be lost: what nobody can avoid has happened to it.
    pub excused: bool,
}

/// A request on the wire or with the server, and its answer on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub by: Name,
    pub token: Token,
    pub to: Side,
    pub client: Client,
    pub answer: Option<Answer>,
    /// Since when its sender waits no more.
    pub given_up: Option<u16>,
    /// Its sender is gone, and could not help it.
    pub is_excused: bool,
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A new pair.
    Pair(Token),
    /// `invalid_grant`.
    Refused,
    /// 429: nothing was spent.
    Throttled,
    Unauthenticated,
}

/// A write of the grant whose answer never comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LateWrite {
    pub grant: Shared<Grant>,
    pub replaces: Option<u16>,
}

/// Names an attempt: the pod, its process, the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub pod: usize,
    pub process: u8,
    pub number: u8,
}

impl Name {
    pub fn id(self) -> AttemptId {
        AttemptId(self.to_string())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}", ["A", "B"][self.pod], self.process, self.number)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A pod and the process that runs in it. After a crash the next one runs at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    pub process: u8,
    pub attempts: u8,
    pub memory: Memory,
    /// The spec as a cache has it; only a mistaken process decides on it.
    pub cached: Option<Spec>,
    /// It takes no step, and time passes without it.
    pub is_frozen: bool,
    pub doing: Doing,
}

impl Pod {
    pub fn holder(&self, index: usize) -> Holder {
        Holder { identity: ["A", "B"][index].into(), process: self.process.to_string() }
    }
}

/// Where a process stands.
#[allow(clippy::large_enum_variant, reason = "one of these for each pod")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Between two passes.
    Idle,
    /// In the middle of its reads.
    Looking(Look),
    /// It has seen all, and decides next.
    Looked(Shared<Snapshot>),
    /// It has decided, and acts next.
    Decided(Shared<(Snapshot, Decision)>),
    /// Its claim is made, and not yet written.
    Claiming(Shared<Job>),
    /// Its claim is stored, and nothing was sent.
    Claimed(Shared<Job>),
    /// It waits for the answer since that tick.
    Sent(Shared<Job>, u16),
    /// It knows the outcome, since that tick, and has to store it: over this version, or over what it reads anew.
    Ended { job: Shared<Job>, ending: Shared<AttemptResult>, over: Option<u16>, since: u16 },
}

/// What was read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Look {
    pub token: Option<TokenSecret>,
    pub grant: Option<GrantSecret>,
    /// The spec and the told rotation: one object.
    pub connection: Option<(Spec, LastReported)>,
}

/// An attempt under way, as `operator::steps::rotate` has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    pub name: Name,
    pub attempt: Attempt,
    pub token: Token,
    /// What it was decided on: the pass goes on with it.
    pub scene: Snapshot,
    /// The version of the grant: before the claim is written the one that it replaces, afterwards its own.
    pub version: u16,
    /// When its claim was begun.
    pub begun: u16,
    /// How it authenticates; and whether it did so in the other way before.
    pub method: Method,
    pub fell_back: bool,
}

impl Job {
    /// The client that presents the token.
    pub fn client(&self) -> Client {
        Client::named(&self.attempt.terms.client_id)
    }
}

impl Doing {
    /// The attempt, where one is under way.
    pub fn job(&self) -> Option<&Job> {
        match self {
            Self::Claiming(job) | Self::Claimed(job) | Self::Sent(job, _) | Self::Ended { job, .. } => Some(job),
            Self::Idle | Self::Looking(_) | Self::Looked(_) | Self::Decided(_) => None,
        }
    }
}

impl State {
    /// The grant, with a new version. What was to replace the old version never will.
    pub fn put_grant(&mut self, grant: Grant) {
        self.versions.grant += 1;
        self.late.clear();
        self.forget_what_is_gone(&grant);
        self.grant = Some(Stored { value: Shared::new(grant), version: self.versions.grant });
    }

    /// What processes remember of what is gone tells states apart that are the same; unless it may come back.
    fn forget_what_is_gone(&mut self, grant: &Grant) {
        if self.left.restores > 0 {
            return;
        }
        (0..2).for_each(|pod| self.remember(pod, |memory| memory.forget_all_but(grant)));
    }

    /// What users and notified pods.
    pub fn told(&self) -> LastReported {
        let token = self.token.as_ref().map_or(TokenSecret::Absent, |token| TokenSecret::Ours(token.versioned()));
        self.reported.and_by(&token, &look::grant_secret(self), UID)
    }

    /// Changes a pod.
    pub fn change(&mut self, pod: usize, change: impl FnOnce(&mut Pod)) {
        let mut changed = Pod::clone(&self.pods[pod]);
        change(&mut changed);
        self.pods[pod] = Shared::new(changed);
    }

    /// Changes what a process remembers.
    pub fn remember(&mut self, pod: usize, change: impl FnOnce(&mut Memory)) {
        let mut memory = self.pods[pod].memory.clone();
        change(&mut memory);
        if memory != self.pods[pod].memory {
            self.change(pod, |pod| pod.memory = memory);
        }
    }

    /// What a process does next. Not by way of `change`, which would copy what it did before.
    pub fn goes_on(&mut self, pod: usize, doing: Doing) {
        let Pod { process, attempts, ref memory, cached, is_frozen, .. } = *self.pods[pod];
        self.pods[pod] = Shared::new(Pod { process, attempts, memory: memory.clone(), cached, is_frozen, doing });
    }

    pub fn keep_books(&mut self, change: impl FnOnce(&mut Books)) {
        let mut changed = Books::clone(&self.books);
        change(&mut changed);
        if changed != *self.books {
            self.books = Shared::new(changed);
        }
    }

    /// The process that sent this request and still waits for its answer.
    pub fn awaited_by(&self, request: &Request) -> Option<usize> {
        let by = request.by;
        match &self.pods[by.pod].doing {
            Doing::Sent(job, _) if job.name == by => Some(by.pod),
            _ => None,
        }
    }

    pub fn family(&mut self, token: Token) -> &mut Family {
        &mut self.families[usize::from(token.family)]
    }
}
