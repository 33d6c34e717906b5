//! What the operator stores for one connection: the current pair, at most one candidate beside it, and the ledger of
//! all that was tried. One value, stored as one object, so that every step is one atomic write.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    authentication::KnownMethod,
    authorization::{LinkAuthorization, SessionEnd},
    held::{AttemptId, Attempts, Pair, StoredToken},
    introspection::KnownIntrospection,
    known_token::KnownToken,
    rejection_report::RejectionReport,
};
use crate::{
    api::{FailureReason, ReauthReason, RestartTarget},
    domain::token::Fingerprint,
};

/// The source of truth about a connection; its status is derived from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The uid of the connection that it belongs to.
    pub connection: String,
    /// Successful refreshes so far.
    pub rotation: u64,
    /// The pair that a server gave us last.
    pub current: Option<Pair>,
    /// A token that was adopted from the initial grant and that no server has accepted yet.
    pub candidate: Option<StoredToken>,
    /// The process that is sending a token right now, or was when it ended.
    pub claim: Option<Claim>,
    /// The last token that a server rejected; none since a success.
    pub last_rejection: Option<Rejection>,
    /// Every token and code that users supplied, in the order in which they authorized, and the tokens that came by
    /// rotation and were rejected.
    pub history: Vec<KnownToken>,
    pub last_failure: Option<FailureRecord>,
    /// The last refresh request that was answered by an exchange.
    pub handled_request: Option<String>,
    /// When the last request left of which a byte may have been sent.
    pub last_sent_at: Option<Timestamp>,
    /// How the client authenticated to the server when that was found out last.
    pub authentication: Option<KnownMethod>,
    /// What is known about the introspection endpoint, since this authorization's first refresh.
    pub introspection: Option<KnownIntrospection>,
    pub rejection_report: Option<RejectionReport>,
    /// An authorization by link, in progress or the last one.
    pub by_link: LinkAuthorization,
    /// For which rotation each workload was restarted last.
    pub restarts: Vec<Restarted>,
    /// Members of the ledger that a newer operator wrote and we do not know: kept as they are.
    pub unknown: Map<String, Value>,
}

/// A process of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The pod's name: no two running processes share it.
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
    pub attempt: AttemptId,
    pub holder: Holder,
    /// When it was made, on the holder's clock.
    pub started_at: Timestamp,
    /// When the holder stops waiting for the answer, on the same clock.
    pub ends_at: Timestamp,
    pub fingerprint: Fingerprint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Fingerprint>,
}

/// A token that a server rejected; it is never sent again (I3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    pub fingerprint: Fingerprint,
    /// How.
    pub reason: RejectionReason,
    /// When.
    pub at: Timestamp,
}

/// Why a token was rejected, as `ReauthRequired` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RejectionReason {
    /// `invalid_grant`.
    GrantRefused,
    /// `invalid_token`.
    TokenInvalid,
    /// Either of them, after an attempt whose outcome is unknown.
    RotationLost,
}

impl RejectionReason {
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
    pub attempt: AttemptId,
    pub at: Timestamp,
    pub reason: FailureReason,
    /// In our own words.
    pub message: String,
}

/// A workload that was restarted, so that it reads the new token.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restarted {
    pub target: RestartTarget,
    /// The rotation whose token it reads since.
    pub rotation: u64,
    /// When.
    pub at: Timestamp,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The refresh token that no server has accepted yet.
    Candidate,
    /// That of the current pair.
    Current,
    /// No token yet: the code that a browser brought.
    Code,
}

impl Grant {
    /// A grant of this connection that holds nothing yet. `rotation` goes on from what pods saw last.
    pub fn new(connection: &str, rotation: u64) -> Self {
        Self {
            connection: connection.to_owned(),
            rotation,
            current: None,
            candidate: None,
            claim: None,
            last_rejection: None,
            history: Vec::new(),
            last_failure: None,
            handled_request: None,
            last_sent_at: None,
            authentication: None,
            introspection: None,
            rejection_report: None,
            by_link: LinkAuthorization::default(),
            restarts: Vec::new(),
            unknown: Map::new(),
        }
    }

    /// Which of our tokens has this fingerprint, if one has.
    pub fn holding(&self, fingerprint: &Fingerprint) -> Option<Which> {
        let is_it = |held: &&StoredToken| held.fingerprint == *fingerprint;
        let candidate = self.candidate.as_ref().filter(is_it).map(|_| Which::Candidate);
        candidate.or_else(|| self.current.as_ref().map(|pair| &pair.refresh).filter(is_it).map(|_| Which::Current))
    }

    /// Records the result of this code, for the user who waits.
    pub fn end_session(&mut self, code: &Fingerprint, end: SessionEnd) {
        for session in self.by_link.session.iter_mut().filter(|session| session.code == *code) {
            session.end = Some(end);
        }
    }

    /// What was tried with one of our tokens.
    pub fn attempts_mut(&mut self, which: Which) -> Option<&mut Attempts> {
        match which {
            Which::Candidate => self.candidate.as_mut().map(|held| &mut held.attempts),
            Which::Current => self.current.as_mut().map(|pair| &mut pair.refresh.attempts),
            // It is tried once.
            Which::Code => None,
        }
    }
}
