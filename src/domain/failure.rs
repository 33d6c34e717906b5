//! The outcome of a token request: a token response, or a failure. Failures differ in one thing above all: was the token that was
//! sent used?

use std::time::Duration;

use crate::{
    api::FailureReason,
    domain::token::{AccessToken, ErrorCode, RefreshToken},
};

/// The outcome of one token request. It must be handled: a pair in it exists nowhere else.
#[must_use = "a pair that was received must be committed, a failure must be recorded"]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server answered with at least one token.
    Issued(TokenResponse),
    /// It did not.
    Failed(Failure),
}

/// What a successful answer held (RFC 6749 section 5.1). At least one of the tokens is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenResponse {
    pub access: Option<AccessToken>,
    /// The new refresh token; none means that the old one stays good (RFC 6749 section 6).
    pub refresh: Option<RefreshToken>,
    /// As the server wrote it; `Bearer` where it said nothing.
    pub token_type: String,
    /// How long the access token lives, from the moment the request was started.
    pub lifetime: Duration,
}

/// An exchange that brought no token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What it means for the token that was sent.
    pub kind: FailureKind,
    /// In our own words, and the error code where it cannot be a part of a secret.
    pub detail: String,
    /// `error` of an error response that is JSON.
    pub code: Option<ErrorCode>,
    /// How long the server asked us to wait.
    pub retry_after: Option<Duration>,
}

/// What a failure means for the token that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Connection refused, DNS, TLS handshake: not used.
    NotSent,
    /// 429: not used.
    Throttled,
    /// A time-out or reset after sending, 5xx, or an answer that says nothing we know: possibly used.
    OutcomeUnknown,
    /// 400, 401 or 403 with an error code that is not known: perhaps a rejection, possibly used.
    UnknownRejection,
    /// The client or the request is wrong: not used, and useless to repeat.
    Misconfigured(Misconfiguration),
    /// A 4xx other than 429 with `invalid_grant` or `invalid_token`: never accepted again.
    Rejected(RejectionCode),
}

/// Whom the server blames (RFC 6749 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Misconfiguration {
    /// `invalid_client`, `unauthorized_client`, or 401 without a code.
    Client,
    /// `invalid_request`, `invalid_scope`, `unsupported_grant_type`.
    Request,
}

/// How the server rejected the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// `invalid_grant`.
    InvalidGrant,
    /// `invalid_token`.
    InvalidToken,
}

impl Outcome {
    /// The label of the metric `pleo_refresh_attempts_total`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Issued(_) => "success",
            Self::Failed(failure) => match failure.kind {
                FailureKind::NotSent => "not_sent",
                FailureKind::Throttled => "throttled",
                FailureKind::OutcomeUnknown => "unknown",
                FailureKind::UnknownRejection => "unknown_rejection",
                FailureKind::Misconfigured(_) => "misconfigured",
                FailureKind::Rejected(_) => "rejected",
            },
        }
    }

    /// Whether a byte of the request may have left.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Self::Issued(_) => true,
            Self::Failed(failure) => match failure.kind {
                FailureKind::NotSent => false,
                FailureKind::Throttled
                | FailureKind::OutcomeUnknown
                | FailureKind::UnknownRejection
                | FailureKind::Misconfigured(_)
                | FailureKind::Rejected(_) => true,
            },
        }
    }
}

impl Failure {
    /// A failure without `Retry-After`.
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), code: None, retry_after: None }
    }

    /// Whether the server will never accept the token again.
    pub fn is_rejection(&self) -> bool {
        match self.kind {
            FailureKind::Rejected(_) => true,
            FailureKind::NotSent
            | FailureKind::Throttled
            | FailureKind::OutcomeUnknown
            | FailureKind::UnknownRejection
            | FailureKind::Misconfigured(_) => false,
        }
    }
}

impl FailureKind {
    /// The reason in `status.lastFailure`.
    pub fn reason(self) -> FailureReason {
        match self {
            Self::NotSent => FailureReason::NotSent,
            Self::Throttled => FailureReason::Throttled,
            Self::OutcomeUnknown => FailureReason::OutcomeUnknown,
            Self::UnknownRejection => FailureReason::UnknownRejection,
            Self::Misconfigured(_) => FailureReason::Misconfigured,
            Self::Rejected(_) => FailureReason::Rejected,
        }
    }
}
