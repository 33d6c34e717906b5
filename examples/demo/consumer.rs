//! A program that uses the token, as in `examples/pod.yaml`. The API server of the demo has no node that could run a pod,
//! so this one reads the Secret by kubectl instead of by a mount; what it reads is the same.

use anyhow::Context as _;
use reqwest::{Certificate, Client, StatusCode};

use crate::world::World;

/// A token, and what the API said to it.
pub struct Call {
    pub token: String,
    pub status: StatusCode,
}

impl World {
    /// Reads the token that pods see, and calls the API with it, as a consumer does.
    pub async fn consume(&self) -> anyhow::Result<Call> {
        let key = "go-template={{.data.access_token | base64decode}}";
        let token = self.quietly(&["get", "secret", "acme-token", "-o", key]).await?;
        let status = self.call_with(&token, "the file access_token").await?;
        Ok(Call { token, status })
    }

    /// Calls the API with a token, and shows the call and the answer.
    pub async fn call_with(&self, token: &str, described: &str) -> anyhow::Result<StatusCode> {
        let url = self.sandbox.api_url();
        self.screen.asked(&format!("GET {url} with `Authorization: Bearer` and {described}"))?;
        let sent = client(self.sandbox.ca_pem())?.get(&url).bearer_auth(token).send().await;
        let answer = sent.context("the API did not answer")?;
        let status = answer.status();
        let body = answer.text().await.context("the API's answer broke off")?;
        self.screen.printed(&format!("{status} {body}"))?;
        Ok(status)
    }

    /// Reads the operator's metrics, and shows that.
    pub async fn metrics(&self, url: &str) -> anyhow::Result<String> {
        self.screen.asked(&format!("GET {url}"))?;
        let sent = client(self.sandbox.ca_pem())?.get(url).send().await;
        sent.context("the operator serves no metrics")?.text().await.context("the metrics broke off")
    }
}

fn client(ca_pem: &str) -> anyhow::Result<Client> {
    let roots = Certificate::from_pem_bundle(ca_pem.as_bytes()).context("the sandbox's CA is no PEM")?;
    Client::builder().tls_certs_only(roots).no_proxy().build().context("no HTTPS client")
}
