//! Every reason that a user can see, shared by conditions, events and logs. Names are API: they never change.

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
    /// Reasons of `Ready`. Where several apply while there is no usable token, the first in this order is shown.
    ReadyReason {
        /// Usable; the message says how long, and when the next refresh is due.
        Refreshed,
        /// What the schema cannot catch. Way back: edit the spec.
        InvalidSpec,
        /// The server is not on the operator's list. Way back: edit the spec or the operator's flags.
        ServerNotAllowed,
        /// A Secret of that name is not this connection's, or another program keeps changing it. Way back: rename, remove it, or stop
        /// that program.
        SecretConflict,
        /// The grant Secret was edited or written by a newer operator. Way back: restore, upgrade, or delete it and authorize again.
        GrantUnreadable,
        /// The API server rejects our Secrets. Way back: fix rights, policy or quota; retried automatically.
        StorageRefused,
        /// No client Secret, or no `client_id` in it. Way back: create it.
        ClientSecretMissing,
        /// For every reason of the other condition but `NotAuthorized`. Way back: a new refresh token.
        ReauthRequired,
        /// No grant yet, and no initial grant. Way back: create it.
        InitialGrantMissing,
        /// What stands there cannot be a token. Way back: replace it.
        InitialGrantInvalid,
        /// Another connection adopted this very token. Way back: a consent of its own.
        GrantShared,
        /// The server refuses the client. Way back: mend the client Secret or the spec.
        InvalidClient,
        /// The server calls the request wrong. Way back: mend the spec or the client Secret.
        InvalidRequest,
        /// `retryTimeout` is over. Way back: ask with the annotation, or change anything.
        RetriesExhausted,
        /// Expired while `spec.suspend`. Way back: unset it.
        Suspended,
        /// An exchange may have spent the token; it is being found out by itself.
        RefreshInDoubt,
        /// First exchange under way.
        Progressing,
        /// Expired, and transient failures go on; the next try is in the status.
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
            | Self::Suspended
            | Self::RefreshInDoubt
            | Self::Progressing
            | Self::RefreshFailing => false,
        }
    }

    /// The status of `Ready` that goes with it.
    pub const fn ready_status(self) -> &'static str {
        match self {
            Self::Refreshed => "True",
            Self::RefreshInDoubt | Self::Progressing => "Unknown",
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
            | Self::Suspended
            | Self::RefreshFailing => "False",
        }
    }
}

reasons! {
    /// Reasons of `ReauthRequired`.
    ReauthReason {
        /// The last exchange that was answered was a success.
        GrantValid,
        /// A grant is there, and no server has accepted or refused it yet.
        NotTried,
        /// Nobody has consented yet.
        NotAuthorized,
        /// `invalid_grant`: expired, revoked, or issued to another client.
        GrantRefused,
        /// `invalid_token`.
        TokenInvalid,
        /// Refused after an attempt whose outcome is unknown: the new pair was lost on the way.
        RotationLost,
        /// The grant belongs to another server than the spec's.
        ServerChanged,
        /// The grant belongs to another client than that of the client Secret.
        ClientChanged,
        /// The grant Secret is older than this connection.
        GrantRestored,
    }
}

impl ReauthReason {
    /// The status of `ReauthRequired` that goes with it.
    pub const fn status(self) -> &'static str {
        match self {
            Self::GrantValid => "False",
            Self::NotTried => "Unknown",
            Self::NotAuthorized
            | Self::GrantRefused
            | Self::TokenInvalid
            | Self::RotationLost
            | Self::ServerChanged
            | Self::ClientChanged
            | Self::GrantRestored => "True",
        }
    }
}

reasons! {
    /// Reasons of `GrantExpiring`, from the first warning on. Way back: let it be refreshed.
    AgingReason {
        /// The refresh token is 46 days old.
        ExpiresWithin14Days,
        /// It is 57 days old.
        ExpiresWithin3Days,
        /// It is 60 days old: from here on it may have ended.
        MayHaveExpired,
    }
}

reasons! {
    /// What could be an attack. Each is an event with that reason and a count.
    SecuritySignal {
        /// The living grant was refused although it was young.
        RefusedEarly,
        /// Somebody else wrote into a Secret of the operator's.
        SecretEdited,
        /// A refresh token that another connection adopted was put into an initial grant.
        GrantShared,
    }
}

impl SecuritySignal {
    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RefusedEarly => "refused_early",
            Self::SecretEdited => "secret_edited",
            Self::GrantShared => "grant_shared",
        }
    }
}

reasons! {
    /// Reasons of `status.lastFailure`: what is known about the refresh token that was sent.
    FailureReason {
        /// Not a byte left: the token is unspent.
        NotSent,
        /// 429: the token is unspent.
        Throttled,
        /// The token may be spent.
        OutcomeUnknown,
        /// The client or the request is wrong: the token is unspent.
        Misconfigured,
        /// The token is dead.
        Refused,
    }
}

reasons! {
    /// `state` in the token Secret.
    TokenState {
        /// No exchange yet: there is no token.
        Pending,
        /// The token is usable.
        Ready,
        /// The token stands there and has expired.
        Expired,
        /// There is no token; a human must consent.
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
