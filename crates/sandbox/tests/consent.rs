//! The authorization code flow: a page for people, a code that is good once, and PKCE.

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{client, exchange, read, text};
use pleo_sandbox::{Options, Sandbox};
use reqwest::{Client, Response, Url};
use serde_json::Value;
use std::collections::BTreeMap;

const BACK: &str = "https://operator.example.com/callback?from=sandbox";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn sandbox() -> Sandbox {
    let redirect_uris = vec![BACK.to_owned(), "http://127.0.0.1:0/callback".to_owned()];
    Sandbox::start(Options { redirect_uris, ..Options::default() }).unwrap()
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()))
}

/// What a client asks for, with some of it changed or left out.
fn asking(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let challenge = challenge();
    let usual = [
        ("response_type", "code"),
        ("client_id", "sandbox-client"),
        ("redirect_uri", BACK),
        ("state", "a+b&<c>"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let all = usual.iter().chain(changes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    all.collect::<BTreeMap<_, _>>().into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

async fn get(client: &Client, sandbox: &Sandbox, asking: &BTreeMap<String, String>) -> Response {
    let url = Url::parse_with_params(&sandbox.authorization_url(), asking).unwrap();
    client.get(url).send().await.unwrap()
}

/// The user answers the page.
async fn answer(client: &Client, sandbox: &Sandbox, changes: &[(&str, &str)]) -> Response {
    client.post(sandbox.authorization_url()).form(&asking(changes)).send().await.unwrap()
}

/// Where the user is sent back to, and with what.
fn sent_back(response: &Response) -> (String, BTreeMap<String, String>) {
    assert_eq!(response.status(), 303);
    let url = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    (format!("{}{}", url.origin().ascii_serialization(), url.path()), url.query_pairs().into_owned().collect())
}

async fn code(client: &Client, sandbox: &Sandbox) -> String {
    let allowed = answer(client, sandbox, &[("decision", "allow"), ("account", "acme")]).await;
    sent_back(&allowed).1["code"].clone()
}

async fn buy(client: &Client, sandbox: &Sandbox, code: &str, changes: &[(&str, &str)]) -> (u16, Value) {
    let mut form = BTreeMap::from([
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-secret"),
    ]);
    form.extend(changes.iter().copied());
    form.retain(|_, value| !value.is_empty());
    read(client.post(sandbox.token_url()).form(&form).send().await.unwrap()).await
}

#[tokio::test]
async fn a_consent_brings_a_code_and_the_code_a_pair() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let page = get(&client, &sandbox, &asking(&[("login_hint", "acme")])).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    let html = page.text().await.unwrap();
    assert!(html.contains(r#"name="state" value="a+b&amp;&lt;c&gt;""#) && html.contains(r#"value="acme""#), "{html}");

    let allowed = answer(&client, &sandbox, &[("decision", "allow"), ("account", "acme")]).await;
    let (back, query) = sent_back(&allowed);
    assert_eq!(back, "https://operator.example.com/callback");
    assert_eq!((query["from"].as_str(), query["state"].as_str()), ("sandbox", "a+b&<c>"));
    assert_eq!(query["iss"], sandbox.origin());
    let (status, pair) = buy(&client, &sandbox, &query["code"], &[]).await;
    assert_eq!((status, text(&pair, "token_type")), (200, "Bearer"));
    assert_eq!(sandbox.access_is_good(text(&pair, "access_token")).as_deref(), Some("acme"));
    assert_eq!(exchange(&client, &sandbox, text(&pair, "refresh_token")).await.0, 200);
    assert!(sandbox.issued_tokens().contains(&query["code"]), "a leak hunt looks for codes, too");
}

#[tokio::test]
async fn a_code_is_good_once_and_its_second_use_kills_what_it_bought() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    let code = code(&client, &sandbox).await;
    let (_, pair) = buy(&client, &sandbox, &code, &[]).await;
    let (status, refused) = buy(&client, &sandbox, &code, &[]).await;
    assert_eq!((status, text(&refused, "error")), (400, "invalid_grant"));
    assert_eq!(sandbox.access_is_good(text(&pair, "access_token")), None);
    assert_eq!(exchange(&client, &sandbox, text(&pair, "refresh_token")).await.0, 400);
}

/// A wrong verifier or redirect URI costs the code; wrong words cost nothing.
#[tokio::test]
async fn a_code_is_bound_to_its_request() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    sandbox.set_client("other", None);
    for (changes, error, is_spent) in [
        (vec![("code_verifier", "x")], "invalid_grant", true),
        (vec![("code_verifier", "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")], "invalid_grant", true),
        (vec![("redirect_uri", "https://operator.example.com/callback")], "invalid_grant", true),
        (vec![("code_verifier", "")], "invalid_request", false),
        (vec![("redirect_uri", "")], "invalid_request", false),
        (vec![("client_secret", "wrong")], "invalid_client", false),
        (vec![("client_id", "other"), ("client_secret", "")], "invalid_grant", false),
        (vec![("grant_type", "password")], "unsupported_grant_type", false),
    ] {
        let code = code(&client, &sandbox).await;
        let (status, refused) = buy(&client, &sandbox, &code, &changes).await;
        assert!(status == 400 || status == 401, "{changes:?}: {status}");
        assert_eq!(text(&refused, "error"), error, "{changes:?}");
        assert_eq!(buy(&client, &sandbox, &code, &[]).await.0 != 200, is_spent, "{changes:?}");
    }
    let refresh_token = sandbox.consent("acme");
    assert_eq!(buy(&client, &sandbox, &refresh_token, &[]).await.0, 400, "a refresh token is no code");
    let code = code(&client, &sandbox).await;
    assert_eq!(exchange(&client, &sandbox, &code).await.0, 400, "and a code no refresh token");
}

/// Whoever is not known may send nobody anywhere.
#[tokio::test]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    for changes in [
        [("redirect_uri", "https://operator.example.com/callback")],
        [("redirect_uri", "https://evil.example.com/callback?from=sandbox")],
        [("redirect_uri", "http://127.0.0.1:80/other")],
        [("redirect_uri", "")],
        [("client_id", "unknown")],
        [("client_id", "")],
    ] {
        let asked = get(&client, &sandbox, &asking(&changes)).await;
        assert_eq!((asked.status().as_u16(), asked.headers().get("location")), (400, None), "{changes:?}");
        let all: Vec<_> = changes.into_iter().chain([("decision", "allow"), ("account", "acme")]).collect();
        assert_eq!(answer(&client, &sandbox, &all).await.status(), 400, "{changes:?}");
    }
    let loopback = [("redirect_uri", "http://127.0.0.1:43210/callback")];
    assert_eq!(get(&client, &sandbox, &asking(&loopback)).await.status(), 200, "any port of a loopback address");
}

#[tokio::test]
async fn a_wrong_request_and_a_no_go_back_to_the_client() {
    let sandbox = sandbox();
    let client = client(&sandbox);
    for (changes, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
    ] {
        let (_, query) = sent_back(&get(&client, &sandbox, &asking(&[changes])).await);
        assert_eq!((query["error"].as_str(), query["state"].as_str()), (error, "a+b&<c>"), "{changes:?}");
    }
    let (_, query) = sent_back(&answer(&client, &sandbox, &[("decision", "deny")]).await);
    assert_eq!((query["error"].as_str(), query.get("code")), ("access_denied", None));
    assert_eq!(query["iss"], sandbox.origin());
}
