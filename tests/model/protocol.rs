//! The model: what may happen next, and what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use pleo_operator::{
    api::Authentication,
    domain::{
        ledger::grant::Grant,
        snapshot::Snapshot,
        spec::{InitialGrantRef, ResolvedSpec},
    },
};
use stateright::{Model, Property};

use crate::{
    scenarios::Scenario,
    world::{
        books::{Fault, Mark},
        exchange::Fate,
        state::{Doing, State, UID},
        tokens::Side,
        users::Deed,
    },
};

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Time passes: a tick, or as much as it takes until somebody wakes up.
    Tick,
    /// Nobody will ever wake up, though there is something to do.
    NobodyWakes,
    /// A pass begins, or goes on with its next read.
    Look(usize),
    /// The pass decides.
    Decide(usize),
    /// It makes its decision true.
    Act(usize, Fate),
    /// It writes its claim.
    Claim(usize, Fate),
    /// It asks the fence and sends.
    Send(usize),
    /// The server cannot be connected to, or the lease was lost: nothing is sent.
    CannotSend(usize),
    /// It waits no longer for the answer.
    TimeOut(usize),
    /// It stores the outcome.
    Settle(usize, Fate),
    /// It stops trying to store a failure.
    GiveUp(usize),
    /// It dies; the next one of that pod begins.
    Crash(usize),
    /// It does nothing more for now.
    Freeze(usize),
    Thaw(usize),
    /// The server decides about a request.
    Judge(usize),
    /// It answers 429.
    Throttle(usize),
    Unauthenticate(usize),
    /// The introspection endpoint calls the token that is about to be claimed inactive.
    CalledInactive(usize),
    /// A request never arrives.
    LoseRequest(usize),
    /// The answer arrives.
    Deliver(usize),
    /// It never does.
    LoseAnswer(usize),
    /// The connection breaks, and the sender knows it.
    Reset(usize),
    /// A write that nobody has an answer to is applied.
    ApplyLate(usize),
    /// The API server cannot be reached by anybody.
    ApiDown,
    ApiUp,
    /// A cache learns of the spec as it is.
    Refresh(usize),
    Human(Deed),
}

/// A scenario, and what all its states have in common.
pub struct World {
    pub scenario: Scenario,
    pub spec: ResolvedSpec,
    /// What was found so far. The search goes on for a while after a discovery; only the first is the shortest.
    found: AtomicU32,
}

impl World {
    pub fn new(scenario: Scenario) -> Self {
        let spec = ResolvedSpec {
            uid: UID.into(),
            namespace: "finance".into(),
            name: "acme".into(),
            generation: 1,
            deleting: false,
            server: Ok(Side::Production.server()),
            authentication: Authentication::Auto,
            client_secret_name: "pleo-client".into(),
            scopes: Vec::new(),
            initial_grant: Some(InitialGrantRef {
                secret: "acme-grant".into(),
                key: "refresh_token".into(),
                keep: false,
            }),
            secret_name: "acme-token".into(),
            secret_labels: BTreeMap::new(),
            secret_annotations: BTreeMap::new(),
            refresh_before: None,
            retry_timeout: Duration::from_secs(72 * 3600),
            restart_targets: BTreeSet::new(),
            suspend: false,
            refresh_request: None,
        };
        Self { scenario, spec, found: AtomicU32::new(0) }
    }

    fn is_first(&self, bit: u16) -> bool {
        self.found.fetch_or(1 << bit, Ordering::Relaxed) & (1 << bit) == 0
    }

    fn is_free_of(&self, state: &State, fault: Fault) -> bool {
        !(state.books.faults.has(fault as u16) && self.is_first(fault as u16))
    }

    fn shows(&self, state: &State, mark: Mark) -> bool {
        state.books.marks.has(mark as u16) && self.is_first(16 + mark as u16)
    }
}

/// `always` of a fault, `sometimes` of a mark: by a name each.
macro_rules! properties {
    ($($name:literal => $expectation:ident($what:expr)),* $(,)?) => {
        vec![$(Property::$expectation($name, |world: &World, state| world.$expectation(state, $what))),*]
    };
}

impl World {
    fn always(&self, state: &State, fault: Fault) -> bool {
        self.is_free_of(state, fault)
    }

    fn sometimes(&self, state: &State, mark: Mark) -> bool {
        self.shows(state, mark)
    }
}

/// What must never be seen. The names are those of the crate's invariants.
fn invariants() -> Vec<Property<World>> {
    properties! {
        "I1: a token is not sent again, unless nobody who lives knows what became of it; and a code never" => always(Fault::SentAgain),
        "I1: no two requests of one family are in flight while the first sender waits" => always(Fault::TwoInFlight),
        "I1: nothing is sent while a request that was given up may still be at work" => always(Fault::SentTooSoon),
        "I1: every request is sent under a standing claim of its sender" => always(Fault::SentWithoutClaim),
        "I1: the ledger forgets no token that was adopted" => always(Fault::Forgotten),
        "I2: a pair that was received is stored, unless a newer one is" => always(Fault::PairDropped),
        "I3: a token that was refused is never sent again" => always(Fault::RefusedSentAgain),
        "I4: pods only ever get tokens of stored pairs" => always(Fault::NeverCommitted),
        "I4: what pods get never goes back" => always(Fault::WentBack),
        "I7: nobody falls asleep while there is something to do" => always(Fault::Stuck),
        "I8: a token is only sent to the server that it came from" => always(Fault::WrongServer),
        "I8: a token that a server accepted is only ever presented by its client" => always(Fault::WrongClient),
        "I9: a living pair gives way to a newer one, or to its refusal" => always(Fault::LiveGivenUp),
        "no family is killed without need" => always(Fault::Killed),
        "no family is orphaned without need" => always(Fault::Orphaned),
        "a pair that was lost on the way is not called the user's doing" => always(Fault::Misnamed),
    }
}

/// What shows that the model lives.
fn signs_of_life() -> Vec<(Mark, Property<World>)> {
    let marks = [
        Mark::TwoRotations,
        Mark::TakenOver,
        Mark::UnusedTakenOver,
        Mark::SecondProved,
        Mark::RefusedWiped,
        Mark::FoundStored,
        Mark::MadeAnew,
        Mark::Moved,
        Mark::FenceClosed,
        Mark::StoredLate,
        Mark::ByLink,
        Mark::CodeLost,
        Mark::ForAnotherClient,
        Mark::FellBack,
        Mark::NotPresented,
    ];
    let properties = properties! {
        "two rotations" => sometimes(Mark::TwoRotations),
        "a claim is taken over" => sometimes(Mark::TakenOver),
        "a claim that was never used is taken over" => sometimes(Mark::UnusedTakenOver),
        "a second consent is proved" => sometimes(Mark::SecondProved),
        "a refused pair is wiped" => sometimes(Mark::RefusedWiped),
        "a commit whose answer was lost is found to be stored" => sometimes(Mark::FoundStored),
        "a grant that was deleted or overwritten is made anew from what is in hand" => sometimes(Mark::MadeAnew),
        "a candidate follows the spec" => sometimes(Mark::Moved),
        "the fence is found closed" => sometimes(Mark::FenceClosed),
        "a pair is stored later than anybody waits for it" => sometimes(Mark::StoredLate),
        "a code brings a pair" => sometimes(Mark::ByLink),
        "a code is lost with its holder, and that is told" => sometimes(Mark::CodeLost),
        "a consent that the server refused from one client is proved by another" => sometimes(Mark::ForAnotherClient),
        "a client that is not authenticated is shown in the other way" => sometimes(Mark::FellBack),
        "a used token is reported lost and not presented" => sometimes(Mark::NotPresented),
    };
    marks.into_iter().zip(properties).collect()
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin_scenario()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for pod in 0..2 {
            if pod == 0 || state.begun {
                self.steps_of(state, pod, actions);
            }
        }
        for (index, request) in state.requests.iter().enumerate() {
            let left = &state.left;
            let may = |budget: u8, action| (budget > 0).then_some(action);
            if request.answer.is_some() {
                let thawed = state.awaited_by(request).is_none_or(|pod| !state.pods[pod].is_frozen);
                actions.extend(thawed.then_some(Action::Deliver(index)));
                actions.extend(may(left.lost_answers, Action::LoseAnswer(index)));
            } else {
                actions.push(Action::Judge(index));
                actions.extend(may(left.throttles, Action::Throttle(index)));
                actions.extend(may(left.unauthenticated, Action::Unauthenticate(index)));
                actions.extend(may(left.lost_requests, Action::LoseRequest(index)));
            }
        }
        if state.left.resets > 0 {
            let awaited =
                |index: &usize| state.awaited_by(&state.requests[*index]).is_some_and(|pod| !state.pods[pod].is_frozen);
            actions.extend((0..state.requests.len()).filter(awaited).map(Action::Reset));
        }
        actions.extend((0..state.late.len()).map(Action::ApplyLate));
        match state.api_is_down {
            true => actions.push(Action::ApiUp),
            false if state.left.outages > 0 => actions.push(Action::ApiDown),
            false => {}
        }
        actions.extend(state.deeds().into_iter().map(Action::Human));
        actions.extend(self.passing_of_time(state));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.pay(&action);
        match action {
            Action::Tick => self.tick(&mut state),
            Action::NobodyWakes => state.keep_books(|books| books.blame(Fault::Stuck)),
            Action::Look(pod) => {
                state.begun |= pod == 0;
                self.look(&mut state, pod);
            }
            Action::Decide(pod) => {
                let Doing::Looked(snapshot) = &before.pods[pod].doing else { return None };
                self.decide(&mut state, pod, Snapshot::clone(snapshot));
            }
            Action::Act(pod, fate) => self.act(&mut state, pod, fate),
            Action::Claim(pod, fate) => self.claim(&mut state, pod, fate),
            Action::Send(pod) => self.send(&mut state, pod, true),
            Action::CannotSend(pod) => self.send(&mut state, pod, false),
            Action::TimeOut(pod) => self.time_out(&mut state, pod),
            Action::Settle(pod, fate) => self.settle(&mut state, pod, fate),
            Action::GiveUp(pod) => self.gives_up(&mut state, pod),
            Action::Crash(pod) => state.crash(pod),
            Action::Freeze(pod) => state.change(pod, |pod| pod.is_frozen = true),
            Action::Thaw(pod) => state.change(pod, |pod| pod.is_frozen = false),
            Action::Judge(index) => state.judge(index),
            Action::Throttle(index) => state.throttle(index),
            Action::Unauthenticate(index) => state.unauthenticate(index),
            Action::CalledInactive(pod) => self.called_inactive(&mut state, pod),
            Action::LoseRequest(index) => drop(state.requests.remove(index)),
            Action::Deliver(index) => self.deliver(&mut state, index),
            Action::LoseAnswer(index) => state.lose_answer(index),
            Action::Reset(index) => self.reset(&mut state, index),
            Action::ApplyLate(index) => {
                let late = state.late.remove(index);
                self.store(&mut state, Grant::clone(&late.grant), late.replaces);
            }
            Action::ApiDown => self.goes_down(&mut state),
            Action::ApiUp => state.api_is_down = false,
            Action::Refresh(pod) => {
                let spec = state.spec;
                state.change(pod, |pod| pod.cached = Some(spec));
            }
            Action::Human(deed) => state.does(deed),
        }
        state.look_for_orphans();
        Some(state)
    }

    /// Two pods whose clocks differ may argue for ever over whether a token has expired.
    fn within_boundary(&self, state: &State) -> bool {
        state.versions.token <= 9
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let promised = signs_of_life().into_iter().filter(|(mark, _)| self.scenario.promises.contains(mark));
        invariants().into_iter().chain(promised.map(|(_, property)| property)).collect()
    }
}
