//! Scenarios with machines: they crash, freeze, lose messages, are slow, and have clocks that are wrong.

use crate::{
    explore::holds,
    scenarios::{Budget, Scenario, Start},
    world::books::Mark::{
        FellBack, FenceClosed, FoundStored, NotPresented, RefusedWiped, StoredLate, TakenOver, TwoRotations,
        UnusedTakenOver,
    },
};

#[test]
fn nothing_is_lost_when_nothing_goes_wrong() {
    let budget = Budget { idle: 2, slow: 3, ..Budget::default() };
    holds(Scenario::new(Start::Consented, 20, budget, &[TwoRotations]), |quick| Scenario { horizon: 40, ..quick });
}

/// Also where another process steps in between any two reads, or between a claim and its write.
#[test]
fn nothing_is_lost_between_two_reads() {
    let budget = Budget { slow: 1, ..Budget::default() };
    let quick = Scenario { fine: true, ..Scenario::new(Start::Consented, 9, budget, &[]) };
    holds(quick, |quick| Scenario { horizon: 20, ..quick });
}

#[test]
fn a_crash_costs_at_most_the_pair_in_its_hands() {
    let budget = Budget { crashes: 2, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[TakenOver, RefusedWiped, TwoRotations]);
    holds(quick, |quick| Scenario { budget: Budget { crashes: 3, slow: 3, ..quick.budget }, ..quick });
}

#[test]
fn a_bad_network_costs_at_most_the_answer_that_it_loses() {
    let budget = Budget { lost_requests: 1, lost_answers: 1, resets: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[RefusedWiped, TwoRotations]);
    holds(quick, |quick| Scenario { budget: Budget { slow: 3, ..quick.budget }, horizon: 20, ..quick });
}

#[test]
fn what_was_surely_not_spent_is_sent_again_and_nothing_is_lost() {
    let budget = Budget { throttles: 1, unsent: 2, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[TwoRotations]);
    holds(quick, |quick| Scenario { budget: Budget { throttles: 2, slow: 3, ..quick.budget }, horizon: 20, ..quick });
}

/// I2, I3: the endpoint says that a token is used while the pair that it brought may still be in somebody's hands: a pair that is
/// stored late wins, and the token is not presented.
#[test]
fn a_token_that_is_called_inactive_is_not_presented_and_a_late_pair_wins() {
    let budget = Budget { introspections: 2, crashes: 1, lost_answers: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 24, budget, &[NotPresented, TakenOver]);
    holds(quick, |quick| Scenario {
        budget: Budget { consents: 1, lost_writes: 1, slow: 2, ..quick.budget },
        horizon: 28,
        ..quick
    });
}

/// A client may report the token at any moment, and lie: it is refreshed early, and that costs nothing that a refresh does not.
#[test]
fn a_report_at_any_moment_costs_at_most_what_a_refresh_may() {
    let budget = Budget { reports: 2, crashes: 1, lost_answers: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[TwoRotations, TakenOver]);
    holds(quick, |quick| Scenario {
        budget: Budget { consents: 1, freezes: 1, slow: 2, ..quick.budget },
        horizon: 17,
        ..quick
    });
}

/// I1: two requests in one attempt, each looked at by the server or not, whoever dies between them.
#[test]
fn a_client_that_is_not_authenticated_is_shown_in_the_other_way() {
    let budget = Budget { unauthenticated: 2, crashes: 1, lost_answers: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 12, budget, &[FellBack, TakenOver]);
    holds(quick, |quick| Scenario {
        budget: Budget { unauthenticated: 3, crashes: 2, slow: 2, ..quick.budget },
        horizon: 16,
        ..quick
    });
}

#[test]
fn a_write_without_an_answer_costs_nothing() {
    let budget = Budget { lost_writes: 2, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[FoundStored, UnusedTakenOver, TwoRotations]);
    holds(quick, |quick| Scenario { budget: Budget { lost_writes: 3, slow: 3, ..quick.budget }, ..quick });
}

/// One that is frozen with a pair in its hands for longer than anybody waits loses it; nobody else does.
#[test]
fn a_freeze_costs_nothing_as_long_as_others_wait() {
    let budget = Budget { freezes: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[TakenOver, FenceClosed, StoredLate]);
    holds(quick, |quick| Scenario { budget: Budget { freezes: 2, slow: 1, ..quick.budget }, ..quick });
}

/// What a process has read grows old, and so does a claim that it has made and not yet written.
#[test]
fn a_freeze_between_two_reads_costs_nothing() {
    let budget = Budget { freezes: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 14, budget, &[TakenOver, FenceClosed]);
    let quick = Scenario { fine: true, looks_grow_old: true, ..quick };
    holds(quick, |quick| Scenario { horizon: 17, ..quick });
}

/// However long it lasts: who holds a pair keeps it, and who waits for a claim begins to wait anew.
#[test]
fn an_outage_of_the_api_server_costs_nothing() {
    let budget = Budget { outages: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 20, budget, &[StoredLate]);
    holds(quick, |quick| Scenario { budget: Budget { outages: 2, slow: 2, crashes: 1, ..quick.budget }, ..quick });
}

#[test]
fn clocks_that_are_apart_cost_nothing_but_rotations_before_their_time() {
    let budget = Budget { crashes: 1, slow: 1, resets: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[TakenOver, TwoRotations]);
    holds(Scenario { skew: [0, 40], ..quick }, |quick| Scenario { skew: [0, -600], horizon: 20, ..quick });
}

/// As long as the token that pods have is good, five minutes at most.
#[test]
fn a_claim_is_waited_for_while_the_old_token_is_good() {
    let budget = Budget { freezes: 1, ..Budget::default() };
    let quick = Scenario { life: 300, ..Scenario::new(Start::Renewed, 22, budget, &[StoredLate, TakenOver]) };
    holds(quick, |quick| Scenario { life: 600, horizon: 30, budget: Budget { crashes: 1, ..quick.budget }, ..quick });
}
