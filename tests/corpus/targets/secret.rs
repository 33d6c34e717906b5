//! The data of a grant Secret: read exactly, or left alone; and no token shows where one looks at it.

use pleo_operator::domain::{
    ledger::{
        grant::Grant,
        record::{Data, KEYS, LEDGER, Unreadable, decode, encode},
    },
    token::RefreshToken,
};
use serde_json::{Map, Value};

use super::{
    scenes,
    support::judge,
    support::text::{leaks, parts},
};

/// Members that the operator knows, in format 2 and in format 1.
const KNOWN: [&str; 19] = [
    "format",
    "connection",
    "rotation",
    "current",
    "candidate",
    "claim",
    "lastRejection",
    "history",
    "lastFailure",
    "handledRequest",
    "lastSentAt",
    "restarts",
    "byLink",
    "live",
    "refused",
    "adopted",
    "code",
    "invitation",
    "visit",
];
const DAMAGES: [&str; 7] = [
    "its key `ledger` is missing",
    "its key `ledger` is no JSON",
    "its ledger names no format",
    "its ledger lacks a part or has one of a wrong type",
    "a token in it is no text",
    "its refresh_token is not the one that its ledger names",
    "its candidate_refresh_token is not the one that its ledger names",
];

/// The data in parts. `@KEY` in the ledger stands for the fingerprint of the token under that key.
pub fn run(bytes: &[u8]) -> &'static str {
    let data = with_fingerprints(parts(bytes));
    let decoded = decode(data.clone());
    match &decoded {
        Ok(grant) => {
            what_was_read_is_written_back(&data, grant);
            // A token that somebody copied into the ledger is no secret any more.
            if !leaks(&String::from_utf8_lossy(&data[LEDGER])) {
                assert!(!leaks(&format!("{grant:?}")), "no token shows");
                assert!(!leaks(&String::from_utf8_lossy(&encode(grant)[LEDGER])), "nor stands in the ledger");
            }
            tokens_are_the_ones_that_the_ledger_speaks_of(grant);
            judge::whatever_the_time(&scenes::Scene::new().holding(grant.clone()));
            "read"
        }
        Err(Unreadable::Newer(format)) => {
            let words = format!("it has format {format}, and this operator knows 2 at most: upgrade the operator");
            assert_eq!(Unreadable::Newer(*format).to_string(), words);
            assert!(*format > 2, "{format}");
            "newer"
        }
        Err(Unreadable::Damaged(why)) => {
            assert!(DAMAGES.contains(why), "our own words: {why}");
            "damaged"
        }
    }
}

fn with_fingerprints(mut data: Data) -> Data {
    let Some(ledger) = data.get(LEDGER) else { return data };
    let Ok(mut text) = String::from_utf8(ledger.clone()) else { return data };
    for (key, value) in &data {
        if let Ok(token) = std::str::from_utf8(value) {
            text =
                text.replace(&format!("\"@{key}\""), &format!("{:?}", RefreshToken::new(token).fingerprint().as_str()));
        }
    }
    data.insert(LEDGER.to_owned(), text.into_bytes());
    data
}

fn tokens_are_the_ones_that_the_ledger_speaks_of(grant: &Grant) {
    if let Some(current) = &grant.current {
        assert_eq!(current.refresh.token.fingerprint(), current.refresh.fingerprint);
    }
    if let Some(candidate) = &grant.candidate {
        assert_eq!(candidate.token.fingerprint(), candidate.fingerprint);
    }
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn what_was_read_is_written_back(before: &Data, grant: &Grant) {
    let written = encode(grant);
    // The last digit of a fraction may change on the way.
    if grant.unknown.values().any(has_fraction) {
        return;
    }
    assert_eq!(decode(written.clone()).as_ref(), Ok(grant), "what was written is read again");
    for (key, value) in &written {
        assert!(KEYS.contains(&key.as_str()));
        assert!(key == LEDGER || before.get(key) == Some(value), "{key} stands there as it stood");
    }
    let members = |data: &Data| serde_json::from_slice::<Map<String, Value>>(&data[LEDGER]).expect("an object");
    let (before, mut after) = (members(before), members(&written));
    after.retain(|key, _| !KNOWN.contains(&key.as_str()));
    let unknown: Map<_, _> = before.into_iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())).collect();
    assert_eq!(after, unknown, "members that we do not know survive");
}
