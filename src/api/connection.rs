//! `PleoConnection`: what a user declares. Invalid input is rejected by the API server, with a message that says what to write;
//! defaults are applied where the spec is read, not written into the object.

use std::{collections::BTreeMap, fmt};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GoDuration, PleoConnectionStatus};

/// One authorization at Pleo, kept valid: its tokens are rotated before they expire, into a Secret that pods mount.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "pleo.io",
    version = "v1alpha1",
    kind = "PleoConnection",
    plural = "pleoconnections",
    namespaced,
    status = "PleoConnectionStatus",
    derive = "PartialEq",
    shortname = "pleo",
    category = "pleo",
    doc = "One authorization at Pleo, kept valid: its tokens are rotated before they expire, into a Secret that pods mount.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRefreshTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name of a connection must have 63 characters at most: it is also the value of a label"),
    validation = Rule::new("has(self.spec.secretName) || !self.metadata.name.startsWith('pleo-grant-')").message("spec.secretName is missing, and its default, the connection's name, begins with pleo-grant-: set spec.secretName to another name").field_path(".spec.secretName"),
    validation = Rule::new("(has(self.spec.secretName) ? self.spec.secretName : self.metadata.name) != self.spec.client.secretRef.name").message("spec.secretName (default: the connection's name) names the Secret that the operator writes: it must differ from spec.client.secretRef.name").field_path(".spec.secretName"),
    validation = Rule::new("!has(self.spec.initialGrant) || (has(self.spec.secretName) ? self.spec.secretName : self.metadata.name) != self.spec.initialGrant.secretRef.name").message("spec.secretName (default: the connection's name) names the Secret that the operator writes: it must differ from spec.initialGrant.secretRef.name").field_path(".spec.secretName")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.environment) && has(self.server))").message("set either spec.environment or spec.server, not both"))]
pub struct PleoConnectionSpec {
    /// Which of Pleo's two servers: Production (the default) or Staging. Not beside server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Another authorization server instead of environment: a sandbox, a gateway. It must be on the operator's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSpec>,
    /// Who asks for tokens: the client as registered with Pleo.
    pub client: ClientSpec,
    /// The Secret with the first refresh token, which a user's authorization returned. Another token in it later is a new authorization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_grant: Option<InitialGrantSpec>,
    /// The Secret that pods mount; default: the connection's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('pleo-grant-')").message("names that begin with pleo-grant- are the operator's own: choose another"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be the name of a Secret: lower-case letters, digits, '-' and '.', a letter or digit at both ends"))]
    pub secret_name: Option<String>,
    /// Labels and annotations for that Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// How long before its end a token is refreshed. Default: 10 % of its life, at least 30s, at most 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_before: Option<GoDuration>,
    /// How long transient failures are retried before the connection stalls. Default: 72h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_timeout: Option<GoDuration>,
    /// While true, nothing is sent to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Workloads in this namespace to restart after each rotation, for programs that cannot read the file again
    /// (environment variables, subPath). Each is restarted once when it is first named, and at most once a minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kind".into(), "name".into()]))]
    pub restart_targets: Vec<RestartTarget>,
}

/// A workload in the connection's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestartTarget {
    /// Deployment, StatefulSet or DaemonSet.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be the name of a workload: lower-case letters, digits, '-' and '.', a letter or digit at both ends"))]
    pub name: String,
}

/// What can be restarted by a change of its pod template.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
pub enum WorkloadKind {
    /// apps/v1 Deployment
    Deployment,
    /// apps/v1 StatefulSet
    StatefulSet,
    /// apps/v1 DaemonSet
    DaemonSet,
}

impl fmt::Display for RestartTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name } = self;
        write!(f, "{kind:?} {name}")
    }
}

/// Pleo's own servers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum Environment {
    /// auth.pleo.io
    Production,
    /// auth.staging.pleo.io
    Staging,
}

/// Another authorization server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ServerSpec {
    /// The token endpoint, https only.
    #[serde(rename = "tokenURL")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("must be an https URL, such as https://auth.example.com/oauth/token"))]
    pub token_url: String,
    /// The authorization endpoint, https only.
    #[serde(rename = "authorizationURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("must be an https URL, such as https://auth.example.com/oauth/authorize"))]
    pub authorization_url: Option<String>,
    /// The introspection endpoint (RFC 7662), of the same scheme, host and port as tokenURL. Default: the operator asks nothing.
    #[serde(rename = "introspectionURL", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.startsWith('https://')").message("must be an https URL, such as https://auth.example.com/oauth/token/introspect"))]
    pub introspection_url: Option<String>,
    /// As the server names itself in `iss` (RFC 9207), to the letter. Default: anything of the authorization URL's origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// Certificates in PEM, trusted for this server beside the system's roots.
    #[serde(rename = "caBundle", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262144))]
    pub ca_bundle: Option<String>,
}

/// The client as registered with Pleo.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientSpec {
    /// A Secret of type Opaque with the keys client_id and client_secret (none: a public client).
    pub secret_ref: SecretRef,
    /// How the client authenticates: Auto (the default: the method that works), Basic or Body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// The scopes to request from the user (RFC 6749 section 3.3). Default: the server's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")))]
    pub scopes: Vec<String>,
}

/// How the client authenticates (RFC 6749 section 2.3.1).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
pub enum Authentication {
    /// The method that worked last; before any has, Basic, and Body if the server does not authenticate the client.
    #[default]
    Auto,
    /// HTTP Basic (client_secret_basic).
    Basic,
    /// client_id and client_secret in the request's body (client_secret_post).
    Body,
}

/// A Secret in the connection's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('pleo-grant-')").message("names that begin with pleo-grant- are the operator's own: choose another"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be the name of a Secret: lower-case letters, digits, '-' and '.', a letter or digit at both ends"))]
    pub name: String,
}

/// One key of a Secret in the connection's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('pleo-grant-')").message("names that begin with pleo-grant- are the operator's own: choose another"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("must be the name of a Secret: lower-case letters, digits, '-' and '.', a letter or digit at both ends"))]
    pub name: String,
    /// The key; default: refresh_token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// The Secret with the first refresh token.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitialGrantSpec {
    /// A Secret of type Opaque; it may come later than the connection.
    pub secret_ref: SecretKeyRef,
    /// True: the key is kept after its token was adopted, for GitOps tools that would restore it. Default: it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<bool>,
}

/// Metadata of the Secret that pods mount. The operator's own labels take precedence.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct SecretTemplate {
    /// Labels to put on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to put on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
