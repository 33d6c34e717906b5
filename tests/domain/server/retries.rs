//! When retries end: `spec.retryTimeout` counts the time in which attempts were made (requirement F5).

use pleo_operator::domain::{
    ledger::{grant::RejectionReason, held::HaltReason},
    snapshot::ClientSecretState,
};

use super::failures::due;
use crate::scenes::{Scene, at, invalid_grant, no_connection, reply, secs, silence, with_secret};

/// F5: never indefinitely. The grant is kept.
#[test]
fn retries_end_when_their_time_is_over_and_the_last_is_made_right_then() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(100));
    let mut tries = Vec::new();
    loop {
        scene.exchange(no_connection());
        tries.push(scene.now.duration_since(at(850)).as_secs());
        if scene.grant().current.as_ref().unwrap().refresh.attempts.halt().is_some() {
            break;
        }
        while !scene.is_sending() {
            scene.rest();
            scene.go_to(scene.waits().until.unwrap());
        }
    }
    assert_eq!(*tries.last().unwrap(), 100, "{tries:?}");
    let attempts = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!(attempts.halt().unwrap().reason, HaltReason::RetriesExhausted);
    let scene = scene.at(86_400);
    assert!(!scene.is_sending());
    assert!(scene.clone().with_spec(|spec| spec.refresh_request = Some("again".into())).is_sending());
    assert!(scene.clone().with_spec(|spec| spec.generation = 2).is_sending());
    assert!(scene.seeing(|seen| seen.client = ClientSecretState::Present(with_secret("other"))).is_sending());
}

/// F5: the limit is for trying. What kept it from trying adds as much as twice the longest wait, and no more.
#[test]
fn days_in_which_nothing_was_tried_do_not_use_the_time_for_retries_up() {
    let three_days = 3 * 24 * 3600;
    let mut scene = due();
    scene.exchange(no_connection());
    // Suspended, or no operator at work, or a clock that jumped.
    scene = scene.at(850 + three_days);
    scene.exchange(reply(429, ""));
    let tried = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((tried.failures, &tried.halt()), (2, &None));
    let counted = scene.now.duration_since(tried.failing_since.unwrap()).as_secs();
    assert!(counted <= 30 * 60, "{counted} s count as trying");
}

/// The same where the time for retries is short: the gap counts by the wait that was planned.
#[test]
fn a_gap_counts_by_the_wait_that_was_planned() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(600));
    scene.exchange(no_connection());
    scene = scene.at(9000);
    scene.exchange(no_connection());
    let tried = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((tried.failures, &tried.halt()), (2, &None));
}

/// However often something keeps it from trying, there is an end.
#[test]
fn gaps_put_the_end_of_retries_off_and_do_not_remove_it() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(600));
    for gap in 1..100 {
        scene.exchange(no_connection());
        if scene.grant().current.as_ref().unwrap().refresh.attempts.halt().is_some() {
            return;
        }
        scene = scene.at(850 + 86_400 * gap);
    }
    panic!("still trying after 100 gaps");
}

#[test]
fn a_lifted_halt_begins_a_new_row_of_failures() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(10));
    scene.exchange(no_connection());
    scene = scene.at(870);
    scene.exchange(no_connection());
    scene = scene.at(2000).with_spec(|spec| spec.refresh_request = Some("again".into()));
    assert!(scene.sends().resumes);
    scene.exchange(no_connection());
    let attempts = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((attempts.failures, attempts.failing_since, &attempts.halt()), (1, Some(at(2000)), &None));
}

#[test]
fn a_new_row_of_failures_keeps_the_doubt() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(10));
    scene.exchange(silence());
    scene = scene.at(900);
    scene.exchange(silence());
    assert!(scene.grant().current.as_ref().unwrap().refresh.attempts.halt().is_some());
    scene = scene.at(2000).with_spec(|spec| spec.generation = 2);
    scene.exchange(invalid_grant());
    assert_eq!(scene.grant().last_rejection.as_ref().unwrap().reason, RejectionReason::RotationLost);
}

/// F5: never indefinitely, also where each answer brings a refresh token and nothing else.
#[test]
fn a_server_that_never_gives_an_access_token_is_given_up_when_the_time_is_over() {
    let mut scene = due().with_spec(|spec| spec.retry_timeout = secs(100));
    for n in 0..100 {
        scene.exchange(reply(200, &format!(r#"{{"refresh_token":"refresh-{}"}}"#, 8 + n)));
        if scene.grant().current.as_ref().unwrap().refresh.attempts.halt().is_some() {
            return;
        }
        while !scene.is_sending() {
            scene.rest();
            scene.go_to(scene.waits().until.unwrap());
        }
    }
    panic!("still trying, {} s after the first failure", scene.now.duration_since(at(850)).as_secs());
}

/// An answer with a refresh token alone is a failure like the others: the row goes on, with the new token.
#[test]
fn a_row_of_failures_goes_on_without_an_access_token() {
    let mut scene = Scene::living().at(850);
    scene.exchange(no_connection());
    let since = scene.grant().current.as_ref().unwrap().refresh.attempts.failing_since;
    let mut scene = scene.at(860);
    scene.exchange(reply(200, r#"{"refresh_token":"refresh-8"}"#));
    let attempts = &scene.grant().current.as_ref().unwrap().refresh.attempts;
    assert_eq!((attempts.failures, attempts.failing_since), (2, since));
}
