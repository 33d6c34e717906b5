//! `status` of a connection: derived from the grant, so it can be lost without harm.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reason::ConditionType;

/// What the operator knows of a connection.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PleoConnectionStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, ReauthRequired and, only while True, Stalled and GrantExpiring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Successful refreshes of this connection so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<i64>,
    /// The rotation whose refresh token a server rejected, until there is a new pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_rotation: Option<i64>,
    /// When the last successful refresh started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refresh_time: Option<Time>,
    /// When the access token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When the next refresh or retry is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_refresh_time: Option<Time>,
    /// Failed refreshes in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i32>,
    /// The last refresh that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// How the client authenticates to the server: Basic or Body, the one that worked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_authentication: Option<String>,
    /// While a user must authorize, or may have to: the link to open in a browser. Anyone who has it can connect an account.
    #[serde(rename = "authorizationURL", default, skip_serializing_if = "Option::is_none")]
    pub authorization_url: Option<String>,
    /// The Secret that pods mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The last value of the annotation pleo.io/refresh-requested-at that was handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_refresh_request: Option<String>,
}

impl PleoConnectionStatus {
    /// The condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind.as_str())
    }

    /// Whether a condition has this reason.
    pub fn has_reason(&self, reason: &str) -> bool {
        self.conditions.iter().any(|condition| condition.reason == reason)
    }
}

/// A failed refresh.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
pub struct LastFailure {
    /// When it ended.
    pub time: Time,
    /// NotSent, Throttled, OutcomeUnknown, UnknownRejection, Misconfigured or Rejected.
    pub reason: String,
    /// What happened, in words.
    pub message: String,
}
