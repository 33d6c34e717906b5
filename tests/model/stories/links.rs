//! Scenarios with a consent by link: a code is sent once or never, whatever dies; what it buys is kept; and a human is told what became of it.

use crate::{
    explore::holds,
    scenarios::{Budget, Scenario, Start},
    world::books::Mark::{ByLink, CodeLost, FellBack, SecondProved},
};

#[test]
fn a_code_is_sent_once_whatever_dies() {
    let budget = Budget { visits: 2, crashes: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 12, budget, &[ByLink, CodeLost]);
    holds(quick, |quick| Scenario { budget: Budget { crashes: 2, slow: 2, ..quick.budget }, ..quick });
}

#[test]
fn a_code_is_sent_once_whatever_is_lost() {
    let budget = Budget { visits: 2, lost_requests: 1, lost_answers: 1, lost_writes: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 12, budget, &[ByLink]);
    holds(quick, |quick| Scenario { budget: Budget { resets: 1, throttles: 1, slow: 1, ..quick.budget }, ..quick });
}

/// A code goes twice only in one attempt, and only if the server did not look at it.
#[test]
fn a_code_whose_client_is_not_authenticated_is_sent_once_more() {
    let budget = Budget { visits: 1, unauthenticated: 2, crashes: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 10, budget, &[ByLink, FellBack, CodeLost]);
    holds(quick, |quick| Scenario { budget: Budget { lost_answers: 1, slow: 2, ..quick.budget }, ..quick });
}

/// Who thaws with what a code bought keeps it, unless a newer consent was proved meanwhile.
#[test]
fn what_a_code_bought_is_kept_however_late_it_comes() {
    let budget = Budget { visits: 1, consents: 1, freezes: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 7, budget, &[ByLink, CodeLost, SecondProved]);
    holds(quick, |quick| Scenario { budget: Budget { visits: 2, slow: 1, ..quick.budget }, horizon: 12, ..quick });
}

/// A grant that dies, a human by link, and another who puts a token into the initial grant.
#[test]
fn a_code_and_a_new_token_get_along() {
    let budget = Budget { visits: 1, consents: 1, revocations: 1, unsent: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[ByLink, SecondProved]);
    holds(quick, |quick| Scenario { budget: Budget { crashes: 1, slow: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_code_stays_with_its_server() {
    let budget = Budget { visits: 2, switches: 2, suspensions: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 6, budget, &[ByLink]);
    holds(quick, |quick| Scenario { budget: Budget { consents: 1, visits: 1, crashes: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_code_in_a_grant_that_is_deleted_costs_only_itself() {
    let budget = Budget { visits: 2, deletions: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 9, budget, &[ByLink]);
    holds(quick, |quick| Scenario { budget: Budget { deletions: 2, slow: 1, ..quick.budget }, ..quick });
}

/// A backup, from before the code came or while it waited, that is put back while what it buys is on its way.
#[test]
fn a_code_in_a_grant_that_is_put_back_costs_only_itself() {
    let budget = Budget { visits: 2, restores: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Asked, 9, budget, &[ByLink]);
    holds(quick, |quick| Scenario { budget: Budget { lost_writes: 1, slow: 1, ..quick.budget }, ..quick });
}
