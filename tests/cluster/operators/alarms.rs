//! Who is told at once: the webhook, and whoever watches for attacks (O2). On a real API server, which knows who wrote what.

use std::sync::Arc;

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use kube::api::{Patch, PatchParams};
use pleo_operator::notify::SigningKey;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::harness::{Flags, Operator, PATIENCE, World, finish};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Checks the signature of what comes, as any receiver should.
async fn receive(State(heard): State<Arc<mpsc::UnboundedSender<Value>>>, headers: HeaderMap, body: String) {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let key: SigningKey = KEY.parse().unwrap();
    let signed = key.signature(&text("webhook-id"), text("webhook-timestamp").parse().unwrap(), &body);
    assert_eq!(text("webhook-signature"), signed);
    heard.send(serde_json::from_str(&body).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_when_a_human_is_needed_and_when_all_is_well() {
    let world = World::new("webhook").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pleo", listener.local_addr().unwrap());
    let (sender, mut heard) = mpsc::unbounded_channel();
    let receiver = Router::new().route("/pleo", post(receive)).with_state(Arc::new(sender));
    let serving = tokio::spawn(async { axum::serve(listener, receiver).await.unwrap() });
    let folder = std::env::temp_dir().join(format!("{}-key", world.namespace));
    std::fs::write(&folder, format!("{KEY}\n")).unwrap();
    let flags = Flags::identity("a").with("--notify-url").with(&url);
    let operator = world.operator(&flags.with("--notify-key-file").with(folder.to_str().unwrap()));

    let mut next = async || {
        let event = tokio::time::timeout(PATIENCE, heard.recv()).await.expect("a notice").unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["data"]["reason"].as_str().unwrap().to_owned())
    };
    world.connect("acme", json!({})).await;
    assert_eq!(next().await, ("io.pleo.connection.reauth-required".into(), "NotAuthorized".into()));
    world.consent("acme").await;
    assert_eq!(next().await, ("io.pleo.connection.recovered".into(), "GrantValid".into()));
    world.sandbox.revoke("acme");
    world.request_refresh("acme", "now").await;
    assert_eq!(next().await, ("io.pleo.connection.reauth-required".into(), "GrantRefused".into()));
    world.until_counted(&operator, r#"pleo_notices_total{outcome="success"} 3"#).await;
    assert_eq!(operator.stop().await, 0);
    serving.abort();
    std::fs::remove_file(folder).unwrap();
    finish(world).await;
}

/// Writes into a Secret as somebody who uses that program.
async fn write_as(world: &World, program: &str, secret: &str, patch: Value) {
    let parameters = PatchParams { field_manager: Some(program.into()), ..PatchParams::default() };
    world.secrets().patch(secret, &parameters, &Patch::Merge(patch)).await.unwrap();
}

fn count(operator: &Operator, signal: &str) -> String {
    let series = format!("pleo_security_signals_total{{signal=\"{signal}\"}} ");
    let scraped = operator.get("/metrics");
    scraped.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_default().to_owned()
}

/// Labels are free for all; data is not. Pods get the right token back, and somebody is told who did it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_into_our_secrets_is_named() {
    let world = World::new("edited").await;
    let operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    write_as(&world, "labeller", "acme-token", json!({"metadata": {"labels": {"team": "finance"}}})).await;
    write_as(&world, "kubectl-edit", "acme-token", json!({"stringData": {"access_token": "mine"}})).await;
    world.until_counted(&operator, r#"pleo_security_signals_total{signal="secret_edited"} 1"#).await;
    assert!(world.published_token_is_good("acme").await);
    write_as(&world, "a-thief", "pleo-grant-acme", json!({"stringData": {"more": "x"}})).await;
    world.until_counted(&operator, r#"pleo_security_signals_total{signal="secret_edited"} 2"#).await;
    world.request_refresh("acme", "once").await;
    world.until_rotation("acme", 2).await;
    let told = world.events("SecretEdited").await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|note| note.starts_with("kubectl-edit wrote into the Secret acme-token at ")), "{told:?}");
    assert!(told.iter().any(|note| note.starts_with("a-thief wrote into the Secret pleo-grant-acme at ")), "{told:?}");
    assert_eq!((count(&operator, "secret_edited").as_str(), count(&operator, "rejected_early").as_str()), ("2", "0"));

    world.sandbox.revoke("acme");
    world.request_refresh("acme", "twice").await;
    world.until_counted(&operator, r#"pleo_security_signals_total{signal="rejected_early"} 1"#).await;
    // It is counted before it is sent.
    world.until_event("RejectedEarly").await;
    assert_eq!(world.events("RejectedEarly").await.len(), 1);
    finish(world).await;
}
