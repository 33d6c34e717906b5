//! The bodies of answers, right ones and wrong ones. Pure.

use super::{Malformed, ReplyBody};
use crate::authority::Pair;
use serde_json::{Value, json};
use std::time::Duration;

const ACCESS_TOKEN: &str = "{{access_token}}";
const REFRESH_TOKEN: &str = "{{refresh_token}}";
const EXPIRES_IN: &str = "{{expires_in}}";

/// What stands in for the pair in a body that is sent without rotating. A client that believes it
/// is found out: no such token was ever issued.
pub(super) fn never_issued() -> Pair {
    Pair {
        access_token: "never-issued-access-token".to_owned(),
        refresh_token: "never-issued-refresh-token".to_owned(),
        expires_in: Duration::from_secs(900),
    }
}

/// The right answer.
pub(super) fn normal(pair: &Pair) -> Vec<u8> {
    answer(pair).to_string().into_bytes()
}

fn answer(pair: &Pair) -> Value {
    json!({
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in.as_secs(),
        "refresh_token": pair.refresh_token,
    })
}

/// The right answer with one member replaced, or left out.
fn with(pair: &Pair, name: &str, value: Option<Value>) -> Vec<u8> {
    let mut answer = answer(pair);
    if let Some(object) = answer.as_object_mut() {
        match value {
            Some(value) => object.insert(name.to_owned(), value),
            None => object.remove(name),
        };
    }
    answer.to_string().into_bytes()
}

pub(super) fn content_type(malformed: &Malformed) -> &'static str {
    if matches!(malformed, Malformed::Html) { "text/html" } else { "application/json" }
}

pub(super) fn extra_header(malformed: &Malformed) -> Option<(&'static str, &'static str)> {
    matches!(malformed, Malformed::GzipGarbage).then_some(("content-encoding", "gzip"))
}

pub(super) fn malformed(malformed: &Malformed, pair: &Pair) -> ReplyBody {
    let seconds = pair.expires_in.as_secs();
    ReplyBody::Whole(match malformed {
        Malformed::NotJson => b"all is well, here are your tokens".to_vec(),
        Malformed::Html => b"<!doctype html><title>Sign in</title><p>Welcome to this hotel".to_vec(),
        Malformed::Empty => Vec::new(),
        Malformed::Truncated => first_half(pair),
        Malformed::Huge(bytes) => return huge(pair, *bytes),
        Malformed::Drip(every) => return ReplyBody::Drip(first_half(pair), *every),
        Malformed::ExpiresInString => with(pair, "expires_in", Some(seconds.to_string().into())),
        Malformed::ExpiresInAbsent => with(pair, "expires_in", None),
        Malformed::ExpiresInZero => with(pair, "expires_in", Some(0.into())),
        Malformed::ExpiresInNegative => with(pair, "expires_in", Some((-1).into())),
        Malformed::ExpiresInHuge => expires_in(pair, "1000000000000000000000000000000"),
        Malformed::ExpiresInFloat => expires_in(pair, &format!("{seconds}.5")),
        Malformed::NoRefreshToken => with(pair, "refresh_token", None),
        Malformed::NoAccessToken => with(pair, "access_token", None),
        Malformed::WrongTypes => {
            json!({"access_token": [pair.access_token], "token_type": 7, "expires_in": {}, "refresh_token": [pair.refresh_token]})
                .to_string()
                .into_bytes()
        }
        Malformed::DuplicateKeys => duplicate_keys(pair),
        Malformed::GzipGarbage => normal(pair),
    })
}

fn first_half(pair: &Pair) -> Vec<u8> {
    let mut body = normal(pair);
    body.truncate(body.len() / 2);
    body
}

fn huge(pair: &Pair, bytes: u64) -> ReplyBody {
    let mut head = normal(pair);
    head.pop();
    head.extend_from_slice(br#","padding":""#);
    ReplyBody::Padded(head, bytes, br#""}"#.to_vec())
}

/// The right answer with a number that serde_json's own numbers could not hold.
fn expires_in(pair: &Pair, number: &str) -> Vec<u8> {
    let (access, refresh) = (Value::from(pair.access_token.as_str()), Value::from(pair.refresh_token.as_str()));
    format!(r#"{{"access_token":{access},"token_type":"Bearer","expires_in":{number},"refresh_token":{refresh}}}"#)
        .into_bytes()
}

fn duplicate_keys(pair: &Pair) -> Vec<u8> {
    let mut body = br#"{"access_token":"first","refresh_token":"first","#.to_vec();
    body.extend(normal(pair).into_iter().skip(1));
    body
}

pub(super) fn has_placeholder(body: &[u8]) -> bool {
    [ACCESS_TOKEN, REFRESH_TOKEN].iter().any(|name| find(body, name.as_bytes()).is_some())
}

/// Puts a pair into a body. Works on bytes: a body need not be text.
pub(super) fn fill(body: &[u8], pair: &Pair) -> Vec<u8> {
    let values = [
        (ACCESS_TOKEN, escaped(&pair.access_token)),
        (REFRESH_TOKEN, escaped(&pair.refresh_token)),
        (EXPIRES_IN, pair.expires_in.as_secs().to_string()),
    ];
    let mut filled = Vec::with_capacity(body.len());
    let mut rest = body;
    // One pass from left to right: what a token brings in is never itself taken for a placeholder.
    while let Some((byte, tail)) = rest.split_first() {
        match values.iter().find_map(|(name, value)| Some((rest.strip_prefix(name.as_bytes())?, value))) {
            Some((tail, value)) => {
                filled.extend_from_slice(value.as_bytes());
                rest = tail;
            }
            None => {
                filled.push(*byte);
                rest = tail;
            }
        }
    }
    filled
}

fn escaped(token: &str) -> String {
    let quoted = Value::from(token).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

fn find(body: &[u8], name: &[u8]) -> Option<usize> {
    body.windows(name.len()).position(|window| window == name)
}
