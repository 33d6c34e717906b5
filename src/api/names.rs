//! Names that other people's manifests rely on: labels, annotations, Secret names, types and keys.

/// The label that marks what this operator made.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`], also the field manager and the reporter of events.
pub const OPERATOR: &str = "pleo-operator";
/// How each of our HTTP clients names itself, for audit logs and flow schemas too.
pub const USER_AGENT: &str = concat!("pleo-operator/", env!("CARGO_PKG_VERSION"));
/// On our Secrets: the name of the connection. On pods: asks for notification of rotations.
pub const CONNECTION_LABEL: &str = "pleo.io/connection";
/// Prefix of the labels on grant Secrets that name the fingerprint of each token ever adopted. The label's
/// presence is what is searched for, so that two connections do not use the same authorization.
pub const ADOPTED_LABEL_PREFIX: &str = "adopted.pleo.io/";
/// A new value asks for one refresh now.
pub const REFRESH_REQUESTED_ANNOTATION: &str = "pleo.io/refresh-requested-at";
/// On pods with [`CONNECTION_LABEL`]: what the token Secret says now. Writing it makes the kubelet bring the file at once.
pub const ROTATION_ANNOTATION: &str = "pleo.io/rotation";
/// On the pod template of a restart target: the rotation that it was restarted for.
pub const RESTARTED_FOR_ANNOTATION: &str = "pleo.io/restarted-for";
/// Where `kubectl apply` keeps a copy of what was applied: the whole Secret, token included.
pub const LAST_APPLIED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The reason of the event for an authorization by link that failed.
pub const AUTHORIZATION_FAILED: &str = "AuthorizationFailed";

/// The reason of the event for an adopted token that another program puts back.
pub const INITIAL_GRANT_RETURNED: &str = "InitialGrantReturned";

/// Names of Secrets that only the operator may use.
pub const GRANT_SECRET_PREFIX: &str = "pleo-grant-";
/// The type of grant Secrets; input Secrets are `Opaque`, so a grant can never be taken for an input.
pub const GRANT_SECRET_TYPE: &str = "pleo.io/grant";
/// The type of every Secret that people write or mount.
pub const OPAQUE_SECRET_TYPE: &str = "Opaque";

/// Keys of the client Secret.
pub const CLIENT_ID_KEY: &str = "client_id";
/// See [`CLIENT_ID_KEY`]; absent for a public client.
pub const CLIENT_SECRET_KEY: &str = "client_secret";
/// The default key of an initial-grant Secret.
pub const REFRESH_TOKEN_KEY: &str = "refresh_token";

/// Keys of the token Secret, the one that pods mount.
pub mod token_secret {
    /// The access token exactly as received, without a newline.
    pub const ACCESS_TOKEN: &str = "access_token";
    /// The type of the access token, as received; `Bearer` where the server said nothing.
    pub const TOKEN_TYPE: &str = "token_type";
    /// When the access token ends, RFC 3339 in UTC.
    pub const EXPIRES_AT: &str = "expires_at";
    /// When the operator plans to refresh the token, RFC 3339 in UTC; absent while none is planned.
    pub const REFRESH_AT: &str = "refresh_at";
    /// Successful refreshes of this connection so far.
    pub const ROTATION: &str = "rotation";
    /// One of [`crate::api::TokenState`].
    pub const STATE: &str = "state";
}

/// The name of the grant Secret of a connection.
pub fn grant_secret(connection: &str) -> String {
    format!("{GRANT_SECRET_PREFIX}{connection}")
}
