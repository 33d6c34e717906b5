//! What the gate says.

use std::time::Duration;

use crate::domain::snapshot::published::Access;

/// Why calls wait, if they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// There is no token yet, or the folder cannot be read.
    Pending,
    /// Calls are sent.
    Ready,
    /// A refresh is planned for about now: a new token comes in a moment.
    RefreshDue,
    /// One call is out to see whether the token is still good.
    Probing,
    /// The server does not accept the token.
    Rejected,
    /// The token has ended.
    Expired,
    /// A user must authorize.
    ReauthRequired,
}

/// What to do with a call.
#[must_use = "a call that is not followed up is never answered"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send it with this token, and report to `Gate::answered`.
    Send(Access),
    /// Ask again at this instant, or earlier if anything changes.
    Wait(Duration),
    /// The client gets the 401 that the server answered.
    PassThrough,
    /// The client is answered here; the call was not carried out.
    Unavailable(Unavailable),
}

/// Why a call is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unavailable {
    ReauthRequired,
    NotReady,
    TokenExpired,
    TokenRejected,
    /// It was answered 401, and its body is gone.
    NotReplayable,
    /// It had no turn.
    Overloaded,
}

/// What a look at the folder brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    None,
    /// Calls that wait are to ask again.
    Changed,
    /// The same, and the new token had already ended: a clock is wrong, and `expires_at` is ignored.
    WrongClock,
}

impl State {
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Ready,
        Self::RefreshDue,
        Self::Probing,
        Self::Rejected,
        Self::Expired,
        Self::ReauthRequired,
    ];

    /// What a call is answered that has waited in this state for as long as it may.
    pub fn unavailable(self) -> Unavailable {
        match self {
            Self::Pending | Self::Ready => Unavailable::NotReady,
            Self::Expired => Unavailable::TokenExpired,
            Self::ReauthRequired => Unavailable::ReauthRequired,
            Self::RefreshDue | Self::Probing | Self::Rejected => Unavailable::TokenRejected,
        }
    }

    /// As metrics, logs and problem documents name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::RefreshDue => "RefreshDue",
            Self::Probing => "Probing",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
            Self::ReauthRequired => "ReauthRequired",
        }
    }
}
