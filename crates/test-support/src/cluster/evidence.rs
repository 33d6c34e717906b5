//! What operators left behind: logs, metrics, requests; and the hunt for secrets in all of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};

use super::{
    PATIENCE,
    operator::Operator,
    world::{OPERATOR_USER, World},
};

impl World {
    pub(super) fn log_tail(&self) -> String {
        let logs = self.logs.lock().unwrap();
        let lines: Vec<&str> = logs.lines().filter(|line| !line.contains("TRACE") && !line.contains("DEBUG")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn logs(&self) -> String {
        self.logs.lock().unwrap().clone()
    }

    /// I5: no token, and no client secret, in anything that people or machines see: raw, base64, URL-encoded, JSON-escaped.
    pub async fn hunt_for_leaks(&self) {
        let mut haystack = vec![("logs", self.logs()), ("metrics", self.scraped.lock().unwrap().clone())];
        for resource in ["events", "pleoconnections", "leases"] {
            let output =
                self.cluster.kubectl().args(["-n", &self.namespace, "get", resource, "-o", "json"]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            haystack.push((resource, String::from_utf8(output.stdout).unwrap()));
        }
        let mut secrets = self.sandbox.issued_tokens();
        secrets.push("sandbox-secret".into());
        for secret in &secrets {
            for form in forms(secret) {
                for (place, text) in &haystack {
                    assert!(!text.contains(&form), "a secret leaked into the {place} of {}", self.namespace);
                }
            }
        }
        assert!(!secrets.is_empty() && !haystack[0].1.is_empty(), "a hunt in nothing proves nothing");
    }

    /// What operators wrote in this namespace, as `verb resource/subresource name`, without the Lease and events.
    pub fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|(is_write, _)| *is_write).map(|(_, text)| text).collect()
    }

    /// How often operators looked at these connections: each look reads the grant once.
    pub fn looks(&self, names: &[String]) -> Vec<usize> {
        let mut looks = std::collections::BTreeMap::<String, usize>::new();
        for (_, text) in self.requests() {
            if let Some(name) = text.strip_prefix("get secrets/ pleo-grant-") {
                *looks.entry(name.to_owned()).or_default() += 1;
            }
        }
        names.iter().map(|name| looks.get(name).copied().unwrap_or_default()).collect()
    }

    /// How the programs name themselves that asked with the operators' credentials.
    pub fn user_agents(&self) -> BTreeSet<String> {
        let requests = self.cluster.requests(&self.namespace).unwrap();
        let ours = requests.into_iter().filter(|request| request.user == OPERATOR_USER);
        ours.map(|request| request.user_agent).collect()
    }

    fn requests(&self) -> Vec<(bool, String)> {
        let requests = self.cluster.requests(&self.namespace).unwrap();
        let ours = requests.into_iter().filter(|request| request.user == OPERATOR_USER);
        let counted = ours.filter(|request| request.resource != "leases" && request.resource != "events");
        counted
            .map(|request| {
                let text = format!("{} {}/{} {}", request.verb, request.resource, request.subresource, request.name);
                (request.is_write(), text)
            })
            .collect()
    }

    /// Waits until it is counted.
    pub async fn until_counted(&self, operator: &Operator, line: &str) {
        let begun = Instant::now();
        while !self.scrape(operator).lines().any(|found| found == line) {
            assert!(begun.elapsed() < PATIENCE, "never counted {line:?}:\n{}", operator.get("/metrics"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Remembers what an operator shows to Prometheus, for the hunt.
    pub fn scrape(&self, operator: &Operator) -> String {
        let text = operator.get("/metrics");
        self.scraped.lock().unwrap().push_str(&text);
        text
    }
}

/// All ways in which a secret may be written.
fn forms(secret: &str) -> [String; 5] {
    let json = serde_json::to_string(secret).unwrap();
    let url: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let (base64, base64url) = (BASE64_STANDARD.encode(secret), BASE64_URL_SAFE_NO_PAD.encode(secret));
    [secret.to_owned(), base64, base64url, url, json.trim_matches('"').to_owned()]
}
