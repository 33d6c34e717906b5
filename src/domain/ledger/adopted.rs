//! One entry of the history: a token or code that a user supplied, or one that came by rotation and was rejected.

use serde::{Deserialize, Serialize};

use crate::domain::{spec::TokenUrl, token::Fingerprint};

/// A token that is not to be taken from the initial grant again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// The token.
    pub fingerprint: Fingerprint,
    /// The server that the spec named.
    pub server: TokenUrl,
    /// The rotation that a server gave for it, if one did: then it is bound to that server. 0: it came by rotation, and was rejected.
    pub accepted_as: Option<u64>,
    /// The server refused it.
    #[serde(default)]
    pub refused: bool,
    /// The clients that the server refused it from, as far as they were noted. It may be another client's: then that one may
    /// try it once, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_as: Vec<Fingerprint>,
    /// The server may have accepted it: then, too, it is that server's for good.
    #[serde(default)]
    pub in_doubt: bool,
}

impl Adopted {
    /// A consent that no server has seen yet.
    pub fn new(fingerprint: Fingerprint, server: TokenUrl) -> Self {
        Self { fingerprint, server, accepted_as: None, refused: false, refused_as: Vec::new(), in_doubt: false }
    }

    /// Whether a server gave a pair for it, though that may have been rejected since.
    pub(super) fn is_proved(&self) -> bool {
        self.accepted_as.is_some() && !self.refused
    }

    /// Whether its end is not known yet.
    pub(super) fn is_open(&self) -> bool {
        self.accepted_as.is_none() && !self.refused
    }

    /// Notes that the server refused it from this client.
    pub(super) fn refuse(&mut self, client_id: &Fingerprint) {
        self.refused = true;
        if !self.refused_as.contains(client_id) {
            self.refused_as.push(client_id.clone());
        }
    }

    /// Whether it was refused from other clients only, and nothing speaks for its being theirs.
    pub(super) fn may_be_tried_as(&self, client_id: Option<&Fingerprint>) -> bool {
        let was_noted = self.refused && !self.refused_as.is_empty();
        was_noted && client_id.is_some_and(|client_id| !self.refused_as.contains(client_id))
    }

    pub(super) fn is(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        self.fingerprint == *fingerprint && self.server == *server
    }
}
