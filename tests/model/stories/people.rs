//! Scenarios with people and their tools: they consent anew, put old tokens back, edit the spec, delete the grant, and bring a
//! backup of it back.

use crate::{
    explore::holds,
    scenarios::{Budget, Scenario, Start},
    world::books::Mark::{ForAnotherClient, MadeAnew, Moved, RefusedWiped, SecondProved, TakenOver, TwoRotations},
};

#[test]
fn a_bad_consent_never_costs_a_good_one_and_an_old_one_is_never_sent_again() {
    let budget = Budget { consents: 1, bad_consents: 1, put_backs: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 9, budget, &[SecondProved]);
    holds(quick, |quick| Scenario { budget: Budget { put_backs: 2, slow: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_revoked_authorization_is_wiped_and_a_new_consent_heals() {
    let budget = Budget { consents: 1, revocations: 1, put_backs: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 10, budget, &[SecondProved, RefusedWiped]);
    holds(quick, |quick| Scenario { budget: Budget { slow: 2, lost_writes: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_token_stays_with_its_server() {
    let budget = Budget { consents: 1, switches: 2, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 6, budget, &[SecondProved, Moved]);
    holds(quick, |quick| Scenario { horizon: 12, budget: Budget { crashes: 1, ..quick.budget }, ..quick });
}

/// Also where nobody knows whether that server got to see it.
#[test]
fn a_token_that_may_be_spent_stays_with_its_server() {
    let budget = Budget { switches: 1, crashes: 1, unsent: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 6, budget, &[TakenOver, Moved]);
    holds(quick, |quick| Scenario { budget: Budget { switches: 2, resets: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_token_that_a_server_refused_is_not_sent_there_again() {
    let budget = Budget { switches: 3, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 3, budget, &[Moved]);
    holds(quick, |quick| Scenario { budget: Budget { switches: 4, put_backs: 1, ..quick.budget }, ..quick });
}

/// A tool puts the older of two tokens back, where the spec points to and fro.
#[test]
fn a_token_that_follows_the_spec_gives_way_to_a_newer_one() {
    let budget = Budget { consents: 1, put_backs: 1, switches: 2, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 4, budget, &[SecondProved, Moved]);
    holds(quick, |quick| Scenario { budget: Budget { unsent: 1, slow: 1, ..quick.budget }, horizon: 6, ..quick });
}

/// Whatever the client Secret says meanwhile: what a server gave to a client goes back there in its name alone.
#[test]
fn a_token_stays_with_its_client() {
    let budget = Budget { consents: 1, client_switches: 2, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[SecondProved, TwoRotations]);
    holds(quick, |quick| Scenario { budget: Budget { crashes: 1, slow: 1, ..quick.budget }, ..quick });
}

/// A consent is refused from the wrong client, as from one that somebody mistyped: that costs nothing.
#[test]
fn a_consent_that_the_wrong_client_presented_is_not_lost() {
    let budget = Budget { client_switches: 2, unsent: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 6, budget, &[ForAnotherClient]);
    holds(quick, |quick| Scenario {
        budget: Budget { client_switches: 3, put_backs: 1, crashes: 1, ..quick.budget },
        ..quick
    });
}

/// Also where nobody knows what became of a request.
#[test]
fn a_token_that_may_be_a_clients_stays_with_it() {
    let budget = Budget { client_switches: 1, crashes: 1, lost_answers: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 9, budget, &[TakenOver]);
    holds(quick, |quick| Scenario { budget: Budget { client_switches: 2, resets: 1, ..quick.budget }, ..quick });
}

/// The grant is deleted while a pair is on its way, and an old consent that a tool puts back is adopted and refused.
#[test]
fn a_consent_that_is_refused_does_not_supersede_a_pair_in_hand() {
    let budget = Budget { deletions: 1, put_backs: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Renewed, 5, budget, &[MadeAnew]);
    holds(quick, |quick| Scenario {
        budget: Budget { deletions: 2, lost_writes: 1, ..quick.budget },
        horizon: 9,
        ..quick
    });
}

#[test]
fn nothing_is_lost_while_a_connection_is_suspended_and_moved() {
    let budget = Budget { switches: 1, suspensions: 2, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 12, budget, &[Moved]);
    holds(quick, |quick| Scenario { budget: Budget { consents: 1, ..quick.budget }, ..quick });
}

#[test]
fn a_grant_that_is_deleted_is_made_anew_from_what_is_in_hand() {
    let budget = Budget { consents: 1, deletions: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[SecondProved, MadeAnew]);
    holds(quick, |quick| Scenario {
        budget: Budget { slow: 1, deletions: 2, lost_writes: 1, ..quick.budget },
        ..quick
    });
}

#[test]
fn a_backup_that_is_put_back_is_never_sent() {
    let budget = Budget { restores: 1, slow: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 17, budget, &[MadeAnew]);
    holds(quick, |quick| Scenario { budget: Budget { consents: 1, ..quick.budget }, ..quick });
}

/// A crash, a lost answer and a new consent at once.
#[test]
fn a_new_consent_in_the_middle_of_trouble_is_not_lost() {
    let budget = Budget { consents: 1, crashes: 1, lost_answers: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Living, 12, budget, &[SecondProved]);
    holds(quick, |quick| Scenario {
        budget: Budget { freezes: 1, lost_writes: 1, ..quick.budget },
        horizon: 16,
        ..quick
    });
}

/// Who thaws with the pair of an older consent in his hands gives way to a newer one that is proved, and to no other.
#[test]
fn a_pair_that_comes_late_gives_way_to_a_newer_consent_that_is_proved() {
    let budget = Budget { consents: 1, freezes: 1, ..Budget::default() };
    let quick = Scenario::new(Start::Consented, 6, budget, &[TakenOver, SecondProved]);
    holds(quick, |quick| Scenario { horizon: 7, budget: Budget { freezes: 1, ..quick.budget }, ..quick });
}
