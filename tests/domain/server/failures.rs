//! What follows from each row of the table of failures: whether the token counts as spent, when it is tried again, and
//! what brings the connection back.

use pleo_operator::{
    api::FailureReason,
    domain::{
        ledger::{
            grant::RejectionReason,
            held::HaltReason,
            held::{Attempts, Halt, NextAttempt},
        },
        plan::{
            decide::Decision,
            next_refresh::{NextRefresh, WaitReason},
        },
        snapshot::ClientSecretState,
        token::AccessToken,
    },
};

use crate::scenes::{
    PACE, Scene, UID, at, client, first_warning, invalid_client, invalid_grant, no_connection, pair, reply,
    reply_after, secs, silence, with_secret,
};

/// A quarter of an hour after noon the token of [`Scene::living`] is over, and its refresh long due.
pub(super) fn due() -> Scene {
    Scene::living().at(850)
}

/// Seconds from now to the next try.
#[track_caller]
fn next_try(scene: &Scene) -> f64 {
    let wait = scene.waits();
    assert_eq!(wait.reason, WaitReason::Retry);
    let until = scene.grant().current.as_ref().unwrap().refresh.attempts.retry().unwrap();
    assert!(wait.until.unwrap() > scene.now);
    pleo_operator::domain::plan::schedule::retry_at(until, false, scene.now, secs(0))
        .duration_since(scene.now)
        .as_secs_f64()
}

#[test]
fn what_was_not_sent_leaves_the_token_unspent_and_is_tried_again_after_a_second() {
    let mut scene = due();
    scene.exchange(no_connection());
    let tried = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((tried.failures, tried.outcome_unknown, tried.failing_since), (1, false, Some(at(850))));
    assert!((0.75..=1.0).contains(&next_try(&scene)));
    assert_eq!(scene.grant().last_failure.as_ref().unwrap().reason, FailureReason::NotSent);
    assert_eq!(scene.grant().last_sent_at, Some(at(0)), "not a byte left, so this was no exchange");
    assert_eq!(scene.grant().claim, None);
}

/// F5: doubled from 1 s to 15 min.
#[test]
fn tries_that_fail_in_a_row_wait_longer_and_longer() {
    let mut scene = due();
    let mut waits = Vec::new();
    for _ in 0..14 {
        scene.exchange(no_connection());
        waits.push(next_try(&scene));
        scene.go_to(scene.waits().until.unwrap());
        while !scene.is_sending() {
            scene.rest();
            scene.go_to(scene.waits().until.unwrap());
        }
    }
    for (failures, wait) in waits.iter().enumerate() {
        let longest = f64::from(1 << failures.min(10)).min(900.0);
        assert!((0.75 * longest..=longest).contains(wait), "after {} failures: {wait} s", failures + 1);
    }
}

#[test]
fn a_server_that_throttles_is_asked_again_when_it_says() {
    let mut scene = due();
    scene.exchange(reply_after(429, "120", ""));
    let tried = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((tried.failures, tried.outcome_unknown), (1, false));
    assert!((next_try(&scene) - 120.0).abs() < 1e-9);
    assert_eq!(scene.grant().last_failure.as_ref().unwrap().reason, FailureReason::Throttled);

    let mut by_date = due();
    by_date.exchange(reply_after(429, "Mon, 02 Mar 2026 12:02:00 GMT", ""));
    assert!((next_try(&by_date) - 120.0).abs() < 1e-9);
}

#[test]
fn a_server_that_throttles_for_hours_is_asked_again_after_a_quarter_of_an_hour() {
    let mut scene = due();
    scene.exchange(reply_after(429, "86400", ""));
    assert!((next_try(&scene) - 900.0).abs() < 1e-9);
}

#[test]
fn a_server_that_throttles_without_a_time_is_asked_again_after_the_backoff() {
    for outcome in [reply(429, ""), reply_after(429, "soon", "")] {
        let mut scene = due();
        scene.exchange(outcome);
        assert!((0.75..=1.0).contains(&next_try(&scene)));
    }
}

#[test]
fn not_even_a_refresh_request_makes_a_throttling_server_be_asked_sooner() {
    let mut scene = due();
    scene.exchange(reply_after(429, "120", ""));
    let asking = scene.with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert!(!asking.clone().at(960).is_sending());
    assert!(asking.at(970).is_sending());
}

/// I1: possibly spent, so the server gets a settle time before the token is sent once more.
#[test]
fn an_unknown_outcome_puts_the_token_in_doubt_and_waits_for_the_settle_time() {
    let unknown = [
        silence(),
        reply(500, ""),
        reply(502, "<html>bad gateway</html>"),
        reply(503, ""),
        reply(400, r#"{"error":"slow_down"}"#),
        reply(404, "not found"),
        reply(403, "<html>invalid_grant</html>"),
        reply(302, ""),
        reply(200, ""),
        reply(200, "<html>Welcome</html>"),
        reply(200, r#"{"access_token":"a","refresh_to"#),
    ];
    for outcome in unknown {
        let mut scene = due();
        scene.exchange(outcome.clone());
        let tried = &scene.grant().current.as_ref().unwrap().refresh.attempts;
        assert_eq!((tried.failures, tried.outcome_unknown), (1, true), "{outcome:?}");
        assert!((next_try(&scene) - 30.0).abs() < 1e-9, "{outcome:?}");
        assert_eq!(scene.grant().last_failure.as_ref().unwrap().reason, FailureReason::OutcomeUnknown);
        assert_eq!(scene.grant().last_sent_at, Some(at(850)));
    }
}

#[test]
fn the_settle_time_is_half_the_request_time_out_where_that_is_shorter() {
    assert_eq!(PACE.settle_time(), secs(30));
    for (request_timeout, settle) in [(600, 30), (60, 30), (40, 20), (4, 2)] {
        let pace = pleo_operator::domain::plan::schedule::Pace { request_timeout: secs(request_timeout) };
        assert_eq!(pace.settle_time(), secs(settle));
        assert_eq!(pace.claim_length(), secs(10 + request_timeout));
    }
}

#[test]
fn a_server_that_is_down_for_two_minutes_is_asked_again_after_two_minutes() {
    let mut scene = due();
    scene.exchange(reply_after(503, "120", ""));
    assert!(scene.grant().current.as_ref().unwrap().refresh.attempts.outcome_unknown);
    assert!((next_try(&scene) - 120.0).abs() < 1e-9);
    let mut in_a_hurry = due();
    in_a_hurry.exchange(reply_after(503, "1", ""));
    assert!((next_try(&in_a_hurry) - 30.0).abs() < 1e-9, "never before the settle time");
}

/// Doubt stays until a clean success.
#[test]
fn doubt_outlives_failures_and_ends_with_a_success() {
    let mut scene = due();
    scene.exchange(silence());
    scene = scene.at(880);
    scene.exchange(no_connection());
    assert!(scene.grant().current.as_ref().unwrap().refresh.attempts.outcome_unknown);
    scene = scene.at(890);
    scene.exchange(reply_after(429, "5", ""));
    assert!(scene.grant().current.as_ref().unwrap().refresh.attempts.outcome_unknown);
    scene = scene.at(900);
    scene.exchange(pair("8"));
    let current = scene.grant().current.as_ref().unwrap();
    assert_eq!(
        (current.refresh.token.expose(), current.refresh.attempts.outcome_unknown, current.refresh.attempts.failures),
        ("refresh-8", false, 0)
    );
    let tokens: Vec<_> = scene.sent.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(tokens, ["refresh-7"; 4]);
}

/// `RotationLost`: a human must consent, and it was not his doing.
#[test]
fn refused_while_in_doubt_means_that_the_pair_was_lost_on_the_way() {
    for code in ["invalid_grant", "invalid_token"] {
        let mut scene = due();
        scene.exchange(silence());
        scene = scene.at(880);
        scene.exchange(reply(400, &format!(r#"{{"error":"{code}"}}"#)));
        assert_eq!(scene.grant().last_rejection.as_ref().unwrap().reason, RejectionReason::RotationLost);
    }
}

/// X2, and better: nothing is sent, and nothing is lost.
#[test]
fn a_wrong_client_stops_everything_and_keeps_the_grant() {
    for (code, reason) in [
        ("invalid_client", HaltReason::InvalidClient),
        ("unauthorized_client", HaltReason::InvalidClient),
        ("invalid_request", HaltReason::InvalidRequest),
        ("invalid_scope", HaltReason::InvalidRequest),
        ("unsupported_grant_type", HaltReason::InvalidRequest),
    ] {
        let mut scene = due();
        scene.exchange(reply(401, &format!(r#"{{"error":"{code}"}}"#)));
        let current = scene.grant().current.clone().expect("the grant is kept");
        assert_eq!(current.refresh.token.expose(), "refresh-7");
        assert_eq!(current.refresh.attempts.halt().unwrap().reason, reason, "{code}");
        assert!(!current.refresh.attempts.outcome_unknown);
        assert_eq!(scene.grant().last_failure.as_ref().unwrap().reason, FailureReason::Misconfigured);
        assert!((45.0..=60.0).contains(&next_try(&scene)), "{code}: probed after a minute, less up to a quarter");
    }
}

/// I7: it goes on by itself.
#[test]
fn a_mended_client_secret_or_spec_goes_on_by_itself() {
    let mut halted = due();
    halted.exchange(invalid_client());
    let halted = halted.at(880);
    assert!(!halted.is_sending());

    let client_mended = halted.clone().seeing(|seen| seen.client = ClientSecretState::Present(with_secret("mended")));
    assert!(client_mended.is_sending());
    assert!(halted.clone().with_spec(|spec| spec.generation = 2).is_sending());
    assert!(halted.clone().with_spec(|spec| spec.refresh_request = Some("now!".into())).is_sending());

    let mut mended = client_mended;
    mended.exchange(pair("8"));
    let attempts = &mended.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((attempts.failures, &attempts.halt()), (0, &None));
}

#[test]
fn a_client_that_was_mended_wrongly_halts_again() {
    let mut scene = due();
    scene.exchange(invalid_client());
    scene = scene.at(880).seeing(|seen| seen.client = ClientSecretState::Present(with_secret("still wrong")));
    scene.exchange(invalid_client());
    assert!(!scene.clone().at(920).is_sending(), "these credentials were refused as well");
    assert!(scene.seeing(|seen| seen.client = ClientSecretState::Present(with_secret("mended"))).at(920).is_sending());
}

/// X2, I7: after a minute, then ever more rarely, hourly at last; and one success ends it. A server whose database is down may call
/// every client invalid.
#[test]
fn a_halted_token_is_probed_ever_more_rarely() {
    let mut scene = due();
    let mut waits = Vec::new();
    for _ in 0..10 {
        scene.exchange(invalid_client());
        let NextRefresh::At(probe, WaitReason::Retry) = scene.next_refresh() else { panic!("no probe") };
        let wait = probe.duration_since(scene.now);
        waits.push(wait.as_secs());
        scene.go_to(scene.now + wait);
        let Decision::Rotate(rotation) = scene.rest() else { panic!("no probe: {:?}", scene.decide()) };
        assert!(rotation.is_probe);
    }
    let planned = [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600];
    let is_close = |(wait, planned): (&i64, i64)| (planned * 3 / 4 - 1..=planned).contains(wait);
    assert!(waits.iter().zip(planned).all(is_close), "{waits:?}");
    assert_eq!(scene.sent.len(), 10);
    scene.exchange(pair("8"));
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.attempts, Attempts::default());
}

/// A probe is not what the current token waits for, and nothing else is probed before its time.
#[test]
fn retries_that_are_exhausted_are_not_probed() {
    let halt = Halt {
        reason: HaltReason::RetriesExhausted,
        client: client("acme-client").fingerprint(UID),
        generation: 1,
        retry: None,
        times: 1,
    };
    let mut scene = Scene::living().at(1000).with_current_tried(|tried| tried.next = NextAttempt::Halted(halt));
    let Decision::Wait(wait) = scene.rest() else { panic!("nothing to do") };
    assert_eq!(wait.until, Some(first_warning()));
}

/// X1, X3, I3, I4: stop, wipe, never send it again.
#[test]
fn a_refused_token_is_wiped_everywhere_and_never_sent_again() {
    for (status, code, reason) in [
        (400, "invalid_grant", RejectionReason::GrantRefused),
        (401, "invalid_grant", RejectionReason::GrantRefused),
        (400, "invalid_token", RejectionReason::TokenInvalid),
        (401, "invalid_token", RejectionReason::TokenInvalid),
    ] {
        let mut scene = due();
        scene.exchange(reply(status, &format!(r#"{{"error":"{code}"}}"#)));
        assert_eq!((&scene.grant().current, &scene.grant().candidate), (&None, &None), "no copy remains");
        assert_eq!(scene.grant().last_rejection.as_ref().unwrap().reason, reason);
        assert_eq!(scene.content().access, None, "pods can see it");
        assert_eq!(scene.grant().last_failure.as_ref().unwrap().reason, FailureReason::Rejected);
        scene = scene.with_spec(|spec| {
            spec.generation = 2;
            spec.refresh_request = Some("please!".into());
        });
        for later in [900, 3600, 90 * 86_400] {
            scene = scene.at(later);
            assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none()));
        }
        assert_eq!(scene.sent.len(), 1);
    }
}

/// X4: one clear way back.
#[test]
fn a_new_consent_brings_a_dead_connection_back() {
    let mut scene = due();
    scene.exchange(invalid_grant());
    scene = scene.at(4000).consent("consent-2");
    scene.exchange(pair("8"));
    assert_eq!(scene.sent[1].0, "consent-2");
    assert_eq!(scene.grant().last_rejection, None);
    assert_eq!(scene.content().access.as_ref().unwrap().token, AccessToken::new("access-8"));
    assert_eq!(scene.content().rotation, 8);
}

/// I3, also for a token that came from the server and not from the user.
#[test]
fn a_refused_token_that_a_user_puts_back_is_never_sent_again() {
    let mut scene = due();
    scene.exchange(invalid_grant());
    scene = scene.at(4000).consent("refresh-7");
    scene.rest();
    assert!(!scene.is_sending(), "{:?}", scene.done);
}

/// And never means: presented while another authorization lives, it could kill that one too (T5).
#[test]

fn a_refused_token_is_not_forgotten_by_the_next_success() {
    let mut scene = due();
    scene.exchange(invalid_grant());
    scene = scene.at(4000).consent("consent-2");
    scene.exchange(pair("8"));
    let mut scene = scene.at(4100).consent("refresh-7");
    scene.rest();
    assert!(!scene.is_sending(), "{:?}", scene.done);
}

/// I9: a bad new consent never costs a good old one.
#[test]
fn a_refused_consent_beside_a_living_grant_costs_only_itself() {
    let mut scene = Scene::living().at(100).consent("bad-consent");
    scene.exchange(invalid_grant());
    let current = scene.grant().current.as_ref().expect("the living grant");
    assert_eq!(current.refresh.token.expose(), "refresh-7");
    assert_eq!(scene.grant().candidate, None);
    assert_eq!(scene.content().access.as_ref().unwrap().token, AccessToken::new("access-7"));
    let wait = scene.waits();
    assert_eq!(wait.reason, WaitReason::NextRefresh);
    scene.go_to(wait.until.unwrap());
    scene.exchange(pair("8"));
    let tokens: Vec<_> = scene.sent.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(tokens, ["bad-consent", "refresh-7"]);
}

#[test]
fn an_answer_without_an_access_token_is_kept_and_the_new_token_tried_after_the_backoff() {
    let mut scene = due();
    scene.exchange(reply(200, r#"{"refresh_token":"refresh-8"}"#));
    let current = scene.grant().current.as_ref().unwrap();
    assert_eq!((current.refresh.token.expose(), &current.access), ("refresh-8", &None));
    assert_eq!((current.refresh.attempts.failures, current.refresh.attempts.outcome_unknown), (1, false));
    assert_eq!(scene.content().access, None);
    assert_eq!(scene.waits().reason, WaitReason::Retry);
    scene = scene.at(860);
    scene.exchange(pair("9"));
    assert_eq!(scene.sent[1].0, "refresh-8");
    assert_eq!(scene.grant().rotation, 9);
}

#[test]
fn what_failed_is_told_in_our_own_words_and_with_its_time() {
    let mut scene = due();
    scene.exchange(reply(500, "refresh-7 is broken"));
    let failure = scene.grant().last_failure.as_ref().unwrap();
    assert_eq!((failure.at, failure.message.as_str()), (at(850), "the server answered 500"));
}
