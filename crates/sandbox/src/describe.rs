//! A finished exchange as a line for people. Pure; there is no token in a record, so none in a line.

use std::time::Duration;

use crate::{
    authority::{Delivery, ExchangeRecord, GrantType, Outcome, Refusal},
    duration,
};

/// For example `acme: refresh #4 -> rotated (expires in 20s)`.
#[must_use]
pub fn describe(record: &ExchangeRecord) -> String {
    let name = record.connection.as_deref().unwrap_or("(no connection)");
    let what = match record.grant_type {
        GrantType::RefreshToken => "refresh",
        GrantType::AuthorizationCode => "code exchange",
    };
    let mut line = format!("{name}: {what} #{} -> {}", record.number, result(record));
    if record.presentation > 1 {
        line.push_str(&format!(", token sent {} times", record.presentation));
    }
    if record.overlapped {
        line.push_str(", overlapping");
    }
    line
}

fn result(record: &ExchangeRecord) -> String {
    let rotated =
        |expires_in: u64| format!("rotated (expires in {})", duration::format(Duration::from_secs(expires_in)));
    match (record.outcome, record.answer) {
        (Outcome::Rotated { expires_in }, Some(Delivery::Cut)) => {
            format!("{}, answer lost", rotated(expires_in))
        }
        (Outcome::Rotated { expires_in }, Some(Delivery::Status(status))) if status != 200 => {
            format!("{}, answered {status} by script", rotated(expires_in))
        }
        (Outcome::Rotated { expires_in }, _) => rotated(expires_in),
        (Outcome::Refused(refusal), _) => {
            format!("refused: {} ({})", refusal.code(), reason(refusal))
        }
        (Outcome::NotJudged, Some(Delivery::Cut)) => "request lost by script".to_owned(),
        (Outcome::NotJudged, Some(Delivery::Status(status))) => {
            format!("answered {status} by script")
        }
        (Outcome::NotJudged, None) => "under way".to_owned(),
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidClient => "wrong client, grant untouched",
        Refusal::UnknownToken => "unknown token",
        Refusal::ForeignToken => "another client's token",
        Refusal::SpentToken => "spent token, its family is dead now",
        Refusal::ExpiredToken => "expired token, its family is dead now",
        Refusal::DeadFamily => "its family was dead before",
        Refusal::WrongRedirectUri => "wrong redirect_uri, the code is spent",
        Refusal::WrongVerifier => "wrong code_verifier, the code is spent",
        Refusal::AlreadyJudged => "judged before",
    }
}
