//! How many calls wait at once, who may call, and how the proxy ends.

use std::os::unix::fs::PermissionsExt;

use pleo_operator::{api::TokenState, proxy::config::Listen};
use pleo_test_support::proxy::RunningProxy;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stage::{Stage, problem};

/// The 513th: it is told at once, and the others go on waiting.
#[tokio::test]
async fn more_calls_than_may_wait_are_told_to_come_again() {
    let mut stage = Stage::without_token(|_| ()).await;
    stage.folder.publish_state(TokenState::Pending);
    let calls: Vec<_> =
        (0..512).map(|n| tokio::spawn(stage.call(Method::POST, &format!("/v1/calls/{n}"), Vec::new()))).collect();
    stage.until_held(512).await;
    let (status, code, _) = problem(stage.get("/v1/me").await).await;
    assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
    stage.rotate().await;
    stage.publish();
    for call in calls {
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    }
    assert!((0..512).all(|n| stage.carried_out(&n.to_string()) == 1), "each once");
}

/// Whoever hangs up while waiting is not sent.
#[tokio::test]
async fn a_call_whose_client_is_gone_is_not_sent() {
    let mut stage = Stage::without_token(|_| ()).await;
    stage.folder.publish_state(TokenState::Pending);
    let call = tokio::spawn(stage.call(Method::POST, "/v1/calls/gone", b"body".to_vec()));
    stage.until_held(1).await;
    call.abort();
    stage.until_held(0).await;
    stage.rotate().await;
    stage.publish();
    assert_eq!(stage.get("/v1/me").await.status(), StatusCode::OK);
    assert_eq!(stage.carried_out("gone"), 0);
}

/// SIGTERM: what waits is answered, and calls are taken until there are none.
#[tokio::test]
async fn a_proxy_that_ends_answers_what_it_has_taken() {
    let mut stage = Stage::without_token(|_| ()).await;
    stage.folder.publish_state(TokenState::Pending);
    let call = tokio::spawn(stage.call(Method::POST, "/v1/calls/last", Vec::new()));
    stage.until_held(1).await;
    stage.rotate().await;
    stage.publish();
    let (proxy, sandbox) = (stage.proxy, stage.sandbox);
    proxy.stop().await;
    assert_eq!(call.await.unwrap().status(), StatusCode::OK);
    assert_eq!(sandbox.calls().carried_out["last"], 1);
}

/// For pods that share the network of their node: file rights say who may call.
#[tokio::test]
async fn a_unix_socket_is_for_its_group_only() {
    let stage = Stage::new().await;
    let path = stage.folder.path().join("proxy.sock");
    let listen = Listen::Unix(path.clone());
    let proxy =
        RunningProxy::start(&stage.folder, &stage.sandbox.origin(), stage.sandbox.ca_pem(), listen, |_| ()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"GET /v1/me HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with(r#"{"connection":"acme"}"#), "{response}");
    proxy.stop().await;
}
