//! One request to the API, on its way through the gate.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;

use crate::domain::token::Fingerprint;

/// An instant by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, for what the operator wrote.
    pub wall: Timestamp,
    /// Since the start of the process, on a clock that cannot be set, for all else.
    pub elapsed: Duration,
}

/// Names a call. A smaller number came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Method and path, as a hash: it is only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(u64);

impl Route {
    pub fn new(method: &str, path: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (method, path).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// One call: what was sent of it, and what came of that.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: CallId,
    pub route: Route,
    /// Its body is kept, so that it can be sent again.
    pub is_replayable: bool,
    /// How long the client wants to wait at most (RFC 7240 section 4.3).
    pub patience: Option<Duration>,
    /// The tokens that it was sent with.
    pub(super) sent: Vec<Fingerprint>,
    /// When it was sent last.
    pub(super) sent_at: Duration,
    /// The 401 that was not judged yet.
    pub(super) unauthorized: Option<Unauthorized>,
    /// Until when it may wait.
    pub(super) deadline: Option<Duration>,
}

/// A 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unauthorized {
    pub token: Fingerprint,
    pub at: Moment,
    /// It says `error="invalid_token"` (RFC 6750 section 3.1).
    pub is_explicit: bool,
}

/// What came back for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status that only a token brings that was accepted, such as 2xx or 403.
    Success,
    /// 401.
    Unauthorized { is_explicit: bool },
    /// Any other status, or none.
    Other,
}

impl Call {
    pub fn new(id: CallId, route: Route, is_replayable: bool, patience: Option<Duration>) -> Self {
        let (sent, sent_at) = (Vec::new(), Duration::ZERO);
        Self { id, route, is_replayable, patience, sent, sent_at, unauthorized: None, deadline: None }
    }

    /// Whether it was sent with this token.
    pub fn was_sent_with(&self, token: &Fingerprint) -> bool {
        self.sent.contains(token)
    }

    /// How often it was sent.
    pub fn times_sent(&self) -> usize {
        self.sent.len()
    }
}
