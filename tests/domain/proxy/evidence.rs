//! A 401 is evidence, not proof.

use super::*;

#[test]
fn a_call_that_was_sent_with_an_old_token_is_sent_with_the_new_one() {
    let mut stage = Stage::ready();
    let mut call = stage.sent("POST /a");
    stage.token("second", 200_000, 220_000);
    stage.unauthorized(&mut call);
    assert_eq!(stage.ask(&mut call), "send second");
    assert_eq!(stage.state(), State::Ready);
}

/// It was sent just before the window, and is answered within it.
#[test]
fn a_token_that_was_due_for_a_refresh_counts_as_refreshed() {
    let mut stage = Stage::ready();
    let mut ours = stage.at(REFRESH - 300).sent("POST /a");
    let mut other = stage.sent("POST /b");
    stage.succeeds(&mut other);
    stage.at(REFRESH + 50).unauthorized(&mut ours);
    assert!(stage.ask(&mut ours).starts_with("wait"));
    assert_eq!(stage.state(), State::Rejected);
    let mut call = stage.call("GET /a");
    assert_eq!(stage.ask(&mut call), "wait until 103050", "the new token comes in a moment");
    stage.token("second", 200_000, 220_000);
    assert_eq!(stage.ask(&mut ours), "send second");
}

/// The refresh came unplanned: a user asked for it.
#[test]
fn what_has_worked_with_this_token_and_does_not_any_more_shows_that_it_is_invalid() {
    let mut stage = Stage::ready();
    let mut before = stage.sent("GET /a");
    stage.succeeds(&mut before);
    let mut call = stage.at(10).sent("GET /a");
    stage.unauthorized(&mut call);
    assert!(stage.ask(&mut call).starts_with("wait"));
    assert_eq!(stage.state(), State::Rejected);
}

#[test]
fn an_endpoint_that_always_answers_401_holds_up_no_one() {
    let mut stage = Stage::ready();
    let mut good = stage.sent("GET /good");
    stage.succeeds(&mut good);
    for n in 1..20 {
        let mut bad = stage.at(n * 100).sent("GET /bad");
        stage.invalid_token(&mut bad);
        assert!(stage.ask(&mut bad).starts_with("wait"), "until another call shows more");
        let mut good = stage.at(n * 100 + 10).sent("GET /good");
        assert!(stage.succeeds(&mut good), "it does");
        assert_eq!(stage.ask(&mut bad), "the server's own 401");
        assert_eq!(stage.state(), State::Ready);
    }
}

/// Nothing speaks for the token, so one more call tries it, at once.
#[test]
fn without_other_traffic_the_next_call_shows_whose_401_it_was() {
    let mut stage = Stage::ready();
    let mut bad = stage.sent("GET /bad");
    stage.invalid_token(&mut bad);
    assert!(stage.ask(&mut bad).starts_with("wait"));
    assert_eq!(stage.state(), State::Rejected);
    let mut good = stage.at(500).sent("GET /good");
    stage.succeeds(&mut good);
    assert_eq!((stage.state(), stage.ask(&mut bad)), (State::Ready, "the server's own 401".to_owned()));
}

#[test]
fn an_unexplained_401_waits_two_seconds_for_other_evidence() {
    let mut stage = Stage::ready();
    let mut alone = stage.sent("GET /a");
    stage.unauthorized(&mut alone);
    assert_eq!(stage.ask(&mut alone), "wait until 2000");
    stage.at(2000);
    assert_eq!(stage.ask(&mut alone), "wait until 7000", "another call tries the token now");
    assert_eq!(stage.state(), State::Rejected);

    let mut stage = Stage::ready();
    let mut before = stage.sent("GET /b");
    stage.succeeds(&mut before);
    let mut after = stage.at(1000).sent("GET /a");
    stage.unauthorized(&mut after);
    assert_eq!(stage.ask(&mut after), "wait until 3000");
    stage.at(3000);
    assert_eq!(stage.ask(&mut after), "the server's own 401", "the token worked a moment before");
}

/// Each call has a path of its own, and the authorization was revoked a moment after the last success.
#[test]
fn where_nothing_but_401_comes_for_two_seconds_a_success_before_says_nothing() {
    let mut stage = Stage::ready();
    let mut before = stage.sent("GET /calls/1");
    stage.succeeds(&mut before);
    let mut calls: Vec<Call> = (2..5).map(|n| stage.at(n * 20).sent(&format!("GET /calls/{n}"))).collect();
    for call in &mut calls {
        stage.invalid_token(call);
        assert!(stage.ask(call).starts_with("wait"));
    }
    stage.at(2080);
    for call in &mut calls {
        assert!(stage.ask(call).starts_with("wait"), "no client gets a 401");
    }
    assert_eq!(stage.state(), State::Rejected);
}

/// A client that waits for less than two seconds, again and again.
#[test]
fn a_token_is_rejected_also_where_no_client_waits_for_the_verdict() {
    let mut stage = Stage::ready();
    let mut first = stage.sent("GET /a");
    stage.unauthorized(&mut first);
    assert_eq!(stage.ask(&mut first), "wait until 2000");
    stage.gate.leave(first.id, moment(1000));
    let mut next = stage.at(5000).sent("GET /a");
    stage.unauthorized(&mut next);
    assert!(stage.ask(&mut next).starts_with("wait"));
    assert_eq!(stage.state(), State::Rejected);
}

#[test]
fn two_endpoints_that_reject_it_one_after_the_other_show_that_it_is_invalid() {
    let mut stage = Stage::ready();
    let (mut one, mut other) = (stage.sent("GET /a"), stage.sent("GET /b"));
    stage.unauthorized(&mut one);
    assert_eq!(stage.ask(&mut one), "wait until 2000");
    stage.unauthorized(&mut other);
    assert!(stage.ask(&mut other).starts_with("wait"));
    assert_eq!(stage.state(), State::Rejected);
    assert_eq!(stage.ask(&mut one), "wait until 5000");
}

/// Two tokens: it rejects the client, not the token.
#[test]
fn what_answers_401_to_two_tokens_is_left_alone_for_ten_minutes() {
    let mut stage = Stage::ready();
    let mut call = stage.sent("GET /forbidden");
    stage.token("second", 2_000_000, 2_200_000);
    stage.unauthorized(&mut call);
    assert_eq!(stage.ask(&mut call), "send second");
    stage.unauthorized(&mut call);
    assert_eq!(stage.ask(&mut call), "the server's own 401");
    let mut again = stage.at(600_000 - 1).sent("GET /forbidden");
    stage.invalid_token(&mut again);
    assert_eq!(stage.ask(&mut again), "the server's own 401");
    let mut later = stage.at(600_000).sent("GET /forbidden");
    stage.invalid_token(&mut later);
    assert!(stage.ask(&mut later).starts_with("wait"));
}

/// The paths of one endpoint differ by an id: beside good calls, they speak for no one but themselves.
#[test]
fn a_forbidden_endpoint_with_many_paths_holds_up_no_one() {
    let mut stage = Stage::ready();
    for n in 0..30 {
        let mut good = stage.at(n * 100).sent("GET /good");
        assert!(stage.succeeds(&mut good));
        let mut first = stage.sent(&format!("GET /employees/{n}/salary"));
        let mut second = stage.sent(&format!("GET /employees/{n}/bonus"));
        for call in [&mut first, &mut second] {
            stage.invalid_token(call);
            assert!(stage.ask(call).starts_with("wait"));
        }
        let mut good = stage.at(n * 100 + 10).sent("GET /good");
        stage.succeeds(&mut good);
        for call in [&mut first, &mut second] {
            assert_eq!(stage.ask(call), "the server's own 401");
        }
        assert_eq!(stage.state(), State::Ready);
    }
}

/// A success counts whoever brings it, if it was sent after the token counted as rejected.
#[test]
fn a_slow_success_ends_a_mistake() {
    let mut stage = Stage::rejected();
    let mut slow = stage.at(100).sent("GET /slow");
    stage.at(5200).gate.note_trouble(moment(5200));
    assert_eq!(stage.state(), State::Rejected, "the probe took too long");
    stage.at(6000).succeeds(&mut slow);
    assert_eq!(stage.state(), State::Ready);
}

/// The mistake of a moment does not spoil the refresh that is planned for later.
#[test]
fn after_a_mistake_calls_still_wait_for_the_planned_refresh() {
    let mut stage = Stage::rejected();
    let mut probe = stage.at(100).sent("GET /c");
    stage.succeeds(&mut probe);
    assert_eq!(stage.state(), State::Ready);
    assert_eq!(stage.at(REFRESH).state(), State::RefreshDue);
}
