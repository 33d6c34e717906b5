//! The token endpoint and the API over real HTTPS: who may ask, and how strictly it is read.

mod common;

use common::{client, exchange, http1, read, refresh, sandbox, text};
use pleo_sandbox::{Options, Sandbox};
use reqwest::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, Version};

const FORM: &str = "application/x-www-form-urlencoded";

async fn me(client: &reqwest::Client, sandbox: &Sandbox, token: &str) -> (u16, serde_json::Value) {
    let request = client.get(sandbox.api_url()).header(AUTHORIZATION, format!("Bearer {token}"));
    read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_refresh_with_the_secret_in_the_body_rotates() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let response = refresh(&client, &sandbox, &first).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let (status, pair) = read(response).await;
    assert_eq!((status, text(&pair, "token_type"), pair["expires_in"].as_u64()), (200, "Bearer", Some(900)));

    let access = text(&pair, "access_token");
    assert_eq!(sandbox.access_is_good(access).as_deref(), Some("acme"));
    let (status, answer) = me(&client, &sandbox, access).await;
    assert_eq!((status, text(&answer, "connection")), (200, "acme"));
    exchange(&client, &sandbox, text(&pair, "refresh_token")).await;
    assert_eq!(me(&client, &sandbox, access).await.0, 401, "the old access token is dead at once");
}

#[tokio::test]
async fn http_1_is_spoken_as_well() {
    let sandbox = sandbox();
    let first = sandbox.consent("acme");
    let response = refresh(&http1(&sandbox), &sandbox, &first).send().await.unwrap();
    assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_11, 200));
}

#[tokio::test]
async fn a_refresh_with_http_basic_rotates_and_both_parts_are_form_urlencoded() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    sandbox.set_client("my:id", Some("a+b c%"));
    let first = sandbox.consent_to("acme", "my:id");
    let basic = |id: &str, secret: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", first.as_str())];
        client.post(sandbox.token_url()).form(&form).basic_auth(id, Some(secret))
    };
    let response = basic("my%3Aid", "wrong").send().await.unwrap();
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    let (status, answer) = read(response).await;
    assert_eq!((status, text(&answer, "error")), (401, "invalid_client"));
    let (status, _) = read(basic("my%3Aid", "a%2Bb+c%25").send().await.unwrap()).await;
    assert_eq!(status, 200);
}

async fn assert_refused(request: RequestBuilder, status: u16, code: &str, what: &str) {
    let (got, answer) = read(request.send().await.unwrap()).await;
    assert_eq!((got, text(&answer, "error")), (status, code), "{what}: {answer}");
}

#[tokio::test]
async fn malformed_requests_are_refused_and_leave_the_grant_alone() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let post = |body: &str| client.post(sandbox.token_url()).header(CONTENT_TYPE, FORM).body(body.to_owned());
    let good = "grant_type=refresh_token&client_id=sandbox-client&client_secret=sandbox-secret";
    let unsupported = good.replace("=refresh_token", "=password");
    let large = format!("{good}&refresh_token={}", "x".repeat(70_000));
    let cases = [
        (post(good), 400, "invalid_request", "no token"),
        (post("refresh_token=x&client_id=sandbox-client"), 400, "invalid_request", "no grant_type"),
        (post("grant_type=refresh_token&refresh_token=x"), 401, "invalid_client", "no client"),
        (post(&format!("{good}&refresh_token=")), 400, "invalid_request", "an empty token"),
        (post(&format!("{good}&refresh_token=x&refresh_token=x")), 400, "invalid_request", "twice"),
        (post(&format!("{good}&refresh_token=%zz")), 400, "invalid_request", "a bad escape"),
        (post(&format!("{good}&refresh_token=\"")), 400, "invalid_request", "not encoded"),
        (post(&format!("{good}&refresh_token=x&scope=all")), 400, "invalid_scope", "a scope"),
        (post(&unsupported), 400, "unsupported_grant_type", "another grant"),
        (post(&large), 413, "invalid_request", "too large"),
        (
            post(&format!("{good}&refresh_token=x")).basic_auth("sandbox-client", Some("sandbox-secret")),
            400,
            "invalid_request",
            "both authentications",
        ),
        (
            client.post(format!("{}?x=y", sandbox.token_url())).header(CONTENT_TYPE, FORM).body(good),
            400,
            "invalid_request",
            "a query",
        ),
        (
            client.post(sandbox.token_url()).json(&serde_json::json!({"grant_type": "refresh_token"})),
            400,
            "invalid_request",
            "JSON",
        ),
        (client.post(sandbox.token_url()).body(good), 400, "invalid_request", "no content type"),
    ];
    let count = u64::try_from(cases.len()).unwrap();
    for (request, status, code, what) in cases {
        assert_refused(request, status, code, what).await;
    }
    assert_eq!(sandbox.malformed_requests(), count);
    assert_eq!(sandbox.exchanges().len(), 0);
    assert_eq!(exchange(&client, &sandbox, &first).await.0, 200);
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let response = client.get(sandbox.token_url()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()[ALLOW].to_str().unwrap()), (405, "POST"));
    let response = client.post(sandbox.api_url()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 405);
    let response = client.get(sandbox.origin()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
    let response = client.get(sandbox.authorization_url()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400, "a request for consent without its parameters");
}

#[tokio::test]
async fn the_api_asks_for_a_bearer_token() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let response = client.get(sandbox.api_url()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
    assert_eq!(me(&client, &sandbox, &sandbox.consent("acme")).await.0, 401, "a refresh token is none");
}

#[tokio::test]
async fn a_replay_kills_the_family_over_https_too() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let first = sandbox.consent("acme");
    let (_, pair) = exchange(&client, &sandbox, &first).await;
    let (status, answer) = exchange(&client, &sandbox, &first).await;
    assert_eq!((status, text(&answer, "error")), (400, "invalid_grant"));
    assert_eq!(sandbox.access_is_good(text(&pair, "access_token")), None);
    let counters = sandbox.counters("acme");
    assert_eq!((counters.resent, counters.replays, counters.families_killed), (1, 1, 1));
}

#[tokio::test]
async fn only_its_own_ca_vouches_for_a_sandbox() {
    let (sandbox, other) = (sandbox(), common::sandbox());
    let error = client(&other).get(sandbox.api_url()).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let by_name = sandbox.api_url().replace("127.0.0.1", "localhost");
    assert_eq!(client(&sandbox).get(by_name).send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn extra_names_stand_in_the_certificate() {
    let options = Options { extra_names: vec!["pleo.test".into()], ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let port = sandbox.origin().rsplit(':').next().unwrap().to_owned();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let client = common::client_builder(sandbox.ca_pem()).resolve("pleo.test", address).build().unwrap();
    let response = client.get(format!("https://pleo.test:{port}/v1/me")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 401);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options { port: taken.local_addr().unwrap().port(), ..Options::default() };
    let error = Sandbox::start(options).err().unwrap();
    assert!(error.to_string().contains("choose another port"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}
