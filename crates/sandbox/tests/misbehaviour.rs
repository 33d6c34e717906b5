//! Misbehavior on demand over real HTTPS, and what the server remembers of it.

mod common;

use common::{LONG, client, exchange, http1, read, refresh, sandbox, text};
use pleo_sandbox::authority::{Delivery, Outcome};
use pleo_sandbox::script::{ANY, Coding, Malformed, RetryAfter, Step};
use std::time::Duration;

#[tokio::test]
async fn a_lost_request_leaves_the_token_unspent_and_a_lost_answer_does_not() {
    let sandbox = sandbox();
    for client in [client(&sandbox), http1(&sandbox)] {
        let first = sandbox.consent("acme");
        let before = sandbox.counters("acme");
        sandbox.script("acme", vec![Step::request_lost(), Step::answer_lost()]);
        let error = refresh(&client, &sandbox, &first).send().await.unwrap_err();
        assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
        assert_eq!(sandbox.counters("acme").rotations, before.rotations);

        refresh(&client, &sandbox, &first).send().await.unwrap_err();
        assert_eq!(sandbox.counters("acme").rotations, before.rotations + 1);
        let last = sandbox.exchanges().pop().unwrap();
        assert_eq!((last.outcome, last.answer), (Outcome::Rotated { expires_in: 900 }, Some(Delivery::Cut)));
        assert_eq!(exchange(&client, &sandbox, &first).await.0, 400, "the token is spent");
    }
}

#[tokio::test]
async fn a_cut_stream_of_http_2_leaves_the_others_alone() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let (acme, other) = (sandbox.consent("acme"), sandbox.consent("other"));
    sandbox.script("acme", vec![Step::answer_lost()]);
    sandbox.script("other", vec![Step::normal().held_before()]);
    let held = tokio::spawn(refresh(&client, &sandbox, &other).send());
    sandbox.until(LONG, |authority| authority.counters("other").exchanges == 1).await.unwrap();
    refresh(&client, &sandbox, &acme).send().await.unwrap_err();
    sandbox.release("other");
    assert_eq!(held.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_what_the_server_does() {
    let sandbox = sandbox();
    for client in [client(&sandbox), http1(&sandbox)] {
        let first = sandbox.consent("acme");
        let before = sandbox.counters("acme");
        sandbox.script("acme", vec![Step::normal().held_before()]);
        let request = tokio::spawn(refresh(&client, &sandbox, &first).send());
        let begun = before.exchanges + 1;
        sandbox.until(LONG, move |authority| authority.counters("acme").exchanges == begun).await.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        drop(client);
        sandbox.release("acme");
        let rotated = before.rotations + 1;
        sandbox.until(LONG, move |authority| authority.counters("acme").rotations == rotated).await.unwrap();
    }
}

#[tokio::test]
async fn overlapping_exchanges_are_counted_and_so_is_the_token_that_is_sent_again() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.script("acme", vec![Step::normal().held_after()]);
    let held = tokio::spawn(refresh(&client, &sandbox, &first).send());
    sandbox.until(LONG, |authority| authority.counters("acme").rotations == 1).await.unwrap();
    assert_eq!(exchange(&client, &sandbox, &first).await.0, 400);
    sandbox.release("acme");
    assert_eq!(held.await.unwrap().unwrap().status().as_u16(), 200);
    let counters = sandbox.counters("acme");
    assert_eq!((counters.overlapping, counters.resent, counters.max_presented), (1, 1, 2));
    assert_eq!((counters.replays, counters.families_killed), (1, 1));
}

#[tokio::test]
async fn a_step_held_on_both_sides_is_released_twice() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.script("acme", vec![Step::normal().held_before().held_after()]);
    let held = tokio::spawn(refresh(&client, &sandbox, &first).send());
    sandbox.until(LONG, |authority| authority.counters("acme").exchanges == 1).await.unwrap();
    sandbox.release("acme");
    sandbox.until(LONG, |authority| authority.counters("acme").rotations == 1).await.unwrap();
    assert_eq!(sandbox.exchanges()[0].finished_at, None);
    sandbox.release("acme");
    assert_eq!(held.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn delays_lie_before_and_after_rotating() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let delay = Duration::from_millis(60);
    let steps = vec![Step::normal().delayed_before(delay), Step::normal().delayed_after(delay)];
    sandbox.script("acme", steps);
    let (_, pair) = exchange(&client, &sandbox, &first).await;
    exchange(&client, &sandbox, text(&pair, "refresh_token")).await;
    let [before, after] = &sandbox.exchanges()[..] else { panic!("two exchanges") };
    assert!(before.judged_at.unwrap() - before.began_at >= delay);
    assert!(after.finished_at.unwrap() - after.judged_at.unwrap() >= delay);
}

#[tokio::test]
async fn statuses_come_with_retry_after_and_with_or_without_rotating() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let steps = vec![
        Step::status(429).retry_after(RetryAfter::Seconds(3)),
        Step::status(503).retry_after(RetryAfter::DateIn(Duration::from_secs(60))),
        Step::status(500),
        Step::status(502).rotating(),
    ];
    sandbox.script("acme", steps);
    for (status, retry_after, rotations) in [(429, Some(1), 0), (503, Some(29), 0), (500, None, 0), (502, None, 1)] {
        let response = refresh(&client, &sandbox, &first).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let header = response.headers().get("retry-after").map(reqwest::header::HeaderValue::len);
        assert_eq!(header, retry_after, "{status}");
        assert_eq!(sandbox.counters("acme").rotations, rotations);
    }
    assert_eq!(sandbox.counters("acme").max_presented, 4);
}

#[tokio::test]
async fn an_error_is_repeated_until_the_script_is_cleared() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.repeat("acme", Step::error("invalid_token").with_status(401).described("no"));
    for _ in 0..3 {
        let (status, answer) = exchange(&client, &sandbox, &first).await;
        assert_eq!((status, text(&answer, "error")), (401, "invalid_token"));
    }
    sandbox.clear_script("acme");
    assert_eq!(exchange(&client, &sandbox, &first).await.0, 200);
}

#[tokio::test]
async fn hostile_bodies_go_over_the_wire_as_they_are() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let mut token = sandbox.consent("acme");
    let malformed = [Malformed::Html, Malformed::Empty, Malformed::Truncated, Malformed::Huge(3_000_000)];
    for malformed in malformed {
        sandbox.script("acme", vec![Step::malformed(malformed.clone())]);
        let response = refresh(&client, &sandbox, &token).send().await.unwrap();
        let length = response.bytes().await.unwrap().len();
        match malformed {
            Malformed::Empty => assert_eq!(length, 0),
            Malformed::Huge(bytes) => assert!(u64::try_from(length).unwrap() > bytes),
            _ => assert!(length > 0),
        }
        token = sandbox.read(|authority| authority.newest_tokens("acme")).unwrap().0;
    }
    assert_eq!(sandbox.counters("acme").rotations, 4);
    sandbox.script("acme", vec![Step::redirect(307, "https://127.0.0.1:1/elsewhere")]);
    let response = refresh(&client, &sandbox, &token).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 307);
    assert_eq!(response.headers()["location"], "https://127.0.0.1:1/elsewhere");
}

#[tokio::test]
async fn an_endless_answer_drips_until_the_client_has_enough() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.script("acme", vec![Step::malformed(Malformed::Drip(Duration::from_millis(1)))]);
    let mut response = refresh(&client, &sandbox, &first).send().await.unwrap();
    for _ in 0..20 {
        assert!(response.chunk().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_custom_answer_carries_the_new_pair() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let body = r#"{"refresh_token":"{{refresh_token}}","access_token":"{{access_token}}"}"#;
    sandbox.script("acme", vec![Step::custom(201, body).with_header("x-more", "yes")]);
    let response = refresh(&client, &sandbox, &first).send().await.unwrap();
    assert_eq!(response.headers()["x-more"], "yes");
    let (status, pair) = read(response).await;
    assert_eq!(status, 201);
    assert_eq!(sandbox.access_is_good(text(&pair, "access_token")).as_deref(), Some("acme"));
}

#[tokio::test]
async fn a_pair_comes_with_another_success_or_compressed_unasked() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let twice = [Coding::Gzip, Coding::Br];
    sandbox.script("acme", vec![Step::pair_with_status(203), Step::pair_coded(&twice)]);
    let (status, pair) = exchange(&client, &sandbox, &first).await;
    assert_eq!((status, sandbox.access_is_good(text(&pair, "access_token")).as_deref()), (203, Some("acme")));

    let response = refresh(&client, &sandbox, text(&pair, "refresh_token")).send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip, br");
    let coded = response.bytes().await.unwrap();
    let mut gzip = Vec::new();
    std::io::Read::read_to_end(&mut brotli::Decompressor::new(&coded[..], 4096), &mut gzip).unwrap();
    let plain: serde_json::Value = serde_json::from_reader(flate2::read::GzDecoder::new(&gzip[..])).unwrap();
    assert_eq!(sandbox.access_is_good(text(&plain, "access_token")).as_deref(), Some("acme"));
}

#[tokio::test]
async fn a_step_that_cannot_be_carried_out_is_answered_with_500() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.script("acme", vec![Step::status(9), Step::custom(200, "").with_header("not a name", "")]);
    for _ in 0..2 {
        assert_eq!(exchange(&client, &sandbox, &first).await.0, 500);
    }
}

#[tokio::test]
async fn a_script_for_any_connection_holds_for_unknown_tokens_too() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    sandbox.script(ANY, vec![Step::status(503)]);
    let response = refresh(&client, &sandbox, "unknown").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(exchange(&client, &sandbox, "unknown").await.0, 400);
}

#[tokio::test]
async fn an_outage_refuses_connections_and_ends_on_the_same_port() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let url = sandbox.token_url();
    sandbox.script("acme", vec![Step::normal().held_before()]);
    let held = tokio::spawn(refresh(&client, &sandbox, &first).send());
    sandbox.until(LONG, |authority| authority.counters("acme").exchanges == 1).await.unwrap();

    sandbox.stop();
    held.await.unwrap().unwrap_err();
    let error = refresh(&client, &sandbox, &first).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    sandbox.release("acme");
    sandbox.until(LONG, |authority| authority.finished("acme") == 1).await.unwrap();
    assert_eq!(sandbox.counters("acme").rotations, 1, "what was under way goes on");

    sandbox.restart().unwrap();
    sandbox.restart().unwrap();
    assert_eq!(sandbox.token_url(), url);
    let (token, _) = sandbox.read(|authority| authority.newest_tokens("acme")).unwrap();
    assert_eq!(exchange(&client, &sandbox, &token).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_whose_time_is_paused_can_use_it() {
    let sandbox = sandbox();
    let first = sandbox.consent("acme");
    // A blocking task keeps paused time from running ahead to the client's time-out.
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || wait.recv());
    assert_eq!(exchange(&client(&sandbox), &sandbox, &first).await.0, 200);
    sandbox.until(LONG, |authority| authority.finished("acme") == 1).await.unwrap();
    drop(done);
    assert!(blocking.await.unwrap().is_err());
}

#[test]
fn waiting_ends_in_time_if_nothing_happens() {
    let sandbox = sandbox();
    let timeout = Duration::from_millis(20);
    assert!(sandbox.wait_for(timeout, |authority| authority.finished("acme") > 0).is_err());
    assert!(sandbox.wait_for(timeout, |authority| authority.finished("acme") == 0).is_ok());
}

#[tokio::test]
async fn dropping_it_ends_exchanges_that_are_held() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    sandbox.repeat("acme", Step::normal().held_before());
    let held = tokio::spawn(refresh(&client, &sandbox, &first).send());
    sandbox.until(LONG, |authority| authority.counters("acme").exchanges == 1).await.unwrap();
    drop(sandbox);
    held.await.unwrap().unwrap_err();
}

#[test]
fn it_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&sandbox());
}
