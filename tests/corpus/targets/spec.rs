//! A connection as a user may have written it: whatever it says, nothing is sent to a server that is not allowed.

use std::time::Duration;

use pleo_operator::{
    api::{PleoConnection, PleoConnectionStatus},
    domain::{
        report::status,
        spec::{AllowedServers, ResolvedSpec, Server, SpecProblem},
    },
};
use serde_json::{Value, json};
use url::Url;

use super::{
    scenes::{PACE, PRODUCTION, STAGING, Scene},
    support::judge,
    support::text::{edit, leaks},
};

const PLEO: [&str; 2] = ["https://auth.pleo.io", "https://auth.staging.pleo.io"];
const OWN: [&str; 2] = ["https://auth.example.com", "https://gateway.example.com:8443"];
/// All four units with six digits.
const LONGEST: Duration = Duration::from_secs(3_662_000_000);

/// `own` in the first line: a list of servers, else Pleo's two. Then a connection in JSON, or edits of a good one, a line
/// each (`/pointer value`).
pub fn run(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let (list, written) = text.split_once('\n').unwrap_or((&text, ""));
    let origins = if list == "own" { OWN } else { PLEO };
    let allowed = if list == "own" { OWN.map(|server| server.parse().unwrap()).to_vec() } else { Vec::new() };
    let read = match written.strip_prefix('{') {
        Some(_) => serde_json::from_str(written).ok(),
        None => serde_json::from_value(edited(written)).ok(),
    };
    let Some(connection): Option<PleoConnection> = read else { return "unreadable" };
    let spec = ResolvedSpec::read(&connection, &AllowedServers::new(allowed));
    is_stored_as_it_is(&connection);
    durations_are_bounded(&spec);
    the_status_tells(&connection, &spec);
    match &spec.server {
        Ok(server) => {
            is_allowed(server, &origins);
            is_wished_for(server, &connection);
            the_template_can_be_stored(&spec);
            "allowed"
        }
        Err(SpecProblem::NotAllowed(origin)) => {
            assert!(!origins.contains(&origin.as_str()), "{origin} is on the list");
            assert!(!quotes_a_password(&connection) || !leaks(&spec.server.unwrap_err().to_string()));
            "not allowed"
        }
        Err(SpecProblem::Invalid(why)) => {
            assert!(why.starts_with("spec.") || why.starts_with("set either"), "it says where: {why}");
            assert!(!quotes_a_password(&connection) || !leaks(why), "no password is quoted: {why}");
            "invalid"
        }
    }
}

fn edited(lines: &str) -> Value {
    let mut connection = json!({
        "apiVersion": "pleo.io/v1alpha1",
        "kind": "PleoConnection",
        "metadata": {"name": "acme", "namespace": "finance", "uid": "0c5f7d9e-acme", "generation": 1},
        "spec": {
            "client": {"secretRef": {"name": "pleo-client"}},
            "initialGrant": {"secretRef": {"name": "acme-grant"}},
        },
    });
    lines.lines().for_each(|line| edit(&mut connection, line));
    connection
}

/// What was read is written, and read again. Once: the API server keeps times in whole seconds.
fn is_stored_as_it_is(connection: &PleoConnection) {
    let stored = serde_json::to_value(connection).expect("JSON");
    let again: PleoConnection = serde_json::from_value(stored.clone()).expect("what was written is read");
    assert_eq!(again.spec, connection.spec);
    assert_eq!(serde_json::to_value(&again).unwrap(), stored);
}

/// By the letters of the URL, and not by the parser that the program uses.
fn is_allowed(server: &Server, origins: &[&str]) {
    let url = server.token_url.as_str();
    let authority = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next()).expect("https");
    assert!(origins.contains(&format!("https://{authority}").as_str()), "{url} is not on the list");
    assert!(!url.contains(['#', ' ', '\n']), "{url}");
    // In a query it is a letter like any other; before that, browsers take it for a slash.
    let path = url.split('?').next().unwrap_or_default();
    assert!(!path.contains('\\'), "{url}");
    assert_eq!(Url::parse(url).map(String::from).as_deref(), Ok(url), "normalized");
    if let Some(bundle) = &server.ca_bundle {
        let roots = reqwest::Certificate::from_pem_bundle(bundle.as_bytes());
        assert!(roots.is_ok_and(|roots| !roots.is_empty()), "what was checked is what the client reads");
    }
}

fn is_wished_for(server: &Server, connection: &PleoConnection) {
    let raw = &connection.spec;
    assert!(raw.server.is_none() || raw.environment.is_none(), "not both");
    let url = server.token_url.as_str();
    assert!(raw.server.is_some() || [PRODUCTION, STAGING].contains(&url), "{url}");
    assert_eq!(server.ca_bundle, raw.server.as_ref().and_then(|server| server.ca_bundle.clone()));
}

fn durations_are_bounded(spec: &ResolvedSpec) {
    for duration in [spec.refresh_before, Some(spec.retry_timeout)].into_iter().flatten() {
        assert!(duration >= Duration::from_millis(1) && duration <= LONGEST, "{duration:?}");
    }
}

/// As Kubernetes wants keys of labels and annotations, and values of labels.
fn the_template_can_be_stored(spec: &ResolvedSpec) {
    let ends_well = |text: &str| text.starts_with(char::is_alphanumeric) && text.ends_with(char::is_alphanumeric);
    let is_name = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        plain && text.len() <= 63 && ends_well(text)
    };
    let is_prefix = |text: &str| {
        let plain =
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
        plain && text.len() <= 253 && text.split('.').all(ends_well)
    };
    for key in spec.secret_labels.keys().chain(spec.secret_annotations.keys()) {
        let good = match key.split_once('/') {
            Some((prefix, name)) => is_prefix(prefix) && is_name(name),
            None => is_name(key),
        };
        assert!(good, "{key:?}");
    }
    for value in spec.secret_labels.values() {
        assert!(value.is_empty() || is_name(value), "{value:?}");
    }
}

/// Whether a password stands in the token URL, and nowhere else.
fn quotes_a_password(connection: &PleoConnection) -> bool {
    let Some(server) = &connection.spec.server else { return false };
    let Ok(url) = Url::parse(&server.token_url) else { return false };
    let template = serde_json::to_string(&connection.spec.secret_template).unwrap();
    url.password().is_some_and(leaks) && !url.host_str().is_some_and(leaks) && !leaks(&template)
}

/// Whatever was told before, and whatever the API server says: the same state gives the same status.
fn the_status_tells(connection: &PleoConnection, spec: &ResolvedSpec) {
    let scene = Scene::new().with_spec(|old| *old = spec.clone());
    let previous = connection.status.clone().unwrap_or_default();
    let status = scene.status_after(&previous);
    judge::a_status_is_told_once(&scene, &status);
    judge::whatever_the_time(&scene);
    drop(status::transitions(&previous, &status));
    let refused = status::of(&scene.snapshot, &previous, Some("no"), scene.now, PACE);
    assert!(status::tells_of_refused_storage(&refused) || spec.server.is_err());
    let blind = |previous: &PleoConnectionStatus| status::without_secrets(previous, spec.generation, "no", scene.now);
    let told = blind(&previous);
    assert_eq!(blind(&told), told);
}
