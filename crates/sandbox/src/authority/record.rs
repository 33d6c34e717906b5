//! What the authority remembers and tells: records of exchanges, counters, reasons of refusals.
//! Pure; no token is ever in here, only fingerprints.

use crate::duration;
use serde::Serialize;
use std::time::Duration;

/// Names an exchange: its place in the list of all exchanges, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ExchangeId(pub(super) usize);

/// Names a family, which is one authorization: a consent and every token that descends from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FamilyId(pub(super) u64);

/// One exchange as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExchangeRecord {
    /// Its place in the list of all exchanges, from 0.
    pub id: ExchangeId,
    /// What was presented.
    pub grant_type: GrantType,
    /// The connection its token was issued to; none for a token that was never issued.
    pub connection: Option<String>,
    /// The exchange's number among those of its connection, from 1.
    pub number: u64,
    /// The family of the presented token.
    pub family: Option<FamilyId>,
    /// Which refresh token of its family was presented: 1 is the one of the consent,
    /// or the first that a code bought; 0 is the code itself.
    pub token_number: Option<u64>,
    /// A short hash of the presented token: equal for equal tokens.
    pub fingerprint: String,
    /// How often that token had been presented, this time included.
    pub presentation: u64,
    /// Begun while another exchange of the same family was not finished.
    pub overlapped: bool,
    /// The token was spent or dead when it was presented or judged.
    pub replay: bool,
    /// When it was begun, since the start of the server.
    #[serde(rename = "began_at_ms", serialize_with = "duration::as_millis")]
    pub began_at: Duration,
    /// When the token was judged: rotated or refused.
    #[serde(rename = "judged_at_ms", serialize_with = "duration::as_millis_option")]
    pub judged_at: Option<Duration>,
    /// When the server was done with it, just before it answered or hung up.
    #[serde(rename = "finished_at_ms", serialize_with = "duration::as_millis_option")]
    pub finished_at: Option<Duration>,
    /// What became of the token.
    pub outcome: Outcome,
    /// What the client was told.
    pub answer: Option<Delivery>,
}

/// What an exchange presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// A refresh token.
    RefreshToken,
    /// An authorization code.
    AuthorizationCode,
}

/// What became of the refresh token of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not judged: still under way, or a script answered in the authority's place.
    NotJudged,
    /// Spent, and a new pair issued.
    Rotated {
        /// The life of the new access token, in seconds.
        expires_in: u64,
    },
    /// Refused by the server's own rules.
    Refused(Refusal),
}

/// How the client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// With this HTTP status.
    Status(u16),
    /// Not at all: the connection was cut.
    Cut,
}

/// Why the authority refuses an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Unknown client, wrong secret, or a way to authenticate that this client may not use.
    /// Nothing else happens.
    InvalidClient,
    /// Never issued as a refresh token. Nothing else happens.
    UnknownToken,
    /// Issued to another client. Nothing else happens.
    ForeignToken,
    /// Spent by an earlier exchange. Its family is dead now.
    SpentToken,
    /// Too old. Its family is dead now.
    ExpiredToken,
    /// Its family was dead before: revoked, or killed by a replay.
    DeadFamily,
    /// A code, and not the redirect URI that it was issued for. The code is spent.
    WrongRedirectUri,
    /// A code, and not the verifier of its challenge. The code is spent.
    WrongVerifier,
    /// This exchange was judged or finished before: a mistake of the caller, not of the client.
    AlreadyJudged,
}

impl Refusal {
    /// The `error` of the answer.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidClient => "invalid_client",
            Self::AlreadyJudged => "invalid_request",
            _ => "invalid_grant",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            _ => 400,
        }
    }

    /// The `error_description` of the answer.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::InvalidClient => "Client authentication failed",
            Self::UnknownToken => "The refresh token or code is not one of ours",
            Self::ForeignToken => "The refresh token or code was issued to another client",
            Self::SpentToken => "The refresh token or code was used before; the authorization is revoked",
            Self::ExpiredToken => "The refresh token or code has expired; the authorization is revoked",
            Self::WrongRedirectUri => "The redirect_uri is not the one that the code was issued for",
            Self::WrongVerifier => "The code_verifier is not the one that the code_challenge was made from",
            Self::DeadFamily => "The authorization was revoked",
            Self::AlreadyJudged => "The exchange was judged before",
        }
    }
}

/// Why an access token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRefusal {
    /// Never issued as an access token.
    Unknown,
    /// Its family went on to a newer one.
    Superseded,
    /// Too old.
    Expired,
    /// Its family is dead.
    DeadFamily,
}

/// What was counted for one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Exchanges begun.
    pub exchanges: u64,
    /// Exchanges that rotated the pair.
    pub rotations: u64,
    /// Exchanges refused by the server's own rules; what scripts answer is not counted.
    pub refusals: u64,
    /// Exchanges begun while another of the same family was not finished.
    pub overlapping: u64,
    /// Exchanges that presented a refresh token that had been presented before, for whatever reason.
    pub resent: u64,
    /// The most often that any one refresh token was presented.
    pub max_presented: u64,
    /// Exchanges with a refresh token that was spent or dead.
    pub replays: u64,
    /// Consents, each the start of a family.
    pub families: u64,
    /// Families killed because a spent or expired token was presented.
    pub families_killed: u64,
    /// Questions about its tokens, truthfully answered or not.
    pub introspections: u64,
    /// When each exchange began, since the start of the server.
    #[serde(rename = "begins_ms", serialize_with = "duration::as_millis_list")]
    pub begins: Vec<Duration>,
}

/// How one family stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyState {
    /// Its name.
    pub id: FamilyId,
    /// The client that it was issued to.
    pub client_id: String,
    /// Whether it is alive, and if not, why.
    pub life: Life,
    /// The number of its current refresh token: 1 after the consent, 2 after one rotation; 0 as long as its code was not
    /// exchanged.
    pub token_number: u64,
    /// When its current refresh token ends, since the start of the server.
    #[serde(rename = "refresh_expires_at_ms", serialize_with = "duration::as_millis")]
    pub refresh_expires_at: Duration,
    /// When its current access token ends, since the start of the server; none before the first
    /// exchange.
    #[serde(rename = "access_expires_at_ms", serialize_with = "duration::as_millis_option")]
    pub access_expires_at: Option<Duration>,
    /// Exchanges of this family that are not finished.
    pub exchanges_under_way: u64,
}

/// Whether a family is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Its newest tokens work until they expire.
    Alive,
    /// Revoked by the tester, in the user's place.
    Revoked,
    /// Killed because a spent or expired token of it was presented.
    KilledByReplay,
}
