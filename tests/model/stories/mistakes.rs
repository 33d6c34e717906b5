//! That the model finds mistakes: each of these is put into the edge on purpose.

use crate::{
    explore::breaks,
    scenarios::{Budget, Mistakes, Scenario, Start},
};

#[test]
fn who_hangs_up_on_a_slow_server_loses_the_pair() {
    let budget = Budget { slow: 1, ..Budget::default() };
    let mistakes = Mistakes { hangs_up_early: true, ..Mistakes::default() };
    breaks(Scenario { mistakes, ..Scenario::new(Start::Living, 17, budget, &[]) }, "no family is orphaned");
}

#[test]
fn who_decides_on_a_cached_connection_sends_a_token_to_the_wrong_server() {
    let budget = Budget { consents: 1, switches: 1, ..Budget::default() };
    let mistakes = Mistakes { decides_on_cached_spec: true, ..Mistakes::default() };
    breaks(Scenario { mistakes, ..Scenario::new(Start::Consented, 12, budget, &[]) }, "I8");
}

#[test]
fn who_sleeps_through_an_outage_takes_a_claim_over_too_early() {
    let budget = Budget { outages: 1, ..Budget::default() };
    let mistakes = Mistakes { sleeps_through_outages: true, ..Mistakes::default() };
    breaks(Scenario { mistakes, ..Scenario::new(Start::Living, 20, budget, &[]) }, "I1");
}
