//! What reaches the API of a call, and what reaches the application of its response.

use std::convert::Infallible;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use pleo_operator::api::TokenState;
use reqwest::{Method, StatusCode, header};

use crate::stage::{Stage, json, problem};

#[tokio::test]
async fn the_application_needs_no_token_and_cannot_replace_it() {
    let stage = Stage::new().await;
    let response = stage.client.get(stage.url("/v1/me")).bearer_auth("another").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(json(response).await["connection"], "acme");
}

/// Kept to be sent again, collected, or too large for that.
#[tokio::test]
async fn bodies_of_every_size_arrive_whole() {
    let stage = Stage::new().await;
    for size in [0, 1, 64 * 1024, 1024 * 1024, 1024 * 1024 + 1, 5 * 1024 * 1024] {
        let response = stage.call(Method::PUT, "/v1/calls/sized", vec![7; size]).await;
        assert_eq!(json(response).await["bytes"], size);
        let whole = Bytes::from(vec![7; size]);
        let chunks = (0..size.div_ceil(10_000)).map(move |n| whole.slice(n * 10_000..size.min((n + 1) * 10_000)));
        let chunks = futures::stream::iter(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))));
        let body = reqwest::Body::wrap(StreamBody::new(chunks));
        let response = stage.client.post(stage.url("/v1/calls/chunked")).body(body).send().await.unwrap();
        assert_eq!(json(response).await["bytes"], size);
    }
    assert_eq!((stage.carried_out("sized"), stage.carried_out("chunked")), (6, 6));
}

/// A body that is gone cannot be sent again, and was not carried out.
#[tokio::test]
async fn a_large_body_that_met_a_rejected_token_is_for_the_application_to_send_again() {
    let mut stage = Stage::new().await;
    stage.rotate().await;
    let (status, code, document) =
        problem(stage.call(Method::POST, "/v1/calls/large", vec![0; 2 * 1024 * 1024]).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not-replayable"));
    assert_eq!((&document["carried_out"], stage.carried_out("large")), (&"no".into(), 0));
    stage.publish();
    let again = stage.call(Method::POST, "/v1/calls/large", vec![0; 2 * 1024 * 1024]).await;
    assert_eq!((again.status(), stage.carried_out("large")), (StatusCode::OK, 1));
}

#[tokio::test]
async fn what_the_api_answers_otherwise_is_passed_through() {
    let stage = Stage::new().await;
    let response = stage.get("/v1/nothing-here?x=%2F..%2f").await;
    assert_eq!((response.status(), response.headers().get("pleo-proxy")), (StatusCode::NOT_FOUND, None));
    let response = stage.call(Method::DELETE, "/v1/me", Vec::new()).await;
    assert_eq!(
        (response.status(), &response.headers()[header::ALLOW]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap())
    );
}

/// RFC 7240 section 4.3: an application that would rather not wait.
#[tokio::test]
async fn a_call_waits_no_longer_than_the_application_prefers() {
    let mut stage = Stage::without_token(|_| ()).await;
    stage.folder.publish_state(TokenState::Pending);
    let call = stage.client.get(stage.url("/v1/me")).header("prefer", "respond-async, wait=0");
    let (status, code, document) = problem(call.send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not-ready"));
    assert_eq!((&document["state"], &document["carried_out"]), (&"Pending".into(), &"no".into()));
}

/// Torn, missing, empty or of another kind: calls wait, then they are told. The process goes on.
#[tokio::test]
async fn a_folder_that_says_nothing_is_waited_for() {
    let mut stage = Stage::without_token(|_| ()).await;
    let folder = stage.folder.path().to_owned();
    for (file, content) in [("state", "Ready"), ("access_token", ""), ("rotation", "seven"), ("expires_at", "soon")] {
        std::fs::write(folder.join(file), content).unwrap();
        let call = stage.client.get(stage.url("/v1/me")).header("prefer", "wait=0");
        assert_eq!(problem(call.send().await.unwrap()).await.1, "not-ready", "{file}");
    }
    stage.rotate().await;
    stage.publish();
    assert_eq!(stage.get("/v1/me").await.status(), StatusCode::OK);
}

/// The API is down: nothing is held, and what may have been carried out is not sent again.
#[tokio::test]
async fn an_api_that_cannot_be_reached_is_a_502() {
    let stage = Stage::new().await;
    stage.sandbox.stop();
    let (status, code, document) = problem(stage.get("/v1/me").await).await;
    assert_eq!((status, code.as_str()), (StatusCode::BAD_GATEWAY, "upstream-unreachable"));
    assert_eq!(document["carried_out"], "no");
    stage.sandbox.restart().unwrap();
    assert_eq!(stage.get("/v1/me").await.status(), StatusCode::OK);
}
