//! What the operator stores for one connection: the live pair, at most one candidate beside it, and the ledger of
//! all that was tried. One value, stored as one object, so that every step is one atomic write.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    adopted::Adopted,
    authorization::{AuthorizationLink, Code, Visit, VisitEnd},
};
use crate::{
    api::{FailureReason, ReauthReason, RestartTarget},
    domain::{
        spec::TokenUrl,
        time::later,
        token::{AccessToken, Fingerprint, RefreshToken},
    },
};

/// The truth about a connection; its status is only a picture of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The uid of the connection that it belongs to.
    pub connection: String,
    /// Successful exchanges so far.
    pub rotation: u64,
    /// The pair that a server gave us last.
    pub live: Option<Live>,
    /// A token that was adopted from the initial grant and not yet proved.
    pub candidate: Option<Candidate>,
    /// A code that a browser brought and no process has claimed yet.
    pub code: Option<Code>,
    /// The process that is sending a token right now, or was when it died.
    pub claim: Option<Claim>,
    /// The last token that a server rejected.
    pub refused: Option<Refused>,
    /// Every token and code that users supplied, in the order in which they authorized, and the tokens that came by
    /// rotation and were rejected.
    pub adopted: Vec<Adopted>,
    /// The last refresh that failed.
    pub last_failure: Option<FailureRecord>,
    /// The last refresh request that was answered by an exchange.
    pub handled_request: Option<String>,
    /// When the last request was started of which a byte may have left.
    pub last_sent_at: Option<Timestamp>,
    /// While a user must authorize: what links are derived from.
    pub invitation: Option<AuthorizationLink>,
    /// The last consent by link, and what became of it.
    pub visit: Option<Visit>,
    /// For which rotation each workload was restarted last.
    pub restarts: Vec<Restarted>,
    /// Members of the ledger that a newer operator wrote and we do not know: kept as they are.
    pub unknown: Map<String, Value>,
}

/// The pair that a server gave us last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Live {
    /// What the next pair is bought with.
    pub refresh: RefreshToken,
    /// What pods use; none after an answer that held a refresh token only.
    pub access: Option<AccessToken>,
    /// All about it that is no secret.
    pub record: LiveRecord,
}

/// All about the live pair that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveRecord {
    /// Of the refresh token.
    pub fingerprint: Fingerprint,
    /// Where it came from, and the only place it is ever sent to (I8).
    pub server: TokenUrl,
    /// The client that it was issued to, and the only one that presents it (I8), by the fingerprint of its id:
    /// [`crate::domain::token::ClientCredentials::id_fingerprint`]. None: an older operator did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
    /// When the request that brought it was started.
    pub issued_at: Timestamp,
    /// The access token's life from then on, in milliseconds.
    pub life_ms: u64,
    /// `token_type` of the answer.
    pub token_type: String,
    /// The attempt that brought it.
    pub attempt: AttemptId,
    /// What was tried with it since.
    pub attempts: Attempts,
}

impl LiveRecord {
    /// The access token's life.
    pub fn life(&self) -> Duration {
        Duration::from_millis(self.life_ms)
    }

    /// When the access token ends.
    pub fn expires_at(&self) -> Timestamp {
        later(self.issued_at, self.life())
    }
}

/// A token from a user's authorization that no server has accepted yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// What the first pair is bought with.
    pub token: RefreshToken,
    /// All about it that is no secret.
    pub record: CandidateRecord,
}

/// All about the candidate that is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateRecord {
    /// Of the refresh token.
    pub fingerprint: Fingerprint,
    /// The server that the spec named when it was adopted.
    pub server: TokenUrl,
    /// The client that it belongs to since a server may have accepted it. None: any client may still try it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
    /// What was tried with it.
    pub attempts: Attempts,
}

/// What was tried with one refresh token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempts {
    /// Failed refreshes in a row.
    pub failures: u32,
    /// When that row began.
    pub failing_since: Option<Timestamp>,
    /// When to try again.
    pub retry: Option<Retry>,
    /// A token request may have used it. Stays until a clean success.
    pub in_doubt: bool,
    /// Why it is not tried any more.
    pub halt: Option<Halt>,
}

/// A wait after a failed exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The attempt that failed.
    pub attempt: AttemptId,
    /// When it ended.
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
    /// Why.
    pub reason: HaltReason,
    /// The client's credentials at that time.
    pub client: Fingerprint,
    /// The generation of the spec at that time.
    pub generation: i64,
}

/// Why a token is not tried any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HaltReason {
    /// The server refuses the client.
    InvalidClient,
    /// The server calls the request wrong.
    InvalidRequest,
    /// Transient failures went on for longer than `spec.retryTimeout`.
    RetriesExhausted,
}

/// Names one attempt for ever: the process and a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub String);

/// A process of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The pod's name: no two living processes share it.
    pub identity: String,
    /// A UUID for each process.
    pub process: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.identity, self.process)
    }
}

/// The right to send one token once, won by compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The attempt.
    pub attempt: AttemptId,
    /// Who holds it.
    pub holder: Holder,
    /// When it was made, on the holder's clock.
    pub started_at: Timestamp,
    /// When the holder stops waiting for the answer, on the same clock.
    pub ends_at: Timestamp,
    /// The token about to be sent.
    pub fingerprint: Fingerprint,
    /// The client that presents it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
}

/// A token that a server rejected; it is never sent again (I3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// The token.
    pub fingerprint: Fingerprint,
    /// How.
    pub reason: RefusedReason,
    /// When.
    pub at: Timestamp,
}

/// Why a token was rejected, as `ReauthRequired` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusedReason {
    /// `invalid_grant`.
    GrantRefused,
    /// `invalid_token`.
    TokenInvalid,
    /// Either of them, after an attempt whose outcome is unknown.
    RotationLost,
}

impl RefusedReason {
    /// The reason of the condition.
    pub fn reauth(self) -> ReauthReason {
        match self {
            Self::GrantRefused => ReauthReason::GrantRefused,
            Self::TokenInvalid => ReauthReason::TokenInvalid,
            Self::RotationLost => ReauthReason::RotationLost,
        }
    }
}

/// The last exchange that failed, for the status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRecord {
    /// The attempt that failed.
    pub attempt: AttemptId,
    /// When it ended.
    pub at: Timestamp,
    /// What it meant for the token.
    pub reason: FailureReason,
    /// In our own words.
    pub message: String,
}

/// A workload that was restarted, so that it reads the new token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarted {
    /// The workload.
    pub target: RestartTarget,
    /// The rotation whose token it reads since.
    pub rotation: u64,
    /// When.
    pub at: Timestamp,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one not yet proved.
    Candidate,
    /// The one that a server gave us.
    Live,
    /// No token yet: the code that a browser brought.
    Code,
}

impl Grant {
    /// A grant of this connection that holds nothing yet. `rotation` goes on from what pods saw last.
    pub fn new(connection: &str, rotation: u64) -> Self {
        Self {
            connection: connection.to_owned(),
            rotation,
            live: None,
            candidate: None,
            code: None,
            claim: None,
            refused: None,
            adopted: Vec::new(),
            last_failure: None,
            handled_request: None,
            last_sent_at: None,
            invitation: None,
            visit: None,
            restarts: Vec::new(),
            unknown: Map::new(),
        }
    }

    /// Which of our tokens has this fingerprint, if one has.
    pub fn holding(&self, fingerprint: &Fingerprint) -> Option<Which> {
        let candidate = self.candidate.as_ref().is_some_and(|held| held.record.fingerprint == *fingerprint);
        let live = self.live.as_ref().is_some_and(|held| held.record.fingerprint == *fingerprint);
        if candidate { Some(Which::Candidate) } else { live.then_some(Which::Live) }
    }

    /// Records the result of this code, for the user who waits.
    pub fn end_visit(&mut self, code: &Fingerprint, end: VisitEnd) {
        for visit in self.visit.iter_mut().filter(|visit| visit.code == *code) {
            visit.end = Some(end);
        }
    }

    /// What was tried with one of our tokens.
    pub fn attempts_mut(&mut self, which: Which) -> Option<&mut Attempts> {
        match which {
            Which::Candidate => self.candidate.as_mut().map(|held| &mut held.record.attempts),
            Which::Live => self.live.as_mut().map(|held| &mut held.record.attempts),
            // It is tried once.
            Which::Code => None,
        }
    }
}
