//! How a server is treated that throttles, does not answer, or rejects token after token.

use std::time::Duration;

use pleo_operator::domain::governor::{Governor, ServerState, Shown};
use proptest::prelude::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One request of this connection, from its beginning to its end.
fn request(governor: &mut Governor, connection: u32, shown: Shown, now: u64) {
    governor.enter();
    governor.note(&format!("uid-{connection}"), shown, at(now));
    governor.leave();
}

/// A server that is known to have many connections.
fn well_known() -> Governor {
    let mut governor = Governor::new(5);
    (0..6).for_each(|connection| request(&mut governor, connection, Shown::Success, 0));
    governor
}

fn rejecting(connections: u32) -> Governor {
    let mut governor = well_known();
    (0..connections).for_each(|connection| request(&mut governor, connection, Shown::Rejected, 0));
    governor
}

/// How many can be sent at once.
fn room(governor: &Governor, now: u64) -> usize {
    let mut governor = governor.clone();
    let before = governor.in_flight();
    while governor.is_open(at(now)) && governor.in_flight() < 1000 {
        governor.enter();
    }
    governor.in_flight() - before
}

#[test]
fn five_rejections_hold_all_other_tokens() {
    assert_eq!(rejecting(4).state(), ServerState::Healthy);
    let refusing = rejecting(5);
    assert_eq!(
        (refusing.state(), refusing.is_open(at(59)), refusing.is_open(at(60))),
        (ServerState::Refusing, false, true)
    );
}

#[test]
fn fewer_are_sent_at_once_the_less_is_left_of_the_budget() {
    let rooms: Vec<usize> = (0..5).map(|rejections| room(&rejecting(rejections), 0)).collect();
    assert_eq!(rooms, [16, 16, 3, 2, 1]);
}

#[test]
fn one_in_ten_may_be_rejected_for_ever() {
    let mut governor = well_known();
    for round in 0..100 {
        request(&mut governor, round, Shown::Rejected, u64::from(round));
        (0..10).for_each(|other| request(&mut governor, 1000 + other, Shown::Success, u64::from(round)));
    }
    assert_eq!(governor.state(), ServerState::Healthy);
}

#[test]
fn a_server_with_few_connections_is_never_held_for_its_rejections() {
    let mut governor = Governor::new(5);
    (0..100).for_each(|round| request(&mut governor, round % 5, Shown::Rejected, u64::from(round) * 700));
    assert_eq!(governor.state(), ServerState::Healthy);
}

#[test]
fn zero_takes_any_number_of_rejections() {
    let mut governor = Governor::new(0);
    (0..100).for_each(|connection| request(&mut governor, connection, Shown::Rejected, 0));
    assert_eq!((governor.state(), room(&governor, 0)), (ServerState::Healthy, 16));
}

#[test]
fn a_server_that_refuses_is_probed_ever_more_rarely_with_one_token() {
    let mut governor = rejecting(5);
    let (mut now, mut waits) = (0, Vec::new());
    for probe in 0..6 {
        let opens_at = governor.opens_at().unwrap().as_secs();
        waits.push((opens_at - now) / 60);
        now = opens_at;
        assert_eq!(room(&governor, now), 1);
        request(&mut governor, 100 + probe, Shown::Rejected, now);
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
}

#[test]
fn what_was_sent_before_or_is_asked_for_delays_no_probe() {
    let mut refusing = rejecting(5);
    (10..21).for_each(|connection| request(&mut refusing, connection, Shown::Rejected, 0));
    request(&mut refusing, 30, Shown::Unanswered, 30);
    assert_eq!(refusing.opens_at(), Some(at(60)));
    let mut failing = well_known();
    (0..16).for_each(|connection| request(&mut failing, connection, Shown::Unreached, 0));
    assert_eq!(failing.opens_at(), Some(at(5)));
    let mut throttled = well_known();
    (0..16).for_each(|connection| request(&mut throttled, connection, Shown::Throttled(None), 0));
    assert_eq!(throttled.opens_at(), Some(at(1)));
}

#[test]
fn what_an_earlier_process_met_has_one_token_sent_at_a_time_and_holds_none() {
    let mut governor = Governor::new(5);
    (0..10).for_each(|connection| {
        governor.note_connection(&format!("uid-{connection}"));
        governor.note_earlier_rejection(&format!("uid-{connection}"), at(0));
    });
    assert_eq!((governor.state(), room(&governor, 0)), (ServerState::Healthy, 1));
    request(&mut governor, 100, Shown::Rejected, 1);
    assert_eq!(governor.state(), ServerState::Refusing);
}

#[test]
fn one_success_opens_it_again_for_one_at_a_time() {
    let mut governor = rejecting(5);
    request(&mut governor, 100, Shown::Success, 60);
    assert_eq!((governor.state(), room(&governor, 60)), (ServerState::Healthy, 1));
    (0..40).for_each(|connection| request(&mut governor, connection, Shown::Success, 61));
    assert_eq!(room(&governor, 61), 16);
    let mut again = rejecting(5);
    request(&mut again, 100, Shown::Success, 60);
    (100..102).for_each(|connection| request(&mut again, connection, Shown::Rejected, 61));
    assert_eq!(again.state(), ServerState::Refusing);
}

#[test]
fn a_new_authorization_shows_nothing_of_the_others() {
    let mut governor = rejecting(5);
    request(&mut governor, 100, Shown::Answered, 60);
    assert_eq!(governor.state(), ServerState::Refusing);
}

#[test]
fn a_connection_counts_once_in_ten_minutes() {
    let mut governor = well_known();
    (0..100).for_each(|round| request(&mut governor, 1, Shown::Rejected, round));
    assert_eq!((governor.state(), governor.rejected(at(100))), (ServerState::Healthy, 1));
}

#[test]
fn five_without_an_answer_in_a_row_mean_that_the_server_is_down() {
    let unanswered = |connections: [u32; 5]| {
        let mut governor = well_known();
        connections.into_iter().for_each(|connection| request(&mut governor, connection, Shown::Unanswered, 0));
        governor.state()
    };
    assert_eq!(unanswered([1, 2, 3, 1, 2]), ServerState::Failing);
    assert_eq!(unanswered([1, 2, 1, 2, 1]), ServerState::Healthy, "two connections alone may be the reason");
}

#[test]
fn a_server_that_is_down_is_asked_once_a_minute_and_opens_after_two_successes() {
    let mut governor = well_known();
    (0..5).for_each(|connection| request(&mut governor, connection, Shown::Unreached, 0));
    let mut now = 0;
    let waits: Vec<u64> = (0..6)
        .map(|connection| {
            let opens_at = governor.opens_at().unwrap().as_secs();
            let wait = opens_at - now;
            now = opens_at;
            assert_eq!((room(&governor, now - 1), room(&governor, now)), (0, 1));
            request(&mut governor, connection, Shown::Unreached, now);
            wait
        })
        .collect();
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    now += 60;
    request(&mut governor, 1, Shown::Success, now);
    assert_eq!((governor.state(), room(&governor, now)), (ServerState::Failing, 1));
    request(&mut governor, 2, Shown::Success, now);
    assert_eq!((governor.state(), room(&governor, now)), (ServerState::Healthy, 2));
}

#[test]
fn after_an_answer_that_was_lost_the_tokens_in_doubt_have_time_to_settle() {
    let mut governor = well_known();
    (0..5).for_each(|connection| request(&mut governor, connection, Shown::Unanswered, 0));
    assert_eq!(governor.opens_at(), Some(at(31)));
}

#[test]
fn two_throttled_connections_have_all_wait_for_the_second_longest_time() {
    let mut governor = well_known();
    request(&mut governor, 1, Shown::Throttled(Some(at(900))), 0);
    assert_eq!(governor.state(), ServerState::Healthy, "one alone may have its own limit");
    request(&mut governor, 2, Shown::Throttled(Some(at(30))), 5);
    assert_eq!((governor.state(), governor.is_open(at(34)), room(&governor, 35)), (ServerState::Throttled, false, 8));
    request(&mut governor, 3, Shown::Success, 36);
    assert_eq!(governor.state(), ServerState::Healthy);
}

proptest! {
    /// The brake: however a server mixes its answers, what it rejects is bounded by the budget, what was in flight, and one in ten.
    #[test]
    fn what_a_bad_day_costs_is_bounded(day in proptest::collection::vec((0..3_u8, 1..20_usize), 1..200)) {
        let mut governor = well_known();
        let (mut rejected, mut successes, mut opened, mut uid, mut now) = (0_u32, 0_u32, 0_u32, 100, 0);
        for (answer, wanted) in day {
            now += 1;
            let sent = room(&governor, now).min(wanted);
            (0..sent).for_each(|_| governor.enter());
            for _ in 0..sent {
                let was = governor.state();
                uid += 1;
                let shown = match answer {
                    0 => { rejected += 1; Shown::Rejected }
                    1 => { successes += 1; Shown::Success }
                    _ => Shown::Unanswered,
                };
                governor.note(&format!("uid-{uid}"), shown, at(now));
                governor.leave();
                opened += u32::from(was == ServerState::Refusing && governor.state() == ServerState::Healthy);
            }
        }
        let probes = u32::try_from(now / 60).unwrap() + 1;
        // The first round may have all that was in flight; each time that it opens, one more and what that brings.
        prop_assert!(rejected <= 5 + 16 + successes / 10 + 2 * opened + probes, "{rejected} rejected, {successes} successes, {opened} opened");
    }
}
