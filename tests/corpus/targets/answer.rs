//! An answer of the token endpoint: a token in it is never lost, a refusal is believed only when it is unmistakable, and
//! no word of the server's is passed on.

use std::{collections::BTreeMap, time::Duration};

use pleo_operator::{
    domain::failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
    pleo::answer::interpret,
};
use serde_json::{Value, value::RawValue};

use super::{scenes, support::text::line};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Status, `Retry-After` and body, a line each.
pub fn run(bytes: &[u8]) -> &'static str {
    let (status, rest) = line(bytes);
    let (retry_after, body) = line(rest);
    let status = number(status);
    let retry_after = std::str::from_utf8(retry_after).ok().filter(|text| !text.is_empty());
    let outcome = interpret(status, retry_after, body, scenes::at(0));
    match &outcome {
        Outcome::Issued(issued) => only_sensible_tokens_are_issued(status, body, issued),
        Outcome::Failed(failure) => a_failure_is_what_the_server_said(status, body, failure),
    }
    a_token_that_can_be_read_is_not_lost(status, body, &outcome);
    if let Some(plain) = plain(body) {
        the_same_without_repetition_means_what_it_says(status, &plain, &outcome);
    }
    outcome.label()
}

/// As text, or else as a number in two bytes.
fn number(text: &[u8]) -> u16 {
    let read = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    read.unwrap_or_else(|| text.iter().take(2).fold(0, |number, byte| (number << 8) | u16::from(*byte)))
}

/// The body as an object of JSON. A member whose name serde_json keeps for itself would be read in two ways.
fn plain(body: &[u8]) -> Option<Value> {
    let keeps_for_itself = body.windows(8).any(|part| part == b"$serde_j");
    serde_json::from_slice(body).ok().filter(|value: &Value| value.is_object() && !keeps_for_itself)
}

type Members = BTreeMap<String, Box<RawValue>>;

/// The body as leniently as it can be read without a guess: a byte order mark, bytes of another encoding elsewhere, or
/// more after its end do not make a plain word ambiguous.
fn members(body: &[u8]) -> Option<Members> {
    let text = String::from_utf8_lossy(body);
    serde_json::Deserializer::from_str(text.trim_start_matches('\u{feff}')).into_iter().next()?.ok()
}

/// The same, and nothing after its end.
fn alone(body: &[u8]) -> Option<Members> {
    serde_json::from_str(String::from_utf8_lossy(body).trim_start_matches('\u{feff}')).ok()
}

fn member(members: &Members, name: &str) -> Option<String> {
    let text = serde_json::from_str::<String>(members.get(name)?.get()).ok();
    text.filter(|text| !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER))
}

fn a_token_that_can_be_read_is_not_lost(status: u16, body: &[u8], outcome: &Outcome) {
    let Some(members) = members(body).filter(|_| is_success(status)) else { return };
    let issued = match outcome {
        Outcome::Issued(issued) => (issued.access.as_ref(), issued.refresh.as_ref()),
        Outcome::Failed(_) => (None, None),
    };
    let (access, refresh) = (member(&members, "access_token"), member(&members, "refresh_token"));
    assert!(
        access.is_none() || issued.0.map(pleo_operator::domain::token::Opaque::expose) == access.as_deref(),
        "lost: {outcome:?}"
    );
    assert!(
        refresh.is_none() || issued.1.map(pleo_operator::domain::token::Opaque::expose) == refresh.as_deref(),
        "lost: {outcome:?}"
    );
}

fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

fn text<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn only_sensible_tokens_are_issued(status: u16, body: &[u8], issued: &TokenResponse) {
    assert!(is_success(status), "tokens come with 2xx only, not with {status}");
    assert!(members(body).is_some(), "tokens come in an object");
    let tokens = [
        issued.access.as_ref().map(pleo_operator::domain::token::Opaque::expose),
        issued.refresh.as_ref().map(pleo_operator::domain::token::Opaque::expose),
    ];
    assert!(tokens.iter().flatten().count() > 0 && tokens.iter().flatten().all(|token| !token.is_empty()));
    assert!(issued.lifetime <= DAY, "{:?}", issued.lifetime);
    let (length, plain) = (issued.token_type.len(), issued.token_type.bytes().all(|byte| byte.is_ascii_alphabetic()));
    assert!(length <= 20 && plain, "a type is a word, not a token in the wrong place: {:?}", issued.token_type);
    let redacted = |token: Option<&str>| token.map_or("None", |_| "Some([redacted])");
    let shown = format!(
        "TokenResponse {{ access: {}, refresh: {}, token_type: {:?}, lifetime: {:?} }}",
        redacted(tokens[0]),
        redacted(tokens[1]),
        issued.token_type,
        issued.lifetime
    );
    assert_eq!(format!("{issued:?}"), shown, "nothing else shows");
}

/// The table of errors (RFC 6749 section 5.2).
fn kind(status: u16, error: Option<&str>) -> FailureKind {
    match (status, error) {
        (429, _) => FailureKind::Throttled,
        (400..=499, Some("invalid_grant")) => FailureKind::Rejected(RejectionCode::InvalidGrant),
        (400..=499, Some("invalid_token")) => FailureKind::Rejected(RejectionCode::InvalidToken),
        (400..=499, Some("invalid_client" | "unauthorized_client")) => {
            FailureKind::Misconfigured(Misconfiguration::Client)
        }
        (400..=499, Some("invalid_request" | "invalid_scope" | "unsupported_grant_type")) => {
            FailureKind::Misconfigured(Misconfiguration::Request)
        }
        (_, Some("temporarily_unavailable" | "server_error" | "slow_down")) => FailureKind::OutcomeUnknown,
        (400 | 401 | 403, Some(_)) => FailureKind::UnknownRejection,
        (401, None) => FailureKind::Misconfigured(Misconfiguration::Client),
        _ => FailureKind::OutcomeUnknown,
    }
}

/// A failure says what the server said, in our own words, or that nothing is known.
fn a_failure_is_what_the_server_said(status: u16, body: &[u8], failure: &Failure) {
    // The program reads a list of one word like an object.
    let listed = || serde_json::from_slice::<[String; 1]>(body).ok().map(|[word]| word);
    let named = |members: Members| serde_json::from_str::<String>(members.get("error")?.get()).ok();
    let error = alone(body).and_then(named).or_else(listed).filter(|code| !code.is_empty());
    let (what_it_says, got) = (kind(status, error.as_deref()), failure.kind);
    // An answer that is not understood as a whole says nothing; 401 does by itself.
    let is_cautious = got == kind(status, None) && failure.code.is_none();
    assert!(got == what_it_says || is_cautious, "{got:?} from status {status} and {error:?}");
    let words = match (status, got) {
        (200..=299, _) => format!("the server answered {status} without a token"),
        (429, _) => "the server answered 429: too many requests".to_owned(),
        (400..=499, _) if failure.code.is_none() => format!("the server answered {status} with nothing that we know"),
        (400..=499, FailureKind::OutcomeUnknown | FailureKind::UnknownRejection) => {
            format!("the server answered {status}")
        }
        (400..=499, _) => format!("the server answered {status} {}", error.unwrap_or_default()),
        _ => format!("the server answered {status}"),
    };
    assert_eq!(failure.detail, words, "our own words");
    assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_secs(15 * 60)), "{:?}", failure.retry_after);
    let code = if failure.code.is_some() { "Some([redacted])" } else { "None" };
    let shown =
        format!("Failure {{ kind: {got:?}, detail: {words:?}, code: {code}, retry_after: {:?} }}", failure.retry_after);
    assert_eq!(format!("{failure:?}"), shown, "nothing else shows");
}

/// Of members with one name, `Value` keeps the last. What is left leaves no room for doubt.
fn the_same_without_repetition_means_what_it_says(status: u16, body: &Value, outcome: &Outcome) {
    let again = interpret(status, None, body.to_string().as_bytes(), scenes::at(0));
    let (access, refresh) = (text(body, "access_token"), text(body, "refresh_token"));
    match (&again, outcome) {
        (Outcome::Issued(again), Outcome::Issued(issued)) => {
            assert_eq!(
                again.access.as_ref().map(pleo_operator::domain::token::Opaque::expose),
                access,
                "exactly as received"
            );
            assert_eq!(
                again.refresh.as_ref().map(pleo_operator::domain::token::Opaque::expose),
                refresh,
                "exactly as received"
            );
            assert_eq!((&again.access, &again.refresh), (&issued.access, &issued.refresh), "in either form");
            assert_eq!(again.token_type, issued.token_type);
        }
        (Outcome::Failed(again), Outcome::Failed(_)) => {
            assert!(!is_success(status) || access.is_none() && refresh.is_none(), "a success with a token is not lost");
            assert_eq!(again.kind, kind(status, text(body, "error")));
        }
        (again, outcome) => panic!("{outcome:?}, and without repetition {again:?}"),
    }
}
