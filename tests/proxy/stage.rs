//! A server, a proxy in front of its API, and an application that calls it.

use std::time::Duration;

use pleo_operator::proxy::config::{Config, Listen};
use pleo_sandbox::{Options, Sandbox};
use pleo_test_support::proxy::{RunningProxy, TokenFolder};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;

/// Far longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);
const LIFE: Duration = Duration::from_secs(900);

pub struct Stage {
    pub sandbox: Sandbox,
    pub folder: TokenFolder,
    pub proxy: RunningProxy,
    pub client: Client,
    refresh_token: String,
    access_token: String,
}

impl Stage {
    /// With a good token in the folder.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut stage = Self::without_token(change).await;
        stage.rotate().await;
        stage.publish();
        stage
    }

    pub async fn without_token(change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::start(Options::default()).unwrap();
        let folder = TokenFolder::default();
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let proxy = RunningProxy::start(&folder, &sandbox.origin(), sandbox.ca_pem(), listen, change).await;
        let ca = reqwest::Certificate::from_pem(sandbox.ca_pem().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([ca]).no_proxy().timeout(LONG * 2).build().unwrap();
        let refresh_token = sandbox.consent("acme");
        Self { sandbox, folder, proxy, client, refresh_token, access_token: String::new() }
    }

    /// The server rotates: from now on it rejects the token in the folder.
    pub async fn rotate(&mut self) {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &self.refresh_token),
            ("client_id", "sandbox-client"),
            ("client_secret", "sandbox-secret"),
        ];
        let response = self.client.post(self.sandbox.token_url()).form(&form).send().await.unwrap();
        let pair = json(response).await;
        let token = |name: &str| pair[name].as_str().unwrap().to_owned();
        (self.refresh_token, self.access_token) = (token("refresh_token"), token("access_token"));
    }

    /// The newest token that the server issued.
    pub fn access_token(&self) -> &str {
        &self.access_token
    }

    /// The newest token is in the folder; its next refresh is planned for when 90 % of its life are over.
    pub fn publish(&mut self) {
        self.publish_due_in(LIFE.mul_f64(0.9));
    }

    pub fn publish_due_in(&mut self, refresh_in: Duration) {
        self.folder.publish_token(&self.access_token, refresh_in, LIFE);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy.tcp())
    }

    /// A call of the application. It can be spawned.
    pub fn call(&self, method: Method, path: &str, body: Vec<u8>) -> impl Future<Output = Response> + Send + use<> {
        let request = self.client.request(method, self.url(path)).body(body);
        async move { request.send().await.unwrap() }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// Waits until so many calls wait.
    pub async fn until_held(&self, calls: usize) {
        self.until_metric("held_requests", &calls.to_string()).await;
    }

    pub async fn until_state(&self, state: &str) {
        self.until_metric(&format!("token_state{{state=\"{state}\"}}"), "1").await;
    }

    pub async fn until_metric(&self, name: &str, value: &str) {
        self.until_metric_within(LONG, name, value).await;
    }

    pub async fn until_metric_within(&self, limit: Duration, name: &str, value: &str) {
        let line = format!("pleo_proxy_{name} {value}\n");
        let end = tokio::time::Instant::now() + limit;
        while !self.proxy.metrics.text().unwrap().contains(&line) {
            assert!(tokio::time::Instant::now() < end, "no {line} in {}", self.proxy.metrics.text().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How often the server carried out this call.
    pub fn carried_out(&self, id: &str) -> u64 {
        self.sandbox.calls().carried_out.get(id).copied().unwrap_or_default()
    }
}

/// A response of the proxy's own: its code, and the members of its document.
pub async fn problem(response: Response) -> (StatusCode, String, Value) {
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/problem+json");
    let (status, code) = (response.status(), header("pleo-proxy"));
    let document = json(response).await;
    assert_eq!(document["type"], format!("tag:pleo.io,2026:proxy/{code}"));
    assert_eq!(document["status"], status.as_u16());
    (status, code, document)
}

pub async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}
