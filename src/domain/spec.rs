//! What the user wants: a `PleoConnection` as it was read, with defaults applied and checked where the schema cannot.

use std::{collections::BTreeMap, collections::BTreeSet, str::FromStr, time::Duration};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::api::{Authentication, Environment, PleoConnection, PleoConnectionSpec, RestartTarget, names};

/// A declared connection, whole and checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResolvedSpec {
    /// `metadata.uid`: distinguishes this connection from a deleted one of the same name.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`: a new one lifts a halt.
    pub generation: i64,
    /// Being deleted: no new exchange.
    pub deleting: bool,
    /// Where to send, or why nothing may be sent.
    pub server: Result<Server, SpecProblem>,
    pub authentication: Authentication,
    /// The Secret with `client_id` and `client_secret`.
    pub client_secret_name: String,
    /// The scopes to request; empty: what the server gives by default.
    pub scopes: Vec<String>,
    /// The Secret with the first refresh token.
    pub initial_grant: Option<InitialGrantRef>,
    /// The Secret that pods mount.
    pub secret_name: String,
    /// Labels for it.
    pub secret_labels: BTreeMap<String, String>,
    /// Annotations for it.
    pub secret_annotations: BTreeMap<String, String>,
    /// How long before the end to refresh; none: 10 % of the life.
    pub refresh_before: Option<Duration>,
    /// How long transient failures are retried.
    pub retry_timeout: Duration,
    /// Send nothing.
    pub suspend: bool,
    /// Workloads to restart after each rotation.
    pub restart_targets: BTreeSet<RestartTarget>,
    /// The value of the annotation that asks for a refresh.
    pub refresh_request: Option<String>,
}

/// Where a token endpoint is. A grant belongs to it (I8).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenUrl(String);

impl TokenUrl {
    /// The URL, normalized.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL for logs and metrics: without its query, which may hold a key.
    pub fn shown(&self) -> &str {
        self.0.split_once('?').map_or(self.as_str(), |(shown, _)| shown)
    }
}

/// Where an introspection endpoint is: at the token URL's origin, so that a token goes nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntrospectionUrl(String);

impl IntrospectionUrl {
    /// The URL, normalized.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An authorization server that may be talked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub token_url: TokenUrl,
    /// Where users are sent to authorize, or why they cannot be.
    pub authorization_url: Result<String, String>,
    /// Where to ask whether a token is active (RFC 7662); none: nothing is asked.
    pub introspection_url: Option<IntrospectionUrl>,
    /// What `iss` must be (RFC 9207); none: anything of the authorization URL's origin.
    pub issuer: Option<String>,
    /// Trusted for it beside the system's roots, in PEM.
    pub ca_bundle: Option<String>,
}

impl Server {
    /// Whether `iss` of a response names this server (RFC 9207).
    pub fn is_named(&self, iss: &str) -> bool {
        if let Some(issuer) = &self.issuer {
            return issuer == iss;
        }
        let origin_of = |text: &str| Url::parse(text).ok().map(|url| origin(&url));
        let asked = self.authorization_url.as_deref().unwrap_or_default();
        origin_of(iss).is_some() && origin_of(iss) == origin_of(asked)
    }
}

/// One key of a Secret, and whether it stays after adoption.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InitialGrantRef {
    /// The Secret.
    pub secret: String,
    pub key: String,
    /// Leave the key in place.
    pub keep: bool,
}

/// Why nothing may be sent for this spec.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SpecProblem {
    #[error("{0}")]
    Invalid(String),
    /// A server that is not on the operator's list.
    #[error("the operator may not talk to {0}: use a server on its list, or start it with --allowed-server {0}")]
    NotAllowed(String),
}

const PRODUCTION: &str = "https://auth.pleo.io/oauth/token";
const STAGING: &str = "https://auth.staging.pleo.io/oauth/token";
const PRODUCTION_INTROSPECT_URL: &str = "https://auth.pleo.io/oauth/token/introspect";
const STAGING_INTROSPECT_URL: &str = "https://auth.staging.pleo.io/oauth/token/introspect";
const PRODUCTION_AUTHORIZE_URL: &str = "https://auth.pleo.io/oauth/authorize";
const STAGING_AUTHORIZE_URL: &str = "https://auth.staging.pleo.io/oauth/authorize";
const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(72 * 3600);

impl ResolvedSpec {
    /// Reads a connection; what is wrong with its server ends up in [`ResolvedSpec::server`].
    pub fn read(connection: &PleoConnection, allowed: &AllowedServers) -> Self {
        let (metadata, spec) = (&connection.metadata, &connection.spec);
        let name = metadata.name.clone().unwrap_or_default();
        let template = spec.secret_template.clone().unwrap_or_default();
        let server = check_template(&template.labels, &template.annotations).and_then(|()| server(spec, allowed));
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            server,
            authentication: spec.client.authentication.unwrap_or_default(),
            client_secret_name: spec.client.secret_ref.name.clone(),
            scopes: spec.client.scopes.clone(),
            initial_grant: spec.initial_grant.as_ref().map(|initial| InitialGrantRef {
                secret: initial.secret_ref.name.clone(),
                key: initial.secret_ref.key.clone().unwrap_or_else(|| names::REFRESH_TOKEN_KEY.to_owned()),
                keep: initial.keep.unwrap_or_default(),
            }),
            secret_name: spec.secret_name.clone().unwrap_or_else(|| name.clone()),
            secret_labels: template.labels,
            secret_annotations: template.annotations,
            refresh_before: spec.refresh_before.as_ref().map(crate::api::GoDuration::get),
            retry_timeout: spec.retry_timeout.as_ref().map_or(DEFAULT_RETRY_TIMEOUT, crate::api::GoDuration::get),
            suspend: spec.suspend.unwrap_or_default(),
            restart_targets: spec.restart_targets.iter().cloned().collect(),
            refresh_request: metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(names::REFRESH_REQUESTED_ANNOTATION))
                .cloned(),
            name,
        }
    }

    /// The same, without an introspection endpoint: the operator is not to ask.
    pub fn without_introspection(self) -> Self {
        let server = self.server.map(|server| Server { introspection_url: None, ..server });
        Self { server, ..self }
    }

    /// The token endpoint, where the spec names a permitted one.
    pub fn token_url(&self) -> Option<&TokenUrl> {
        self.server.as_ref().ok().map(|server| &server.token_url)
    }
}

/// The servers that may be talked to, by scheme, host and port: a user who may edit a connection must not be able
/// to have Secrets posted to a host of their choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedServers(Option<BTreeSet<String>>);

impl AllowedServers {
    /// These servers; Pleo's own two where none is given.
    pub fn new(servers: Vec<AllowedServer>) -> Self {
        if servers.is_empty() {
            let ours = [PRODUCTION, STAGING].iter().filter_map(|url| Url::parse(url).ok()).map(|url| origin(&url));
            return Self(Some(ours.collect()));
        }
        Self(Some(servers.into_iter().map(|server| server.0).collect()))
    }

    /// All there are: for a person who sees where it goes, and acts with rights of their own.
    pub fn every() -> Self {
        Self(None)
    }

    fn has(&self, url: &Url) -> bool {
        self.0.as_ref().is_none_or(|servers| servers.contains(&origin(url)))
    }
}

/// One entry of the list, such as `https://auth.example.com:8443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedServer(String);

impl FromStr for AllowedServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let help = "write scheme, host and port of an https token URL, such as https://auth.example.com:8443";
        let url = Url::parse(text).map_err(|error| format!("{error}: {help}"))?;
        match (url.scheme(), url.path(), url.has_host()) {
            ("https", "/", true) if url.query().is_none() && url.fragment().is_none() && url.username().is_empty() => {
                Ok(Self(origin(&url)))
            }
            _ => Err(help.to_owned()),
        }
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn server(spec: &PleoConnectionSpec, allowed: &AllowedServers) -> Result<Server, SpecProblem> {
    let (text, field, ca_bundle) = match (&spec.server, spec.environment) {
        (Some(_), Some(_)) => {
            return Err(SpecProblem::Invalid("set either spec.environment or spec.server, not both".into()));
        }
        (Some(server), None) => (server.token_url.as_str(), "spec.server.tokenURL", server.ca_bundle.clone()),
        (None, Some(Environment::Staging)) => (STAGING, "spec.environment", None),
        (None, Some(Environment::Production) | None) => (PRODUCTION, "spec.environment", None),
    };
    let invalid = |what: &str| {
        SpecProblem::Invalid(format!("{field} {what}: write it like https://auth.example.com/oauth/token"))
    };
    let url = Url::parse(text).map_err(|_| invalid("is not a URL"))?;
    if url.scheme() != "https" || !url.has_host() {
        return Err(invalid("is not an https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid("must not contain a user, a password or a fragment"));
    }
    if let Some(bundle) = &ca_bundle {
        check_ca_bundle(bundle)?;
    }
    if !allowed.has(&url) {
        return Err(SpecProblem::NotAllowed(origin(&url)));
    }
    let authorization_url = authorization_url(spec, allowed);
    let introspection_url = introspection_url(spec, &url)?;
    let issuer = spec.server.as_ref().and_then(|server| server.issuer.clone());
    Ok(Server { token_url: TokenUrl(url.into()), authorization_url, introspection_url, issuer, ca_bundle })
}

/// A token is shown to no other host than the one that it is sent to.
fn introspection_url(spec: &PleoConnectionSpec, token_url: &Url) -> Result<Option<IntrospectionUrl>, SpecProblem> {
    let text = match (&spec.server, spec.environment) {
        (Some(server), _) => server.introspection_url.as_deref(),
        (None, Some(Environment::Staging)) => Some(STAGING_INTROSPECT_URL),
        (None, Some(Environment::Production) | None) => Some(PRODUCTION_INTROSPECT_URL),
    };
    let Some(text) = text else { return Ok(None) };
    let ours = origin(token_url);
    let invalid = || {
        SpecProblem::Invalid(format!(
            "spec.server.introspectionURL: write a URL of the same server as spec.server.tokenURL, like {ours}/oauth/token/introspect, without a user or a fragment"
        ))
    };
    let url = Url::parse(text).map_err(|_| invalid())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if is_plain && origin(&url) == ours { Ok(Some(IntrospectionUrl(url.into()))) } else { Err(invalid()) }
}

/// A user is sent nowhere but to a server on the list: a user who may edit a connection must not be able to send people to a
/// page of their choice.
fn authorization_url(spec: &PleoConnectionSpec, allowed: &AllowedServers) -> Result<String, String> {
    let text = match (&spec.server, spec.environment) {
        (Some(server), _) => server.authorization_url.as_deref().ok_or("spec.server.authorizationURL is missing")?,
        (None, Some(Environment::Staging)) => STAGING_AUTHORIZE_URL,
        (None, Some(Environment::Production) | None) => PRODUCTION_AUTHORIZE_URL,
    };
    let url = Url::parse(text).map_err(|_| "spec.server.authorizationURL is not a URL")?;
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if !is_plain || url.fragment().is_some() {
        return Err("spec.server.authorizationURL must be an https URL without a user or a fragment".to_owned());
    }
    if !allowed.has(&url) {
        return Err(format!(
            "spec.server.authorizationURL is not on the operator's list: --allowed-server {}",
            origin(&url)
        ));
    }
    Ok(url.into())
}

fn check_ca_bundle(bundle: &str) -> Result<(), SpecProblem> {
    let invalid = |what: &str| {
        SpecProblem::Invalid(format!(
            "spec.server.caBundle {what}: put the CA's certificates there in PEM (-----BEGIN CERTIFICATE-----)"
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|_| invalid("is not PEM"))?;
        roots.add(certificate).map_err(|_| invalid("contains a certificate that cannot be read"))?;
    }
    if roots.is_empty() { Err(invalid("contains no certificate")) } else { Ok(()) }
}

fn check_template(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) -> Result<(), SpecProblem> {
    let invalid = |what: String| Err(SpecProblem::Invalid(what));
    if let Some(key) = labels.keys().chain(annotations.keys()).find(|key| !is_qualified_name(key)) {
        return invalid(format!(
            "spec.secretTemplate: {key:?} is no key of a label or annotation: write it like example.com/team"
        ));
    }
    if let Some((key, value)) = labels.iter().find(|(_, value)| !value.is_empty() && !is_label_text(value)) {
        return invalid(format!(
            "spec.secretTemplate.labels: {value:?} is no value for {key}: at most 63 letters, digits, '-', '_' or '.', a letter or digit at both ends"
        ));
    }
    Ok(())
}

/// `name` or `prefix/name`, as Kubernetes wants keys of labels and annotations.
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_dns_label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    is_label_text(name) && prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label))
}

fn is_label_text(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}
