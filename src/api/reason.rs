//! Every reason that a user can see, shared by conditions, events and logs. Names are API: they never change. What each means,
//! and how it is fixed, is in `docs/conditions.md` and `docs/troubleshooting.md`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The types of the conditions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Does the token Secret hold a usable access token?
    Ready,
    /// Must a user authorize (again)?
    ReauthRequired,
    /// Is there a problem that is not fixed by waiting? Present only while True.
    Stalled,
    /// Does the refresh token grow old, unrefreshed? Present only while True.
    GrantExpiring,
}

/// A reason of a condition decides its status.
pub trait Reason: Copy {
    /// As conditions and events have it.
    fn name(self) -> &'static str;
    /// The status that goes with it.
    fn status(self) -> ConditionStatus;
}

/// Makes an enum whose variants are printed as they are named.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The reason as conditions and events have it.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => stringify!($variant),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// `status` of a condition.
    ConditionStatus {
        True,
        False,
        Unknown,
    }
}

impl ConditionStatus {
    /// What a stored condition says.
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

reasons! {
    /// Reasons of `Ready`. Where several apply while there is no usable token, the first in this order is shown.
    ReadyReason {
        /// Usable; the message says how long, and when the next refresh is due.
        Refreshed,
        /// What the schema cannot catch.
        InvalidSpec,
        /// The server is not on the operator's list.
        ServerNotAllowed,
        /// A Secret of that name is not this connection's, or another program keeps changing it.
        SecretConflict,
        /// The grant Secret was edited, or written by a newer operator.
        GrantUnreadable,
        /// The API server rejects our Secrets.
        StorageRefused,
        /// No client Secret, or no `client_id` in it.
        ClientSecretMissing,
        /// For every reason of the other condition but `NotAuthorized`.
        ReauthRequired,
        /// No grant yet, and no initial grant.
        InitialGrantMissing,
        /// The value in the initial grant cannot be a token.
        InitialGrantInvalid,
        /// Another connection adopted this very token.
        GrantShared,
        /// The server rejects the client.
        InvalidClient,
        /// The server rejects the request as malformed.
        InvalidRequest,
        /// Retries failed for `spec.retryTimeout`.
        RetriesExhausted,
        /// Expired, and not presented: the server rejects the tokens of many connections.
        ServerRefusing,
        /// Expired while `spec.suspend`.
        Suspended,
        /// A token request may have used the token; it is found out automatically.
        RefreshInDoubt,
        /// The first refresh is in progress.
        Progressing,
        /// Expired, and refreshes fail; retried automatically.
        RefreshFailing,
    }
}

impl ReadyReason {
    /// Whether time alone will never fix it, so that the connection counts as stalled in any case.
    pub const fn stalls(self) -> bool {
        match self {
            Self::InvalidSpec
            | Self::ServerNotAllowed
            | Self::SecretConflict
            | Self::GrantUnreadable
            | Self::StorageRefused
            | Self::ReauthRequired
            | Self::InitialGrantInvalid
            | Self::GrantShared
            | Self::InvalidClient
            | Self::InvalidRequest
            | Self::RetriesExhausted => true,
            Self::Refreshed
            | Self::ClientSecretMissing
            | Self::InitialGrantMissing
            | Self::ServerRefusing
            | Self::Suspended
            | Self::RefreshInDoubt
            | Self::Progressing
            | Self::RefreshFailing => false,
        }
    }
}

impl Reason for ReadyReason {
    fn name(self) -> &'static str {
        self.as_str()
    }

    fn status(self) -> ConditionStatus {
        match self {
            Self::Refreshed => ConditionStatus::True,
            Self::RefreshInDoubt | Self::Progressing => ConditionStatus::Unknown,
            Self::InvalidSpec
            | Self::ServerNotAllowed
            | Self::SecretConflict
            | Self::GrantUnreadable
            | Self::StorageRefused
            | Self::ClientSecretMissing
            | Self::ReauthRequired
            | Self::InitialGrantMissing
            | Self::InitialGrantInvalid
            | Self::GrantShared
            | Self::InvalidClient
            | Self::InvalidRequest
            | Self::RetriesExhausted
            | Self::ServerRefusing
            | Self::Suspended
            | Self::RefreshFailing => ConditionStatus::False,
        }
    }
}

reasons! {
    /// Reasons of `ReauthRequired`.
    ReauthReason {
        /// The server has not rejected the grant.
        GrantValid,
        /// No server has accepted or rejected the grant yet.
        NotTried,
        /// No user has authorized yet.
        NotAuthorized,
        /// `invalid_grant`: expired, revoked, or issued to another client.
        GrantRefused,
        /// `invalid_token`.
        TokenInvalid,
        /// Rejected after an attempt whose outcome is unknown: the new pair was lost.
        RotationLost,
        /// The server rejected it repeatedly, with a code that is not known.
        UnknownRejection,
        /// The grant belongs to another server than the spec's.
        ServerChanged,
        /// The grant belongs to another client than that of the client Secret.
        ClientChanged,
        /// The grant Secret is older than this connection, or than what its status reports.
        GrantRestored,
    }
}

impl Reason for ReauthReason {
    fn name(self) -> &'static str {
        self.as_str()
    }

    fn status(self) -> ConditionStatus {
        match self {
            Self::GrantValid => ConditionStatus::False,
            Self::NotTried => ConditionStatus::Unknown,
            Self::NotAuthorized
            | Self::GrantRefused
            | Self::TokenInvalid
            | Self::RotationLost
            | Self::UnknownRejection
            | Self::ServerChanged
            | Self::ClientChanged
            | Self::GrantRestored => ConditionStatus::True,
        }
    }
}

reasons! {
    /// Reasons of `GrantExpiring`, from the first warning on.
    AgingReason {
        /// The refresh token is 46 days old.
        ExpiresWithin14Days,
        /// It is 57 days old.
        ExpiresWithin3Days,
        /// It is 60 days old: from here on it may have ended.
        MayHaveExpired,
    }
}

impl Reason for AgingReason {
    fn name(self) -> &'static str {
        self.as_str()
    }

    fn status(self) -> ConditionStatus {
        ConditionStatus::True
    }
}

reasons! {
    /// What could be an attack. Each is an event with that reason and a count.
    SecuritySignal {
        /// A working grant was rejected although it was young.
        RejectedEarly,
        /// Another program wrote into a Secret of the operator's.
        SecretEdited,
        /// A refresh token that another connection adopted was put into an initial grant.
        GrantShared,
    }
}

impl SecuritySignal {
    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RejectedEarly => "rejected_early",
            Self::SecretEdited => "secret_edited",
            Self::GrantShared => "grant_shared",
        }
    }
}

reasons! {
    /// Reasons of `status.lastFailure`: what is known about the refresh token that was sent.
    FailureReason {
        /// Not a byte left: the token is not used.
        NotSent,
        /// 429: the token is not used.
        Throttled,
        /// The token may be used.
        OutcomeUnknown,
        /// An error code that is not known: the token may be used.
        UnknownRejection,
        /// The client or the request is wrong: the token is not used.
        Misconfigured,
        /// The server never accepts the token again.
        Rejected,
    }
}

reasons! {
    /// `state` in the token Secret.
    TokenState {
        /// There is no token yet.
        Pending,
        /// The token is usable.
        Ready,
        /// The token has expired.
        Expired,
        /// There is no token, since the server rejected the grant; a user must authorize.
        ReauthRequired,
    }
}

impl std::str::FromStr for TokenState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text).ok_or(())
    }
}

impl ConditionType {
    /// The type as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::ReauthRequired => "ReauthRequired",
            Self::Stalled => "Stalled",
            Self::GrantExpiring => "GrantExpiring",
        }
    }
}
