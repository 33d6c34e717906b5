//! Errors of the control path: JSON that says what was wrong and what to write instead.

use crate::script::ANY;
use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Json, Response},
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Every path there is.
pub(super) const PATHS: &[&str] = &[
    "GET /ca.pem",
    "GET /clients",
    "PUT /clients/ID",
    "GET /connections",
    "GET /connections/NAME",
    "POST /connections/NAME/consent",
    "POST /connections/NAME/revoke",
    "POST /connections/NAME/expire",
    "POST /connections/NAME/script",
    "DELETE /connections/NAME/script",
    "POST /connections/NAME/introspection-script",
    "DELETE /connections/NAME/introspection-script",
    "POST /connections/NAME/release",
    "PUT /connections/NAME/lifetimes",
    "GET /connections/NAME/wait",
    "GET /exchanges",
    "GET /calls",
    "GET /tokens",
    "POST /outage",
    "DELETE /outage",
];

/// An answer that helps.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    error: String,
    write: String,
}

impl Problem {
    pub(super) fn new(status: u16, error: impl Into<String>, write: impl Into<String>) -> Self {
        Self { status, error: error.into(), write: write.into() }
    }

    pub(super) fn bad(error: impl Into<String>, write: impl Into<String>) -> Self {
        Self::new(400, error, write)
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(404, "there is no such path", PATHS.join(", "))
    }

    pub(super) fn no_such_method() -> Self {
        Self::new(405, "this path has other methods", PATHS.join(", "))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({ "error": self.error, "write": self.write }))).into_response()
    }
}

/// Words what axum itself refuses, such as a wrong query, in the same way.
pub(super) async fn reworded(response: Response) -> Response {
    let plain = |response: &Response| {
        let content_type = response.headers().get(CONTENT_TYPE);
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/plain"))
    };
    let status = response.status();
    if !status.is_client_error() || !plain(&response) {
        return response;
    }
    let said = match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => error.to_string(),
    };
    Problem::new(status.as_u16(), said, "it as README.md shows it").into_response()
}

/// Reads a JSON body, whatever the Content-Type: `curl -d` sends a wrong one.
pub(super) fn read<T: DeserializeOwned>(body: &str, write: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|error| Problem::bad(error.to_string(), write))
}

/// A name of a connection: what stands in a URL, a file name and a log line as it is.
pub(super) fn checked_name(name: &str) -> Result<&str, Problem> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if !name.is_empty() && name.len() <= 128 && name.chars().all(allowed) {
        Ok(name)
    } else {
        Err(Problem::bad(
            "this cannot be a connection's name",
            "1 to 128 letters, digits, dots, underscores and hyphens",
        ))
    }
}

/// The name of a script: a connection's, or the one that holds for all.
pub(super) fn checked_script_name(name: &str) -> Result<&str, Problem> {
    if name == ANY { Ok(name) } else { checked_name(name) }
}

/// A client id: RFC 6749's VSCHAR.
pub(super) fn checked_id(id: &str) -> Result<&str, Problem> {
    if !id.is_empty() && id.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        Ok(id)
    } else {
        Err(Problem::bad("this cannot be a client id", "printable ASCII"))
    }
}
