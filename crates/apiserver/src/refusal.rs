//! The answers that say no: `Status` objects, worded as the real server words them.

use serde_json::{Value, json};

/// A request that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// What a test asks for by its status code alone.
    pub fn of_code(code: u16) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            410 => "Expired",
            422 => "Invalid",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "InternalError",
        };
        Self::new(code, reason, format!("the test asked for a {code}"))
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found"))
    }

    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// What is said of an API group that is not served, such as one whose CRD is not installed: it is no `Status`.
    pub fn no_such_page() -> Self {
        Self::new(404, "", "404 page not found\n")
    }

    pub fn unsupported(content_type: &str) -> Self {
        let why = format!("the body of the request was in an unknown format: {content_type}");
        Self::new(415, "UnsupportedMediaType", why)
    }

    pub fn exists(resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"))
    }

    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
    }

    pub fn invalid(resource: &str, name: &str, why: &str) -> Self {
        Self::new(422, "Invalid", format!("{resource} \"{name}\" is invalid: {why}"))
    }

    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// Louder than a wrong answer: the test needs something that this server does not do.
    pub fn not_simulated(what: &str) -> Self {
        Self::new(501, "NotSimulated", format!("the simulated API server does not do this: {what}"))
    }

    /// Seconds to wait, for the codes at which the real server names some.
    pub fn retry_after(&self) -> Option<u64> {
        matches!(self.code, 429 | 503).then_some(1)
    }

    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if let Some(seconds) = self.retry_after() {
            body["details"] = json!({"retryAfterSeconds": seconds});
        }
        body
    }
}
