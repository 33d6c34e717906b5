//! What a client reported of the access token: the API rejects it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last report that was noted. It moves the refresh of its rotation forward, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectionReport {
    /// Of the access token.
    pub rotation: u64,
    /// When the token is refreshed: now, or as soon as a report may have that effect.
    pub due_at: Timestamp,
    /// The introspection endpoint called that token active, or the refresh token inactive: nothing follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_refuted: bool,
}
