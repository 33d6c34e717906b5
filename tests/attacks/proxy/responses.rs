//! What an API may answer.

use super::{Front, received, reply};

const GET: &str = "GET /v1/a HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n";
const POST: &str = "POST /v1/a HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";

/// What the application gets of a response with these headers. `SERVER` stands for the API's own address.
async fn passed(status: &'static str, headers: &'static str) -> String {
    let front = Front::before(async move |wire| {
        wire.request().await?;
        let host = String::from_utf8_lossy(wire.received()).into_owned();
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
        wire.say(reply(status, &headers.replace("SERVER", &host), "{}")).await
    })
    .await;
    let response = front.says(GET).await;
    assert_eq!(front.finish().await.connections, 1, "no redirect is followed");
    response.to_ascii_lowercase()
}

#[tokio::test]
async fn a_redirect_within_the_api_stays_behind_the_proxy_and_others_are_not_followed() {
    let response = passed("302 Found", "location: https://SERVER/v1/b?x=1#y\r\n").await;
    assert!(response.contains("\r\nlocation: /v1/b?x=1#y\r\n"), "{response}");
    let response = passed("307 Temporary Redirect", "location: https://elsewhere.example/v1/b\r\n").await;
    assert!(response.contains("\r\nlocation: https://elsewhere.example/v1/b\r\n"), "{response}");
    let response = passed("302 Found", "location: http://SERVER/v1/b\r\n").await;
    assert!(response.contains("\r\nlocation: http://"), "another scheme is another origin: {response}");
}

#[tokio::test]
async fn what_is_for_the_proxy_itself_is_not_passed_on() {
    let response = passed(
        "200 OK",
        "alt-svc: h3=\":443\"\r\npleo-proxy: reauth-required\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nconnection: x-hop\r\nx-hop: 1\r\nx-kept: 1\r\n",
    )
    .await;
    for gone in ["alt-svc", "pleo-proxy", "keep-alive", "proxy-authenticate", "x-hop"] {
        assert!(!response.contains(gone), "{gone}: {response}");
    }
    assert!(response.contains("\r\nx-kept: 1\r\n"), "{response}");
}

/// Nothing is known of a call whose connection broke: only what can be repeated is sent again, once.
#[tokio::test]
async fn a_connection_that_breaks_before_the_response() {
    for (request, connections, expected) in [(GET, 2, "HTTP/1.1 200 "), (POST, 1, "HTTP/1.1 502 ")] {
        let front = Front::before(async |wire| {
            wire.request().await?;
            wire.close().await
        })
        .await;
        let response = front.says(request).await;
        assert!(response.starts_with(expected), "{response}");
        assert!(connections == 2 || response.contains("\"carried_out\":\"unknown\""), "{response}");
        assert_eq!(front.finish().await.connections, connections);
    }
}

/// A response that is none.
#[tokio::test]
async fn a_response_that_cannot_be_read_is_a_502() {
    for words in ["HTTP/1.1 20 OK\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        let front = Front::before(async move |wire| {
            wire.request().await?;
            wire.say(words).await?;
            wire.close().await
        })
        .await;
        let response = front.says(POST).await;
        assert!(
            response.starts_with("HTTP/1.1 502 ") && response.contains("pleo-proxy: upstream-broken"),
            "{response}"
        );
        assert_eq!(front.finish().await.connections, 1);
    }
}

/// The API does not wait for the body: the call waits for another token all the same.
#[tokio::test]
async fn a_401_before_the_body_has_arrived_is_a_401() {
    let front = Front::before(async |wire| {
        while !String::from_utf8_lossy(wire.received()).contains("\r\n\r\n") {
            wire.read().await?;
        }
        wire.say(reply("401 Unauthorized", "www-authenticate: Bearer error=\"invalid_token\"\r\n", "{}")).await?;
        loop {
            wire.read().await?;
        }
    })
    .await;
    let head = format!(
        "POST /v1/a HTTP/1.1\r\nhost: HOST\r\nprefer: wait=1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        900_000
    );
    let response = front.says(&(head + &"x".repeat(900_000))).await;
    assert!(
        response.contains("pleo-proxy: token-rejected") && response.contains("\"carried_out\":\"no\""),
        "{response}"
    );
    let tally = front.finish().await;
    assert_eq!(received(&tally).matches("POST /v1/a ").count(), 1);
}
