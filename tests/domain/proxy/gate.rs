//! When a call leaves, when it waits, and what it is told when it waited in vain.

use super::*;

#[test]
fn before_there_is_a_token_calls_wait_as_long_as_they_may() {
    let mut stage = Stage::empty();
    stage.without_token(TokenState::Pending);
    let mut call = stage.call("GET /a");
    assert_eq!(stage.ask(&mut call), "wait until 30000");
    stage.at(30_000);
    assert_eq!(stage.ask(&mut call), unavailable(Unavailable::NotReady));

    stage.at(31_000).token("first", 200_000, 220_000);
    assert_eq!(stage.ask(&mut call), "send first");
}

#[test]
fn calls_wait_while_a_refresh_is_planned_and_leave_with_the_new_token() {
    let mut stage = Stage::ready();
    let mut before = stage.at(REFRESH - 251).call("GET /a");
    assert_eq!(stage.ask(&mut before), "send first");
    let mut during = stage.at(REFRESH - 250).call("GET /a");
    assert_eq!((stage.state(), stage.ask(&mut during)), (State::RefreshDue, "wait until 103000".to_owned()));
    stage.at(REFRESH + 200).token("second", 200_000, 220_000);
    assert_eq!((stage.state(), stage.ask(&mut during)), (State::Ready, "send second".to_owned()));
}

/// The refresh did not come: the operator is down, or its server is.
#[test]
fn after_the_window_one_call_tries_the_old_token_for_all_that_wait() {
    let mut stage = Stage::ready();
    stage.at(REFRESH);
    let (mut first, mut second) = (stage.call("GET /a"), stage.call("GET /b"));
    for call in [&mut first, &mut second] {
        assert_eq!(stage.ask(call), "wait until 103000");
    }
    stage.at(REFRESH + 3000);
    assert_eq!(stage.ask(&mut second), "wait until 108000", "it is not the first");
    assert_eq!(stage.ask(&mut first), "send first");
    assert_eq!((stage.state(), stage.ask(&mut second)), (State::Probing, "wait until 108000".to_owned()));
    assert!(stage.succeeds(&mut first), "the others ask again");
    assert_eq!((stage.state(), stage.ask(&mut second)), (State::Ready, "send first".to_owned()));
    stage.at(REFRESH + 3500).sent("GET /c");
}

#[test]
fn after_a_window_in_which_no_one_called_there_is_nothing_to_wait_for() {
    let mut stage = Stage::ready();
    stage.at(REFRESH + 3000).sent("GET /a");
    stage.sent("GET /b");
}

/// A probe that fails for other reasons says nothing against the token.
#[test]
fn whatever_but_a_401_ends_the_window() {
    for ends in [Stage::fails as fn(&mut Stage, &mut Call) -> bool, Stage::succeeds] {
        let mut stage = Stage::ready();
        let (mut first, mut second) = (stage.call("GET /a"), stage.call("GET /b"));
        stage.at(REFRESH);
        stage.ask(&mut first);
        stage.at(REFRESH + 3000);
        assert_eq!(stage.ask(&mut first), "send first");
        assert!(ends(&mut stage, &mut first));
        assert_eq!(stage.ask(&mut second), "send first");
    }
}

#[test]
fn a_probe_that_hangs_or_whose_client_is_gone_is_over() {
    let mut stage = Stage::ready();
    let (mut first, mut second) = (stage.call("GET /a"), stage.call("GET /b"));
    stage.at(REFRESH);
    stage.ask(&mut first);
    stage.ask(&mut second);
    stage.at(REFRESH + 3000);
    assert_eq!(stage.ask(&mut first), "send first");
    assert_eq!(stage.ask(&mut second), "wait until 108000");
    stage.at(REFRESH + 8000);
    assert_eq!(stage.ask(&mut second), "send first", "five seconds are over");

    let mut stage = Stage::rejected();
    let mut probe = stage.call("GET /c");
    assert_eq!(stage.ask(&mut probe), "send first");
    assert!(stage.gate.leave(probe.id, moment(stage.now)));
    assert_eq!(stage.state(), State::Rejected);
}

/// Two at once, of different routes; then after 15 s, doubled.
#[test]
fn a_rejected_token_is_tried_ever_more_rarely_and_by_one_call_at_a_time() {
    let mut stage = Stage::rejected();
    for (wait, route) in [(0, "GET /c"), (0, "GET /d"), (15, "GET /c"), (30, "GET /c"), (60, "GET /c"), (120, "GET /c")]
    {
        let at = stage.now + wait * 1000;
        if wait > 0 {
            let mut early = stage.at(at - 1).call("GET /early");
            assert!(stage.ask(&mut early).starts_with("wait"), "{wait}");
            stage.gate.leave(early.id, moment(stage.now));
        }
        let mut probe = stage.at(at).call(route);
        assert_eq!(stage.ask(&mut probe), "send first", "after {wait} s");
        let mut other = stage.call("GET /other");
        assert!(stage.ask(&mut other).starts_with("wait"));
        stage.gate.leave(other.id, moment(stage.now));
        assert!(stage.unauthorized(&mut probe));
        assert!(stage.ask(&mut probe).starts_with("wait"), "it is answered when there is another token");
        stage.gate.leave(probe.id, moment(stage.now));
        // The end of the token's life is not what this is about.
        stage.token("first", 1_000_000, 2_000_000);
    }
}

#[test]
fn only_a_success_shows_that_a_rejected_token_is_good() {
    let mut stage = Stage::rejected();
    let mut probe = stage.sent("GET /probe");
    stage.fails(&mut probe);
    assert_eq!(stage.state(), State::Rejected);
    let mut probe = stage.at(1000).sent("GET /probe");
    stage.succeeds(&mut probe);
    assert_eq!(stage.state(), State::Ready);
}

#[test]
fn a_user_who_must_authorize_is_no_reason_to_wait() {
    let mut stage = Stage::rejected();
    let mut waiting = stage.sent("GET /c");
    stage.unauthorized(&mut waiting);
    assert_eq!(stage.ask(&mut waiting), "wait until 5000");
    assert_eq!(stage.without_token(TokenState::ReauthRequired), News::Changed);
    let mut call = stage.call("GET /a");
    assert_eq!(stage.ask(&mut call), unavailable(Unavailable::ReauthRequired));
    assert_eq!(stage.ask(&mut waiting), unavailable(Unavailable::ReauthRequired));
    stage.at(60_000).token("second", 200_000, 220_000);
    assert_eq!(stage.sent("GET /a").times_sent(), 1, "it goes on by itself");
}

/// Clocks differ by a few seconds, and one of them may be quite wrong.
#[test]
fn an_expired_token_is_not_sent_unless_a_clock_is_wrong() {
    let mut stage = Stage::ready();
    stage.at(REFRESH + 3000).sent("GET /a");
    stage.at(END + 9_999).sent("GET /a");
    let mut probe = stage.at(END + 10_000).sent("GET /a");
    let mut call = stage.call("GET /a");
    assert!(stage.ask(&mut call).starts_with("wait"), "one call tries it");
    stage.unauthorized(&mut probe);
    assert_eq!((stage.state(), stage.ask(&mut call)), (State::Expired, "wait until 160000".to_owned()));
    stage.at(160_000);
    assert_eq!(stage.ask(&mut call), unavailable(Unavailable::TokenExpired));

    let mut ahead = Stage::empty();
    assert_eq!(ahead.at(500_000).token("first", REFRESH, END), News::WrongClock);
    ahead.sent("GET /a");
}

/// The operator calls the token good, and by our clock it has ended: one call shows which of the two is right.
#[test]
fn a_clock_that_is_minutes_ahead_holds_up_no_calls() {
    let mut stage = Stage::ready();
    let mut probe = stage.at(END + 60_000).sent("GET /a");
    stage.succeeds(&mut probe);
    assert_eq!(stage.state(), State::Ready);
    stage.sent("GET /a");
    stage.sent("GET /b");
}

#[test]
fn a_folder_that_cannot_be_read_is_no_news_for_two_seconds() {
    let mut stage = Stage::ready();
    stage.at(1000);
    assert_eq!(stage.look(None), News::None);
    stage.at(2999).sent("GET /a");
    assert_eq!(stage.at(3000).state(), State::Pending);
    let mut call = stage.call("GET /a");
    assert!(stage.ask(&mut call).starts_with("wait"));
    assert_eq!(stage.token("first", REFRESH, END), News::Changed);
    assert_eq!(stage.ask(&mut call), "send first");
}

#[test]
fn a_body_that_is_gone_is_neither_sent_again_nor_a_probe() {
    let mut stage = Stage::ready();
    let mut upload = stage.streamed("POST /files");
    assert_eq!(stage.ask(&mut upload), "send first");
    stage.invalid_token(&mut upload);
    assert_eq!(stage.ask(&mut upload), unavailable(Unavailable::NotReplayable));

    let mut other = stage.streamed("POST /files");
    assert!(stage.ask(&mut other).starts_with("wait"), "though a probe is due");
    stage.token("second", 200_000, 220_000);
    assert_eq!(stage.ask(&mut other), "send second");
}

/// A client that sends the next call after each 503 waits 30 s once, not each time.
#[test]
fn the_longer_there_is_trouble_the_shorter_a_call_waits() {
    let mut stage = Stage::empty();
    stage.without_token(TokenState::Pending);
    for (at, until) in [(0, 30_000), (10_000, 30_000), (29_500, 30_500), (60_000, 61_000)] {
        let mut call = stage.at(at).call("GET /a");
        assert_eq!(stage.ask(&mut call), format!("wait until {until}"));
    }
}

/// RFC 7240 section 4.3.
#[test]
fn a_client_may_wait_for_less() {
    let mut stage = Stage::empty();
    stage.without_token(TokenState::Pending);
    let (mut call, mut none) = (stage.call("GET /a"), stage.call("GET /a"));
    call.patience = Some(Duration::from_secs(2));
    none.patience = Some(Duration::ZERO);
    assert_eq!(stage.ask(&mut call), "wait until 2000");
    assert_eq!(stage.ask(&mut none), unavailable(Unavailable::NotReady));
}
