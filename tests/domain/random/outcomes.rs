//! Anything that a server may answer, or a network do.

use std::time::Duration;

use jiff::SignedDuration;
use pleo_operator::domain::{
    commit::settlement::AttemptResult,
    failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
    ledger::authentication::Method,
    token::{AccessToken, ErrorCode, RefreshToken},
};
use proptest::{option, prelude::*, sample::select};

use super::arbitrary::{time, token};

/// Anything that a server may answer, or a network do.
pub fn outcome() -> BoxedStrategy<Outcome> {
    let issued = (option::weighted(0.9, token()), option::weighted(0.9, token()), 1_u64..2_000_000).prop_filter_map(
        "an answer that bears a token",
        |(access, refresh, life_ms)| {
            (access.is_some() || refresh.is_some()).then(|| {
                Outcome::Issued(TokenResponse {
                    access: access.map(|name| AccessToken::new(format!("access of {name}"))),
                    refresh: refresh.map(RefreshToken::new),
                    token_type: "Bearer".into(),
                    lifetime: Duration::from_millis(life_ms),
                })
            })
        },
    );
    let kind = select(&[
        FailureKind::NotSent,
        FailureKind::Throttled,
        FailureKind::OutcomeUnknown,
        FailureKind::UnknownRejection,
        FailureKind::Misconfigured(Misconfiguration::Client),
        FailureKind::Misconfigured(Misconfiguration::Request),
        FailureKind::Rejected(RejectionCode::InvalidGrant),
        FailureKind::Rejected(RejectionCode::InvalidToken),
    ]);
    let code = option::of(select(&["invalid_client", "invalid_refresh_token"]));
    let failed = (kind, code, option::of(0_u64..2000)).prop_map(|(kind, code, seconds)| {
        Outcome::Failed(Failure {
            kind,
            detail: "it failed".into(),
            code: code.map(ErrorCode::new),
            retry_after: seconds.map(Duration::from_secs),
        })
    });
    prop_oneof![issued, failed].boxed()
}

pub fn ending() -> BoxedStrategy<AttemptResult> {
    (outcome(), time(), 0_i64..70)
        .prop_map(|(outcome, started_at, seconds)| AttemptResult {
            outcome,
            method: Method::Basic,
            fell_back: false,
            started_at,
            sent_at: started_at,
            ended_at: started_at + SignedDuration::from_secs(seconds),
        })
        .boxed()
}
