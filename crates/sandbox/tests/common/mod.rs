//! What the tests over real HTTPS share: a sandbox, a client that trusts it, a refresh.
#![allow(dead_code)] // each test file uses its part

use pleo_sandbox::{Options, Sandbox};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response};
use serde_json::Value;
use std::time::Duration;

/// Far longer than anything here takes, so that only a hang meets it.
pub const LONG: Duration = Duration::from_secs(20);

pub fn sandbox() -> Sandbox {
    Sandbox::start(Options::default()).unwrap()
}

/// A client that trusts this sandbox and nobody else.
pub fn client_builder(ca_pem: &str) -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .tls_certs_only([Certificate::from_pem(ca_pem.as_bytes()).unwrap()])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LONG)
}

pub fn client(sandbox: &Sandbox) -> Client {
    client_builder(sandbox.ca_pem()).build().unwrap()
}

pub fn http1(sandbox: &Sandbox) -> Client {
    client_builder(sandbox.ca_pem()).http1_only().build().unwrap()
}

/// A refresh as Pleo documents it: client id and secret in the body.
pub fn refresh(client: &Client, sandbox: &Sandbox, token: &str) -> RequestBuilder {
    client.post(sandbox.token_url()).form(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("client_id", "sandbox-client"),
        ("client_secret", "sandbox-secret"),
    ])
}

/// Sends a refresh, and reads status and JSON.
pub async fn exchange(client: &Client, sandbox: &Sandbox, token: &str) -> (u16, Value) {
    read(refresh(client, sandbox, token).send().await.unwrap()).await
}

pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}
