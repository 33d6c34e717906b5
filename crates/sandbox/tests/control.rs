//! The control path: what a shell can do with `curl`, and what it is told when it errs.

mod common;

use common::{LONG, client, exchange, read, refresh, sandbox, text};
use pleo_sandbox::Sandbox;
use reqwest::{Client, Method};
use serde_json::{Value, json};

struct Control {
    client: Client,
    url: String,
}

impl Control {
    fn of(sandbox: &Sandbox) -> Self {
        Self { client: client(sandbox), url: sandbox.control_url().unwrap() }
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url)).body(body.to_owned());
        read(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, "").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn done(&self, method: Method, path: &str, body: impl ToString) -> Value {
        let (status, value) = self.send(method, path, &body.to_string()).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }
}

#[tokio::test]
async fn a_connection_is_consented_to_looked_at_and_revoked() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let consent = control.done(Method::POST, "/connections/acme/consent", "").await;
    let lifetimes = json!({"access": "20s"});
    control.done(Method::PUT, "/connections/acme/lifetimes", &lifetimes).await;
    let (status, pair) = exchange(&client, &sandbox, text(&consent, "refresh_token")).await;
    assert_eq!((status, pair["expires_in"].as_u64()), (200, Some(20)));

    let shown = control.get("/connections/acme").await;
    assert_eq!(shown["lifetimes"], json!({"access": "20s", "refresh": "1440h"}));
    assert_eq!((&shown["counters"]["rotations"], &shown["families"][0]["life"]), (&json!(1), &json!("alive")));
    assert_eq!(shown.get("tokens"), None);
    let shown = control.get("/connections/acme?tokens=1").await;
    assert_eq!(shown["tokens"]["access_token"], pair["access_token"]);
    assert_eq!(control.get("/connections").await, json!({"connections": ["acme"]}));

    control.done(Method::POST, "/connections/acme/revoke", "").await;
    let (status, _) = exchange(&client, &sandbox, text(&pair, "refresh_token")).await;
    assert_eq!(status, 400);
    let exchanges = control.get("/exchanges?connection=acme").await;
    assert_eq!(exchanges["exchanges"][0]["outcome"], json!({"rotated": {"expires_in": 20}}));
    assert_eq!(exchanges["exchanges"][1]["outcome"], json!({"refused": "dead_family"}));
    assert_eq!(exchanges["exchanges"][1]["answer"], json!({"status": 400}));
    assert_eq!(control.get("/exchanges?connection=other").await["exchanges"], json!([]));
    assert_eq!(control.get("/tokens").await["tokens"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_consent_can_be_had_raw_for_shells() {
    let sandbox = sandbox();
    let url = format!("{}/connections/acme/consent?raw=1", sandbox.control_url().unwrap());
    let token = client(&sandbox).post(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(sandbox.issued_tokens(), [token]);
}

#[tokio::test]
async fn a_refresh_token_can_be_made_to_expire() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let first = sandbox.consent("acme");
    control.done(Method::POST, "/connections/acme/expire", "").await;
    assert_eq!(exchange(&client, &sandbox, &first).await.0, 400);
    assert_eq!(sandbox.counters("acme").families_killed, 1);
}

#[tokio::test]
async fn a_script_is_queued_repeated_and_cleared() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let first = sandbox.consent("acme");
    let path = "/connections/acme/script";
    let error = |code: &str| json!({"answer": {"error": {"code": code}}});
    control.done(Method::POST, path, json!([error("one"), error("two")])).await;
    control.done(Method::POST, path, error("three")).await;
    let script = control.done(Method::POST, path, json!({"repeat": error("four")})).await;
    assert_eq!(script["script"]["steps"].as_array().unwrap().len(), 3);
    for code in ["one", "two", "three", "four", "four"] {
        assert_eq!(text(&exchange(&client, &sandbox, &first).await.1, "error"), code);
    }
    control.done(Method::DELETE, path, "").await;
    assert_eq!(exchange(&client, &sandbox, &first).await.0, 200);
}

#[tokio::test]
async fn held_exchanges_are_released_and_waited_for() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let first = sandbox.consent("acme");
    control.done(Method::POST, "/connections/*/script", json!({"before": "hold"})).await;
    let held = tokio::spawn(refresh(&client, &sandbox, &first).send());
    sandbox.until(LONG, |authority| authority.counters("acme").exchanges == 1).await.unwrap();
    let (status, _) = control.send(Method::GET, "/connections/acme/wait?rotations=1&timeout=5ms", "").await;
    assert_eq!(status, 408);
    control.done(Method::POST, "/connections/acme/release", "").await;
    let waited = control.get("/connections/acme/wait?rotations=1&exchanges=1").await;
    assert_eq!(waited["counters"]["rotations"], 1);
    assert_eq!(held.await.unwrap().unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn clients_are_registered_and_never_show_their_secret() {
    let sandbox = sandbox();
    let control = Control::of(&sandbox);
    let other = json!({"secret": "hidden", "authentications": ["basic"]});
    control.done(Method::PUT, "/clients/other", &other).await;
    control.done(Method::PUT, "/clients/public", json!({})).await;
    let clients = control.get("/clients").await;
    assert_eq!(
        clients["clients"][0],
        json!({"id": "other", "public": false, "authentications": ["basic"], "redirect_uris": []})
    );
    assert_eq!(clients["clients"][1]["public"], true);
    assert!(!clients.to_string().contains("hidden"));
    control.done(Method::POST, "/connections/acme/consent", json!({"client_id": "other"})).await;
    assert_eq!(sandbox.families("acme")[0].client_id, "other");
}

#[tokio::test]
async fn the_ca_can_be_fetched_and_an_outage_be_made() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let ca = client.get(format!("{}/ca.pem", control.url)).send().await.unwrap().text().await.unwrap();
    assert_eq!(ca, sandbox.ca_pem());
    control.done(Method::POST, "/outage", "").await;
    assert!(client.get(sandbox.api_url()).send().await.unwrap_err().is_connect());
    control.done(Method::DELETE, "/outage", "").await;
    assert_eq!(client.get(sandbox.api_url()).send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn errors_say_what_to_write_instead() {
    let sandbox = sandbox();
    let control = Control::of(&sandbox);
    sandbox.consent("acme");
    let cases = [
        (Method::GET, "/connection", "", 404, "GET /connections/NAME"),
        (Method::POST, "/tokens", "", 405, "GET /tokens"),
        (Method::GET, "/connections/nobody", "", 404, "consent first"),
        (Method::POST, "/connections/nobody/revoke", "", 404, "consent first"),
        (Method::POST, "/connections/a%20b/consent", "", 400, "letters, digits"),
        (Method::POST, "/connections/acme/consent", r#"{"client":"x"}"#, 400, "client_id"),
        (Method::POST, "/connections/acme/consent", r#"{"client_id":"x"}"#, 404, "PUT /clients/ID"),
        (Method::POST, "/connections/acme/script", "{", 400, "a list of steps"),
        (Method::POST, "/connections/acme/script", r#"{"answer":"no"}"#, 400, "README.md"),
        (Method::POST, "/connections/acme/script", r#"{"rotate":false}"#, 400, "README.md"),
        (Method::PUT, "/connections/acme/lifetimes", r#"{"access":"soon"}"#, 400, "either may be left out"),
        (Method::PUT, "/clients/x", r#"{"authentications":[]}"#, 400, "a public client has no secret"),
        (Method::GET, "/connections/acme/wait", "", 400, "?rotations=3"),
        (Method::GET, "/connections/acme/wait?rotations=x", "", 400, "README.md"),
    ];
    for (method, path, body, status, words) in cases {
        let (got, problem) = control.send(method, path, body).await;
        assert_eq!(got, status, "{path}: {problem}");
        assert!(text(&problem, "write").contains(words), "{path}: {problem}");
        assert!(!text(&problem, "error").is_empty());
    }
    let paths = control.get("/").await;
    assert!(paths["paths"].as_array().unwrap().len() > 10);
}

#[tokio::test]
async fn introspection_fails_lies_and_is_silent_as_scripted_and_uses_up_nothing() {
    let sandbox = sandbox();
    let (client, control) = (client(&sandbox), Control::of(&sandbox));
    let token = sandbox.consent("acme");
    let ask = async || {
        let question = client.post(sandbox.introspection_url()).basic_auth("sandbox-client", Some("sandbox-secret"));
        question.form(&[("token", token.as_str())]).send().await
    };
    let path = "/connections/acme/introspection-script";
    let steps = json!([
        {"answer": {"status": {"status": 503}}},
        {"answer": {"custom": {"status": 200, "body": "{\"active\": false}"}}},
        {"answer": "request_lost"},
    ]);
    control.done(Method::POST, path, &steps).await;
    assert_eq!(control.get("/connections/acme").await["introspection_script"]["steps"].as_array().unwrap().len(), 3);

    assert_eq!(ask().await.unwrap().status().as_u16(), 503);
    assert_eq!(read(ask().await.unwrap()).await, (200, json!({"active": false})), "a lie");
    ask().await.unwrap_err();
    assert_eq!(read(ask().await.unwrap()).await, (200, json!({"active": true})), "the script has ended");

    control.done(Method::POST, path, json!({"repeat": {"answer": {"error": {"code": "invalid_client"}}}})).await;
    assert_eq!(ask().await.unwrap().status().as_u16(), 401);
    control.done(Method::DELETE, path, "").await;
    control.done(Method::POST, path, json!({"before": "hold"})).await;
    let held = ask();
    let release = async {
        sandbox.until(LONG, |authority| authority.counters("acme").introspections == 6).await.unwrap();
        control.done(Method::POST, "/connections/acme/release", "").await;
    };
    assert_eq!(tokio::join!(held, release).0.unwrap().status().as_u16(), 200);
    assert_eq!(sandbox.counters("acme").exchanges, 0);
    assert_eq!(exchange(&client, &sandbox, &token).await.0, 200, "the token was not used");
}

#[tokio::test]
async fn a_step_that_an_introspection_cannot_take_is_refused() {
    let sandbox = sandbox();
    let control = Control::of(&sandbox);
    for step in [json!({"rotate": true}), json!({"answer": "answer_lost"}), json!({"answer": {"malformed": "empty"}})] {
        let (status, value) =
            control.send(Method::POST, "/connections/*/introspection-script", &step.to_string()).await;
        assert_eq!(status, 400, "{step}");
        assert!(text(&value, "error").starts_with("an introspection"), "{value}");
    }
}
