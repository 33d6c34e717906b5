//! Everything that was observed of a connection at one moment, in one value, the input of every decision: the connection, its
//! Secrets, and how long ago this process first saw a claim or a failure.
//!
//! | file | what it is |
//! |---|---|
//! | [`published`] | the token Secret |
//! | [`repair`] | what this process repaired before, after another program changed it |

pub mod published;
pub mod repair;

use std::time::Duration;

use published::Published;
use repair::Repairs;

use crate::{
    api::PleoConnectionStatus,
    domain::{
        governor::ServerState,
        introspection::Introspected,
        ledger::{grant::Grant, record::Unreadable},
        spec::{ResolvedSpec, Server},
        token::{ClientCredentials, Fingerprint, RefreshToken},
    },
};

/// What a decision is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// What the user wants, read live and last.
    pub spec: ResolvedSpec,
    /// The client Secret.
    pub client: ClientSecretState,
    /// The initial-grant Secret.
    pub initial: InitialGrant,
    /// The grant Secret.
    pub grant: GrantSecret,
    /// The token Secret.
    pub token: TokenSecret,
    /// A token Secret that an earlier `secretName` left behind.
    pub retired: Option<String>,
    /// What the status and the token Secret report.
    pub reported: LastReported,
    /// Where people reach this operator, for links; none: there are no links.
    pub links: Option<String>,
    /// Side jobs that did not work in this pass.
    pub deferred: Deferred,
    /// What this process remembers of claims and failures.
    pub local: LocalObservations,
    pub repairs: Repairs,
}

impl Snapshot {
    /// Whether a link could help if a user had to authorize. What may be a backup is not overwritten for that: the right one
    /// may still be restored in its place.
    pub fn can_have_link(&self) -> bool {
        let can = |server: &Server| server.authorization_url.is_ok();
        let may_be_written = match &self.grant {
            GrantSecret::Absent | GrantSecret::Ours(_) => true,
            GrantSecret::Stale(_) | GrantSecret::NotOwned | GrantSecret::Unreadable(_) => false,
        };
        let spec = &self.spec;
        self.links.is_some() && may_be_written && spec.server.as_ref().is_ok_and(can) && !spec.suspend && !spec.deleting
    }
}

/// What was last reported to users and pods. It is evidence: a backup of the grant does not restore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastReported {
    /// Successful refreshes.
    pub rotation: u64,
    /// The rotation whose refresh token a server refused.
    pub rejected_rotation: Option<u64>,
}

impl LastReported {
    pub fn by_status(status: &PleoConnectionStatus) -> Self {
        let number = |reported: Option<i64>| reported.and_then(|reported| u64::try_from(reported).ok());
        let rejected_rotation = number(status.rejected_rotation);
        Self { rotation: number(status.rotation).unwrap_or_default(), rejected_rotation }
    }

    /// With what the token Secret reports to pods: it is written before the status is. One that another program edited is no
    /// evidence until it is repaired; nor is the number beside the very token that the grant holds.
    pub fn and_by(self, token: &TokenSecret, grant: &GrantSecret, uid: &str) -> Self {
        let is_ours = |published: &&Published| published.owner.as_deref() == Some(uid) && !published.is_edited;
        let published = token.published().filter(is_ours);
        let Some(content) = published.and_then(|published| published.content.as_ref()) else { return self };
        let held =
            grant.ours().and_then(|grant| grant.value.current.as_ref()).and_then(|current| current.access.as_ref());
        let is_news = content.access.as_ref().is_none_or(|access| held != Some(&access.token));
        let rotation = if is_news { self.rotation.max(content.rotation) } else { self.rotation };
        Self { rotation, ..self }
    }

    /// Whether a grant is from before that, and was restored: its token is used, or was rejected.
    pub fn outdates(&self, grant: &Grant) -> bool {
        let was_refused = grant.current.is_some() && self.rejected_rotation == Some(grant.rotation);
        grant.rotation < self.rotation || was_refused
    }

    /// What is to be reported, with this grant; none: with no grant of this connection's own.
    pub fn next(self, grant: Option<&Grant>) -> Self {
        let Some(grant) = grant else { return self };
        let rejected_rotation = match grant.current {
            Some(_) => None,
            None if grant.lost_its_pair() => Some(grant.rotation),
            None => self.rejected_rotation,
        };
        Self { rotation: grant.rotation, rejected_rotation }
    }
}

/// Side jobs that did not work in this pass: they must not keep the token from being refreshed, and are tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deferred {
    /// Removing the used token from the initial grant.
    pub token_removal: bool,
    /// Deleting the token Secret of an earlier name.
    pub old_secret_deletion: bool,
    /// Restarting workloads: which ones, and what the API server said.
    pub restarts: Option<String>,
}

/// The client Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientSecretState {
    /// Why there are no credentials, and what to do.
    Missing(String),
    Present(ClientCredentials),
}

impl ClientSecretState {
    /// The client, where there is one.
    pub fn id(&self) -> Option<Fingerprint> {
        match self {
            Self::Present(client) => Some(client.id_fingerprint()),
            Self::Missing(_) => None,
        }
    }
}

/// The initial grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum InitialGrant {
    /// Why there is none, and what to do.
    Missing(String),
    Invalid(String),
    Present(InitialToken),
}

/// A refresh token that a user put there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InitialToken {
    pub token: RefreshToken,
    pub fingerprint: Fingerprint,
    /// The version of its Secret.
    pub version: String,
    /// Whether the annotation that `kubectl apply` keeps holds the token too.
    pub copied: bool,
    /// Whether another connection adopted it already. Looked up only for a token that is news.
    pub sharing: Sharing,
}

/// Whether another connection adopted a token already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// No other did, or it does not matter.
    Alone,
    /// This one did (`namespace/name`).
    With(String),
    /// Why it could not be found out: until then it is not adopted.
    Unchecked(String),
}

/// A value and the version of the object that it was read from: the expected version of a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Versioned<T> {
    pub value: T,
    /// `metadata.resourceVersion`.
    pub version: String,
}

/// The grant Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GrantSecret {
    /// There is none.
    Absent,
    /// This connection's.
    Ours(Versioned<Grant>),
    /// A deleted namesake's, or restored from a backup: never used, for an old token can revoke a working authorization.
    Stale(Versioned<Grant>),
    /// Another owner's object.
    NotOwned,
    /// Ours, and not to be understood.
    Unreadable(Unreadable),
}

impl GrantSecret {
    /// The same, as it looks to the connection with this uid.
    pub fn as_seen_by(self, uid: &str) -> Self {
        match self {
            Self::Ours(grant) if grant.value.connection != uid => Self::Stale(grant),
            same @ (Self::Absent | Self::Ours(_) | Self::Stale(_) | Self::NotOwned | Self::Unreadable(_)) => same,
        }
    }

    /// The same, compared with what was reported to users.
    pub fn unless_outdated(self, reported: LastReported) -> Self {
        match self {
            Self::Ours(grant) if reported.outdates(&grant.value) => Self::Stale(grant),
            same @ (Self::Absent | Self::Ours(_) | Self::Stale(_) | Self::NotOwned | Self::Unreadable(_)) => same,
        }
    }

    /// The grant, where it is this connection's.
    pub fn ours(&self) -> Option<&Versioned<Grant>> {
        match self {
            Self::Ours(grant) => Some(grant),
            Self::Absent | Self::Stale(_) | Self::NotOwned | Self::Unreadable(_) => None,
        }
    }
}

/// The token Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "one for each snapshot")]
pub enum TokenSecret {
    /// There is none.
    Absent,
    /// Ours, whatever is in it.
    Ours(Versioned<Published>),
    /// Another owner's object.
    NotOwned,
}

impl TokenSecret {
    pub fn published(&self) -> Option<&Published> {
        match self {
            Self::Ours(published) => Some(&published.value),
            Self::Absent | Self::NotOwned => None,
        }
    }
}

/// What this process remembers: times on its own monotonic clock, which cannot be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalObservations {
    /// The owner of the claim, if there is one.
    pub claim_owner: Option<ClaimOwner>,
    /// For how long that claim has been seen, without a failed API call since.
    pub claim_seen_for: Duration,
    /// For how long the candidate's last failure has been seen.
    pub candidate_failure_seen_for: Duration,
    /// For how long the current token's last failure has been seen.
    pub current_failure_seen_for: Duration,
    /// For how long the code that a browser brought has been seen; for ever, if this process has sent it already.
    pub code_seen_for: Duration,
    /// For how long the current pair has been seen: it is at least that old, whatever the wall clock says.
    pub current_seen_for: Duration,
    /// What the introspection endpoint said about the current token, and how long ago.
    pub introspected: Option<(Introspected, Duration)>,
    /// The server gets no request of this connection at present, since it is treated so.
    pub held: Option<ServerState>,
}

/// Who made a claim, as far as this process can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimOwner {
    /// This process, and the attempt is under way.
    UnderWayHere,
    /// This process, and it knows that nothing was sent.
    NeverSentHere,
    /// An attempt of this pod that has ended here, though its request may still be in flight.
    DeadHere,
    /// Another pod: it may be alive.
    Elsewhere,
}
