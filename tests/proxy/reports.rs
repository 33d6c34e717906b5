//! A token that the API rejects is reported once, to the operator's own code, by a proof that the proxy has it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use pleo_operator::domain::{possession::is_proof, token::AccessToken};
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::stage::Stage;

/// The proofs that came, and how they are answered.
#[derive(Clone)]
struct Receiver {
    proofs: Arc<Mutex<Vec<String>>>,
    answer: StatusCode,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, Json(report): Json<Value>) -> StatusCode {
    assert!(headers.get("authorization").is_none(), "the token stays in the pod");
    receiver.proofs.lock().unwrap().push(report["proof"].as_str().unwrap().to_owned());
    receiver.answer
}

async fn reporting(answer: StatusCode) -> (Stage, Receiver) {
    let receiver = Receiver { proofs: Arc::default(), answer };
    let router = Router::new()
        .route("/v1/connections/{namespace}/{name}/rejections", post(receive))
        .with_state(receiver.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/connections/finance/acme/rejections", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (Stage::with(|config| config.report_url = Some(url.parse().unwrap())).await, receiver)
}

#[tokio::test]
async fn a_token_that_the_api_rejects_is_reported_and_calls_go_on_with_the_next() {
    let (mut stage, receiver) = reporting(StatusCode::ACCEPTED).await;
    stage.sandbox.reject_access_tokens("acme");
    let calls = ["a", "b"].map(|id| tokio::spawn(stage.call(Method::POST, &format!("/v1/calls/{id}"), Vec::new())));
    stage.until_held(2).await;
    stage.until_metric("reports_total{outcome=\"success\"}", "1").await;
    let proofs = receiver.proofs.lock().unwrap().clone();
    assert!(is_proof(&proofs[0], &AccessToken::new(stage.access_token())));
    stage.rotate().await;
    stage.publish();
    for call in calls {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(receiver.proofs.lock().unwrap().len(), 1, "once");
}

/// Nothing is reported of a token that another follows within three seconds.
#[tokio::test]
async fn a_rotation_is_not_reported() {
    let (mut stage, receiver) = reporting(StatusCode::ACCEPTED).await;
    stage.rotate().await;
    let call = tokio::spawn(stage.call(Method::GET, "/v1/me", Vec::new()));
    stage.until_state("Rejected").await;
    stage.publish();
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    stage.until_state("Ready").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(receiver.proofs.lock().unwrap().len(), 0);
}

/// An operator that is busy is asked three times, and again after a minute.
#[tokio::test]
async fn a_report_that_is_not_taken_is_tried_three_times() {
    let (stage, receiver) = reporting(StatusCode::TOO_MANY_REQUESTS).await;
    stage.sandbox.reject_access_tokens("acme");
    let call = tokio::spawn(stage.call(Method::GET, "/v1/me", Vec::new()));
    stage.until_metric_within(Duration::from_secs(60), "reports_total{outcome=\"failure\"}", "1").await;
    assert_eq!(receiver.proofs.lock().unwrap().len(), 3);
    drop(call);
}
