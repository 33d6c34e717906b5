//! The scenarios: each is small enough to be explored to its end, and lets other things go wrong. What may go wrong is
//! counted; whatever order it goes wrong in is tried.

use pleo_operator::domain::snapshot::LastReported;
use stateright::Model;

use crate::{
    protocol::{Action, World},
    world::{
        books::{Books, Mark},
        memory::Memory,
        shared::Shared,
        state::{Doing, Initial, Pod, Spec, State, Versions},
        tokens::{Client, Side},
    },
};

/// How often something may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Processes that die.
    pub crashes: u8,
    /// Processes that freeze, for however long.
    pub freezes: u8,
    /// Ticks for which nobody does what is due.
    pub idle: u8,
    /// Ticks for which a server does not answer.
    pub slow: u8,
    pub lost_requests: u8,
    pub lost_answers: u8,
    /// Connections that break while the answer is awaited.
    pub resets: u8,
    /// Answers 429.
    pub throttles: u8,
    /// Answers 401 without a code: the server does not authenticate the client.
    pub unauthenticated: u8,
    /// Answers of the introspection endpoint that call a token in doubt inactive.
    pub introspections: u8,
    /// Connections to the server that cannot be made, or leases that are lost right before.
    pub unsent: u8,
    /// Writes whose answer is lost, or that are applied late.
    pub lost_writes: u8,
    /// Outages of the API server.
    pub outages: u8,
    /// New consents of humans.
    pub consents: u8,
    /// Humans who come by link.
    pub visits: u8,
    pub bad_consents: u8,
    /// Old consents that a tool puts back.
    pub put_backs: u8,
    pub revocations: u8,
    /// Changes of the server in the spec.
    pub switches: u8,
    /// Changes of the client in the client Secret.
    pub client_switches: u8,
    pub suspensions: u8,
    /// Clients that report the access token.
    pub reports: u8,
    pub deletions: u8,
    /// Backups of the grant that are put back.
    pub restores: u8,
}

/// Where a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody has consented, and nothing of ours is there yet.
    Asked,
    /// A human has consented, and nothing of ours is there yet.
    Consented,
    /// The first pair was just published.
    Living,
    /// The same, and a human has consented again.
    Renewed,
}

/// Mistakes that the edges could make: put in on purpose, to see that they are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mistakes {
    /// The sender hangs up when the time for sending is over, not when the time for answering is.
    pub hangs_up_early: bool,
    /// Decisions are made on a connection from a cache.
    pub decides_on_cached_spec: bool,
    /// Who waits for another's claim does not notice that the API server is down.
    pub sleeps_through_outages: bool,
}

/// What is explored.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub start: Start,
    /// The life of an access token, in seconds.
    pub life: u64,
    /// The last tick.
    pub horizon: u16,
    pub budget: Budget,
    /// Each read is a step of its own, and a claim is made in one step and written in another.
    pub fine: bool,
    /// A process may freeze at any step, not only in an exchange: what it has looked at grows old.
    pub looks_grow_old: bool,
    /// By how many seconds the clocks of the two pods are wrong.
    pub skew: [i64; 2],
    pub mistakes: Mistakes,
    /// What must be seen on the way.
    pub promises: &'static [Mark],
}

impl Scenario {
    pub fn new(start: Start, horizon: u16, budget: Budget, promises: &'static [Mark]) -> Self {
        let mistakes = Mistakes::default();
        Self { start, life: 150, horizon, budget, fine: false, looks_grow_old: false, skew: [0, 0], mistakes, promises }
    }
}

impl World {
    /// The state in which the scenario begins.
    pub fn begin_scenario(&self) -> State {
        let spec = Spec { server: Side::Production, suspended: false, generation: 1 };
        let cached = self.scenario.mistakes.decides_on_cached_spec.then_some(spec);
        let pod = Shared::new(Pod {
            process: 1,
            attempts: 0,
            memory: Memory::default(),
            cached,
            is_frozen: false,
            doing: Doing::Idle,
        });
        let mut state = State {
            tick: 0,
            left: self.scenario.budget,
            spec,
            client: Client::Acme,
            initial: Initial { token: None, version: 0 },
            reported: LastReported::default(),
            grant: None,
            token: None,
            versions: Versions::default(),
            families: Vec::new(),
            requests: Vec::new(),
            late: Vec::new(),
            api_is_down: false,
            pods: [pod.clone(), pod],
            begun: false,
            books: Shared::new(Books::default()),
        };
        match self.scenario.start {
            Start::Asked => {}
            Start::Consented => state.consent(true),
            Start::Living => {
                state.consent(true);
                state = self.first_pair(state);
            }
            Start::Renewed => {
                state.consent(true);
                state = self.first_pair(state);
                state.consent(true);
            }
        }
        // The two pods differ where their clocks do.
        state.begun = self.scenario.skew != [0, 0];
        state
    }

    /// Nothing goes wrong until the first pair is stored and published, and pod A has come to rest.
    fn first_pair(&self, mut state: State) -> State {
        while state.pods[0].doing != Doing::Idle || self.is_due(&state, 0) {
            let mut steps = Vec::new();
            self.steps_of(&state, 0, &mut steps);
            if let Some(request) = state.requests.first() {
                steps.insert(0, if request.answer.is_some() { Action::Deliver(0) } else { Action::Judge(0) });
            }
            state = self.next_state(&state, steps.remove(0)).expect("a step");
        }
        state
    }
}
