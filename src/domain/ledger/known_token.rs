//! One entry of the history: a token or code that a user supplied, or a refresh token that came by rotation and was rejected.

use serde::{Deserialize, Serialize};

use crate::domain::{spec::TokenUrl, token::Fingerprint};

/// A token that is not to be taken from the initial grant again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownToken {
    pub fingerprint: Fingerprint,
    pub server: TokenUrl,
    pub verdict: Verdict,
    /// The clients that the server rejected it from; none noted: from each. It may be another client's: then that one may try it
    /// once, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_from: Vec<Fingerprint>,
}

/// What a server decided on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing yet.
    Pending,
    /// It may have accepted it: the token is that server's for good.
    OutcomeUnknown,
    /// It gave the pair of this rotation for it: the token is that server's for good.
    Accepted { rotation: u64 },
    /// It rejected it from the clients in [`KnownToken::rejected_from`].
    Rejected,
    /// It rejected it, and no other client may try it.
    RejectedForAll,
    /// It had accepted or issued it, and rejected it since.
    RejectedAfterUse,
}

impl Verdict {
    /// What two records of one token amount to: nothing that a server decided is forgotten.
    fn and(self, other: Self) -> Self {
        use Verdict::{Accepted, OutcomeUnknown, Pending, Rejected, RejectedAfterUse, RejectedForAll};
        match (self, other) {
            (Accepted { rotation }, Accepted { rotation: other }) => Accepted { rotation: rotation.max(other) },
            (RejectedAfterUse, _) | (_, RejectedAfterUse) => RejectedAfterUse,
            (Accepted { .. }, Rejected | RejectedForAll) | (Rejected | RejectedForAll, Accepted { .. }) => {
                RejectedAfterUse
            }
            (accepted @ Accepted { .. }, _) | (_, accepted @ Accepted { .. }) => accepted,
            (OutcomeUnknown, Rejected) | (Rejected, OutcomeUnknown) => RejectedForAll,
            (RejectedForAll, _) | (_, RejectedForAll) => RejectedForAll,
            (Rejected, _) | (_, Rejected) => Rejected,
            (OutcomeUnknown, _) | (_, OutcomeUnknown) => OutcomeUnknown,
            (Pending, Pending) => Pending,
        }
    }
}

impl KnownToken {
    /// One that no server has seen yet.
    pub fn new(fingerprint: Fingerprint, server: TokenUrl) -> Self {
        Self { fingerprint, server, verdict: Verdict::Pending, rejected_from: Vec::new() }
    }

    /// Whether the entry is about this token at this server.
    pub(super) fn is(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        self.fingerprint == *fingerprint && self.server == *server
    }

    /// Whether a server gave a pair for it that was not rejected since.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.verdict, Verdict::Accepted { .. })
    }

    /// Whether the server has neither accepted nor rejected it.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.verdict, Verdict::Pending | Verdict::OutcomeUnknown)
    }

    /// Whether the server rejected it, from whichever client.
    pub fn is_rejected(&self) -> bool {
        matches!(self.verdict, Verdict::Rejected | Verdict::RejectedForAll | Verdict::RejectedAfterUse)
    }

    /// Whether the server rejected it from this client, or for good.
    pub(super) fn is_rejected_from(&self, client_id: &Fingerprint) -> bool {
        match self.verdict {
            Verdict::RejectedForAll | Verdict::RejectedAfterUse => true,
            Verdict::Rejected if self.rejected_from.is_empty() => true,
            Verdict::Rejected | Verdict::Pending | Verdict::OutcomeUnknown | Verdict::Accepted { .. } => {
                self.rejected_from.contains(client_id)
            }
        }
    }

    /// Whether it is that server's for good, because it accepted it, or may have.
    pub(super) fn is_bound(&self) -> bool {
        match self.verdict {
            Verdict::OutcomeUnknown
            | Verdict::Accepted { .. }
            | Verdict::RejectedForAll
            | Verdict::RejectedAfterUse => true,
            Verdict::Pending | Verdict::Rejected => false,
        }
    }

    /// Whether it was rejected from other clients only, so that this one may try it.
    pub(super) fn may_be_tried_as(&self, client_id: Option<&Fingerprint>) -> bool {
        self.verdict == Verdict::Rejected && client_id.is_some_and(|client_id| !self.is_rejected_from(client_id))
    }

    /// Notes that the server rejected it from this client.
    pub(super) fn reject_from(&mut self, client_id: &Fingerprint) {
        self.verdict = self.verdict.and(Verdict::Rejected);
        if !self.rejected_from.contains(client_id) {
            self.rejected_from.push(client_id.clone());
        }
    }

    /// Notes what another server's or process's answer showed.
    pub fn note(&mut self, verdict: Verdict) {
        self.verdict = self.verdict.and(verdict);
    }

    /// Takes over what another record of this token shows.
    pub(super) fn merge(&mut self, other: Self) {
        let is_from_each = self.is_rejected_from_each() || other.is_rejected_from_each();
        self.verdict = match (self.is_before(&other), other.is_before(self)) {
            (true, _) => other.verdict,
            (_, true) => self.verdict,
            (false, false) => self.verdict.and(other.verdict),
        };
        if is_from_each {
            self.rejected_from.clear();
            return;
        }
        let more: Vec<_> = other.rejected_from.into_iter().filter(|id| !self.rejected_from.contains(id)).collect();
        self.rejected_from.extend(more);
    }

    /// Whether the other record says less.
    pub(super) fn says_more_than(&self, other: &Self) -> bool {
        self.rejected_from.iter().any(|id| !other.rejected_from.contains(id)) || self.is_bound() && !other.is_bound()
    }

    /// Whether it is a rejection that the other record, in which another client tries, takes into account.
    fn is_before(&self, other: &Self) -> bool {
        let is_known = |id| other.rejected_from.contains(id);
        let is_from_some = self.verdict == Verdict::Rejected && !self.rejected_from.is_empty();
        is_from_some && other.verdict != Verdict::Rejected && self.rejected_from.iter().all(is_known)
    }

    fn is_rejected_from_each(&self) -> bool {
        self.verdict == Verdict::Rejected && self.rejected_from.is_empty()
    }
}
