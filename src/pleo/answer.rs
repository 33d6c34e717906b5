//! What a response of the token endpoint means: a function of status, headers and body. A success (2xx) whose body has a token
//! is never thrown away, a rejection is believed only when it is unmistakable, and no text of the server is passed on, since it
//! may echo the token.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use zeroize::Zeroizing;

use crate::domain::{
    failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
    plan::schedule::{DEFAULT_LIFETIME, MAX_BACKOFF, MAX_LIFETIME},
    time::between,
    token::{AccessToken, ErrorCode, RefreshToken},
};

/// The largest answer that is read, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// Reads an answer. `retry_after` is the header's text, `now` the time it came, for a date in it.
pub fn interpret(status: u16, retry_after: Option<&str>, body: &[u8], now: Timestamp) -> Outcome {
    let retry_after = retry_after.and_then(|text| read_retry_after(text, now));
    let failed = |kind, code, detail| Outcome::Failed(Failure { kind, detail, code, retry_after });
    match status {
        // RFC 6749 section 5.1 says 200; servers and gateways say 201 and 203, too, and the pair exists nowhere else.
        200..=299 => issued(body).map_or_else(
            || failed(FailureKind::OutcomeUnknown, None, format!("the server answered {status} without a token")),
            Outcome::Issued,
        ),
        429 => failed(FailureKind::Throttled, None, "the server answered 429: too many requests".to_owned()),
        400..=499 => {
            let code = serde_json::from_slice::<ErrorAnswer>(body).ok().map(|answer| answer.error);
            let code = code.filter(|code| !code.is_empty());
            let kind = meaning(status, code.as_deref());
            let what = match (&code, kind) {
                (None, _) => " with nothing that we know".to_owned(),
                // A code that is not known is the server's text.
                (Some(_), FailureKind::UnknownRejection | FailureKind::OutcomeUnknown) => String::new(),
                (Some(code), _) => format!(" {code}"),
            };
            failed(kind, code.map(ErrorCode::new), format!("the server answered {status}{what}"))
        }
        _ => failed(FailureKind::OutcomeUnknown, None, format!("the server answered {status}")),
    }
}

/// A success that has either token (RFC 6749 section 5.1). Read leniently: the pair exists nowhere else.
fn issued(body: &[u8]) -> Option<TokenResponse> {
    // Up to the end of the object, and member by member: what cannot be read around a token does not cost the token.
    let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
    let is_damaged = |text: &str| text.contains(char::REPLACEMENT_CHARACTER) && str::from_utf8(body).is_err();
    let mut json = serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
    let members = BTreeMap::<String, Box<RawValue>>::deserialize(&mut json).ok()?;
    let text = |name: &str| {
        let text = members.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        text.filter(|text| !text.is_empty() && !is_damaged(text))
    };
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    let token_type = text("token_type").filter(|text| is_short_and_plain(text)).unwrap_or_else(|| "Bearer".to_owned());
    if access.is_none() && refresh.is_none() {
        return None;
    }
    Some(TokenResponse {
        access: access.map(AccessToken::new),
        refresh: refresh.map(RefreshToken::new),
        token_type,
        lifetime: members.get("expires_in").and_then(|raw| lifetime(raw.get())).unwrap_or(DEFAULT_LIFETIME),
    })
}

/// A token type is a word; anything else may be a token in the wrong place.
fn is_short_and_plain(text: &str) -> bool {
    text.len() <= 20 && text.chars().all(|c| c.is_ascii_alphabetic())
}

/// `expires_in` in seconds, as a number or a string; none if it makes no sense. A day at most.
fn lifetime(json: &str) -> Option<Duration> {
    let seconds: f64 = match serde_json::from_str::<Value>(json).ok()? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let positive = (seconds.is_finite() && seconds > 0.0).then_some(seconds)?;
    Duration::try_from_secs_f64(positive.min(MAX_LIFETIME.as_secs_f64())).ok()
}

/// An error answer (RFC 6749 section 5.2). A member named twice makes it no answer at all.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// What an error code means. A known one does not depend on which 4xx comes with it: RFC 6749 section 5.2 says 400, and 401 and
/// 403 occur.
fn meaning(status: u16, code: Option<&str>) -> FailureKind {
    match (code, status) {
        (Some("invalid_grant"), _) => FailureKind::Rejected(RejectionCode::InvalidGrant),
        (Some("invalid_token"), _) => FailureKind::Rejected(RejectionCode::InvalidToken),
        // Without a code, 401 is about the credentials of the request (RFC 9110 section 15.5.2): no token was looked at.
        (Some("invalid_client" | "unauthorized_client"), _) | (None, 401) => {
            FailureKind::Misconfigured(Misconfiguration::Client)
        }
        (Some("invalid_request" | "invalid_scope" | "unsupported_grant_type"), _) => {
            FailureKind::Misconfigured(Misconfiguration::Request)
        }
        (Some("temporarily_unavailable" | "server_error" | "slow_down"), _) => FailureKind::OutcomeUnknown,
        (Some(_), 400 | 401 | 403) => FailureKind::UnknownRejection,
        (Some(_) | None, _) => FailureKind::OutcomeUnknown,
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, 15 min at most.
fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => between(now, rfc2822::parse(text).ok()?.timestamp()),
    };
    Some(wait.min(MAX_BACKOFF))
}
