//! What a client may say.

use super::{ACCESS, Front, received};

/// Each on a connection of its own: status, code, and nothing of it reaches the API.
#[tokio::test]
async fn what_is_no_call_to_the_api_is_answered_here() {
    let front = Front::before_a_good_server().await;
    for (request, status, code) in [
        ("GET http://HOST/v1/me HTTP/1.1\r\nhost: HOST\r\n", "400", "bad-request"),
        ("GET https://evil.example/v1/me HTTP/1.1\r\nhost: evil.example\r\n", "400", "bad-request"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n", "400", "bad-request"),
        ("OPTIONS * HTTP/1.1\r\nhost: HOST\r\n", "400", "bad-request"),
        ("TRACE /v1/me HTTP/1.1\r\nhost: HOST\r\n", "405", "method-not-allowed"),
        ("GET /v1/me HTTP/1.1\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: evil.example\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: HOST\r\nhost: evil.example\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: HOST, HOST\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: localhost:1\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: evil@HOST\r\n", "421", "misdirected"),
        ("GET /v1/me HTTP/1.1\r\nhost: HOST\r\norigin: http://HOST\r\n", "403", "from-browser"),
        ("GET /v1/me HTTP/1.1\r\nhost: HOST\r\nsec-fetch-site: same-origin\r\n", "403", "from-browser"),
        (
            "GET /v1/me HTTP/1.1\r\nhost: HOST\r\nsec-fetch-site: none\r\nsec-fetch-site: cross-site\r\n",
            "403",
            "from-browser",
        ),
    ] {
        let response = front.says(&format!("{request}connection: close\r\n\r\n")).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {response}");
        assert!(response.contains(&format!("pleo-proxy: {code}\r\n")), "{request}: {response}");
        assert!(response.contains("application/problem+json") && !response.contains(ACCESS), "{response}");
        assert!(!response.contains("access-control-"), "no page of another site may read it: {response}");
    }
    assert_eq!(front.finish().await.connections, 0);
}

/// Not a request at all: the connection ends, and nothing else.
#[tokio::test]
async fn what_is_no_http_reaches_no_one() {
    let front = Front::before_a_good_server().await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: HOST\r\n\r\n", "x".repeat(70_000));
    for request in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\x00\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET v1/me HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nhost: HOST\r\n folded: yes\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nhost : HOST\r\n\r\n",
        "GET /v1/me HTTP/1.1\r\nhost: HOST\r\nx: a\0b\r\n\r\n",
        "POST /v1/me HTTP/1.1\r\nhost: HOST\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "POST /v1/me HTTP/1.1\r\nhost: HOST\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/me HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: gzip\r\n\r\n",
        &long,
    ] {
        let response = front.says(request).await;
        assert!(!response.starts_with("HTTP/1.1 2") && !response.contains(ACCESS), "{request:?}: {response}");
    }
    assert_eq!(front.finish().await.connections, 0);
}

/// Strip first, insert last: whatever a client says about the token, the server gets ours, once.
#[tokio::test]
async fn a_client_can_neither_remove_the_token_nor_add_another() {
    for headers in [
        "connection: close, authorization\r\n",
        "connection: authorization, close\r\nauthorization: Bearer another\r\n",
        "connection: close\r\nauthorization: Basic YTpi\r\nAuthorization: Bearer another\r\n",
        "connection: close\r\nproxy-authorization: Basic YTpi\r\n",
    ] {
        let front = Front::before_a_good_server().await;
        let response = front.says(&format!("GET /v1/me HTTP/1.1\r\nhost: HOST\r\n{headers}\r\n")).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        let request = received(&front.finish().await).to_ascii_lowercase();
        assert_eq!(request.matches("authorization: ").count(), 1, "{request}");
        assert!(request.contains(&format!("authorization: bearer {ACCESS}\r\n")), "{request}");
    }
}

#[tokio::test]
async fn what_is_for_proxies_is_not_forwarded_and_all_else_is() {
    let front = Front::before_a_good_server().await;
    let request = "PATCH /v1/%2e%2e/a//b/./c;d=1?x=%2F&y=a+b&&z HTTP/1.1\r\nhost: HOST\r\nX-Request-Id: 7\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nte: trailers\r\nupgrade: h2c\r\nexpect: 100-continue\r\nforwarded: for=1.2.3.4\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-host: evil.example\r\nx-real-ip: 1.2.3.4\r\nproxy-connection: keep-alive\r\nidempotency-key: k\r\ncontent-length: 2\r\n\r\n{}";
    let response = front.says(request).await;
    assert!(response.contains("HTTP/1.1 200 "), "{response}");
    let address = front.server.address.to_string();
    let request = received(&front.finish().await);
    assert!(
        request.starts_with("PATCH /v1/%2e%2e/a//b/./c;d=1?x=%2F&y=a+b&&z HTTP/1.1\r\n"),
        "byte for byte: {request}"
    );
    let request = request.to_ascii_lowercase();
    for kept in [
        "x-request-id: 7",
        "idempotency-key: k",
        "content-length: 2",
        "via: 1.1 pleo-proxy-",
        &format!("host: {address}"),
    ] {
        assert!(request.contains(kept), "{kept}: {request}");
    }
    for gone in [
        "connection: ",
        "x-hop",
        "keep-alive",
        "te: ",
        "upgrade",
        "expect",
        "forwarded",
        "x-real-ip",
        "proxy-connection",
    ] {
        assert!(!request.contains(&format!("\r\n{gone}")), "{gone}: {request}");
    }
}

/// A second request that is hidden in a body stays one: the proxy says itself how long each body is.
#[tokio::test]
async fn no_second_request_is_smuggled() {
    for request in [
        "POST /v1/a HTTP/1.1\r\nhost: HOST\r\ncontent-length: 44\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nhost: HOST\r\n\r\n",
        "POST /v1/a HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5;x=\"\r\nhello\r\n0\r\ncontent-length: 9\r\n\r\n",
        "POST /v1/a HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\ncontent-length: 36\r\n\r\nGET /v1/smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let front = Front::before_a_good_server().await;
        front.says(request).await;
        let request = received(&front.finish().await).to_ascii_lowercase();
        let heads = request.matches("\r\nhost: ").count();
        let framings =
            request.matches("\r\ncontent-length: ").count() + request.matches("\r\ntransfer-encoding: ").count();
        assert!(heads <= 1 || request.contains("content-length: 36"), "{request}");
        assert!(framings <= 1, "{request}");
    }
}
