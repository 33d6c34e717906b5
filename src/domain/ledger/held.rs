//! The refresh tokens that a grant holds, what was tried with each of them, and when it is tried next.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    spec::TokenUrl,
    time::later,
    token::{AccessToken, ErrorCode, Fingerprint, RefreshToken},
};

/// A refresh token, and what was tried with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredToken {
    pub token: RefreshToken,
    pub fingerprint: Fingerprint,
    /// Where it came from, or the server that the spec named when it was adopted. It is sent nowhere else (I8).
    pub server: TokenUrl,
    /// The client that it belongs to since a server may have accepted it, and the only one that presents it from then on (I8):
    /// [`crate::domain::token::ClientCredentials::id_fingerprint`]. None: any client may try it, or an old operator issued it.
    pub client_id: Option<Fingerprint>,
    pub attempts: Attempts,
}

impl StoredToken {
    /// A token that was not sent yet.
    pub fn new(token: RefreshToken, server: TokenUrl, client_id: Option<Fingerprint>) -> Self {
        Self { fingerprint: token.fingerprint(), token, server, client_id, attempts: Attempts::default() }
    }
}

/// The pair that a server gave us last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Exchanged for the next pair.
    pub refresh: StoredToken,
    /// What pods use; none after an answer that held a refresh token only.
    pub access: Option<AccessToken>,
    /// Everything else that the server said.
    pub issue: Issue,
}

/// When and how a pair was issued.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issue {
    /// When the request that brought it was started.
    pub issued_at: Timestamp,
    /// The access token's lifetime from then on, in milliseconds.
    pub lifetime_ms: u64,
    /// `token_type` of the answer.
    pub token_type: String,
    pub attempt: AttemptId,
}

impl Issue {
    /// The access token's lifetime.
    pub fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime_ms)
    }

    pub fn expires_at(&self) -> Timestamp {
        later(self.issued_at, self.lifetime())
    }
}

/// Names one attempt for ever: the process and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub String);

/// What was tried with one refresh token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempts {
    /// Failed refreshes in a row.
    pub failures: u32,
    pub failing_since: Option<Timestamp>,
    /// A token request may have used it. Stays until a clean success.
    pub outcome_unknown: bool,
    /// Kept until a success, over refresh requests and other failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_rejections: Option<UnknownRejections>,
    pub next: NextAttempt,
}

/// So many rejections with one unknown code, and the token is believed to be rejected until it is accepted.
const MOST_UNKNOWN_REJECTIONS: u32 = 3;

/// Rejections with an error code that is not known, since the last success.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnknownRejections {
    /// Of the code, which is the server's text.
    pub code: Fingerprint,
    pub times: u32,
}

/// What is waited for before a token is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NextAttempt {
    #[default]
    WhenDue,
    /// The end of a wait after a failure.
    Retry(Retry),
    /// A change: of the spec, of the client's credentials, or a refresh request; or the time of a probe.
    Halted(Halt),
}

impl Attempts {
    /// Counts a rejection with an unknown code; other failures in between do not matter.
    pub fn reject_unknown(&mut self, code: Option<&ErrorCode>) {
        let Some(code) = code.map(ErrorCode::fingerprint) else { return };
        let is_settled = self.is_rejected_by_unknown_code();
        let before = self.unknown_rejections.as_ref().filter(|before| is_settled || before.code == code);
        let times = before.map_or(0, |before| before.times).saturating_add(1);
        self.unknown_rejections = Some(UnknownRejections { code, times });
    }

    /// Whether a user is asked for, though the token is still tried from time to time.
    pub fn is_rejected_by_unknown_code(&self) -> bool {
        let is_halted = self.halt().is_some_and(|halt| halt.reason == HaltReason::UnknownRejection);
        let times = self.unknown_rejections.as_ref().map_or(0, |rejected| rejected.times);
        is_halted || times >= MOST_UNKNOWN_REJECTIONS
    }

    /// The wait after the last failure.
    pub fn retry(&self) -> Option<&Retry> {
        match &self.next {
            NextAttempt::WhenDue => None,
            NextAttempt::Retry(retry) => Some(retry),
            NextAttempt::Halted(halt) => halt.retry.as_ref(),
        }
    }

    pub fn halt(&self) -> Option<&Halt> {
        match &self.next {
            NextAttempt::Halted(halt) => Some(halt),
            NextAttempt::WhenDue | NextAttempt::Retry(_) => None,
        }
    }
}

/// A wait after a failed token request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    pub attempt: AttemptId,
    pub failed_at: Timestamp,
    /// How long to wait from then on, in milliseconds.
    pub wait_ms: u64,
    /// The part of it that not even a refresh request skips: the server may still be at work.
    pub settle_ms: u64,
}

/// Trying again is useless until something changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    pub reason: HaltReason,
    /// The client's credentials at that time.
    pub client: Fingerprint,
    /// The generation of the spec at that time.
    pub generation: i64,
    /// The wait after the last failure: until the next probe, where the reason may pass without a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How often it was halted for this reason in a row, probes included.
    #[serde(default)]
    pub times: u32,
}

impl HaltReason {
    /// Whether it may pass without a change, so that the token is sent again from time to time.
    pub fn is_probed(self) -> bool {
        match self {
            Self::InvalidClient | Self::InvalidRequest | Self::UnknownRejection => true,
            Self::RetriesExhausted => false,
        }
    }
}

/// Why a token is not tried any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HaltReason {
    InvalidClient,
    /// The server calls the request wrong.
    InvalidRequest,
    /// The server rejects the token with a code that is not known.
    UnknownRejection,
    /// Transient failures went on for longer than `spec.retryTimeout`.
    RetriesExhausted,
}
