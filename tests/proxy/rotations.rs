//! The application sees no rotation: not one call is rejected, and none is carried out twice.

use std::time::Duration;

use pleo_operator::api::TokenState;
use reqwest::{Method, StatusCode};

use crate::stage::{Stage, problem};

/// An unplanned rotation: the API rejects the token before the new one is in the folder.
#[tokio::test]
async fn a_call_that_the_api_rejected_waits_for_the_new_token_and_is_carried_out_once() {
    let mut stage = Stage::new().await;
    assert_eq!(stage.get("/v1/me").await.status(), StatusCode::OK);
    stage.rotate().await;
    let calls = [("a", vec![1; 200_000]), ("b", b"{}".to_vec())];
    let calls = calls.map(|(id, body)| tokio::spawn(stage.call(Method::POST, &format!("/v1/calls/{id}"), body)));
    stage.until_held(2).await;
    stage.publish();
    for call in calls {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!((stage.carried_out("a"), stage.carried_out("b")), (1, 1));
    assert!((1..=3).contains(&stage.sandbox.calls().refused), "{:?}", stage.sandbox.calls());
}

/// A planned one: calls wait from a moment before, so that the old token is not used.
#[tokio::test]
async fn calls_wait_through_a_planned_rotation() {
    let mut stage = Stage::new().await;
    stage.publish_due_in(Duration::from_millis(200));
    stage.until_state("RefreshDue").await;
    let call = tokio::spawn(stage.call(Method::POST, "/v1/calls/a", Vec::new()));
    stage.until_held(1).await;
    stage.rotate().await;
    stage.publish();
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    assert_eq!((stage.carried_out("a"), stage.sandbox.calls().refused), (1, 0));
}

/// The refresh that was planned does not come: one call tries the old token for all.
#[tokio::test]
async fn a_refresh_that_does_not_come_holds_calls_for_three_seconds() {
    let mut stage = Stage::new().await;
    stage.publish_due_in(Duration::ZERO);
    stage.until_state("RefreshDue").await;
    let calls = ["a", "b", "c"].map(|id| tokio::spawn(stage.call(Method::GET, &format!("/v1/calls/{id}"), Vec::new())));
    for call in calls {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    stage.until_state("Ready").await;
}

#[tokio::test]
async fn an_application_that_starts_first_waits_for_the_first_token() {
    let mut stage = Stage::without_token(|_| ()).await;
    let call = tokio::spawn(stage.call(Method::GET, "/v1/me", Vec::new()));
    stage.until_held(1).await;
    stage.folder.publish_state(TokenState::Pending);
    stage.rotate().await;
    stage.publish();
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
}

/// Who must authorize is asked for at once, and nothing is sent until then.
#[tokio::test]
async fn while_a_user_must_authorize_each_call_is_answered_at_once() {
    let mut stage =
        Stage::with(|config| config.reconnect_url = Some("https://example.com/pleo".parse().unwrap())).await;
    stage.rotate().await;
    let waiting = tokio::spawn(stage.call(Method::POST, "/v1/calls/a", Vec::new()));
    stage.until_metric("unauthorized_total", "1").await;
    stage.until_held(1).await;
    stage.folder.publish_state(TokenState::ReauthRequired);
    let refused = stage.sandbox.calls().refused;
    for response in [waiting.await.unwrap(), stage.get("/v1/calls/b").await] {
        let (status, code, document) = problem(response).await;
        assert_eq!((status, code.as_str()), (StatusCode::FAILED_DEPENDENCY, "reauth-required"));
        assert_eq!(
            (&document["carried_out"], &document["reconnect_url"]),
            (&"no".into(), &"https://example.com/pleo".into())
        );
    }
    assert_eq!(stage.sandbox.calls().refused, refused, "nothing was sent");

    stage.publish();
    assert_eq!(stage.get("/v1/calls/b").await.status(), StatusCode::OK, "it goes on by itself");
}

/// An endpoint that always answers 401: the application gets that, and no other call waits for it.
#[tokio::test]
async fn an_endpoint_that_always_answers_401_is_passed_through_beside_good_calls() {
    let stage = Stage::new().await;
    let good = async {
        for n in 0..100 {
            assert_eq!(stage.get(&format!("/v1/calls/{n}")).await.status(), StatusCode::OK);
        }
    };
    let bad = async {
        for _ in 0..10 {
            let response = stage.get("/v1/unauthorized").await;
            assert_eq!((response.status(), response.headers().get("pleo-proxy")), (StatusCode::UNAUTHORIZED, None));
        }
    };
    tokio::join!(good, bad);
    stage.until_state("Ready").await;
}

/// Alone, it cannot be told from a rejected token at first; the next call shows the difference.
#[tokio::test]
async fn after_a_401_without_other_traffic_the_next_call_goes_out_at_once() {
    let stage = Stage::new().await;
    let bad = tokio::spawn(stage.call(Method::GET, "/v1/unauthorized", Vec::new()));
    stage.until_held(1).await;
    assert_eq!(stage.get("/v1/me").await.status(), StatusCode::OK);
    assert_eq!(bad.await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
