//! An entry of the list of servers: it opens its own door and no other.

use pleo_operator::{
    api::PleoConnection,
    domain::spec::{AllowedServer, AllowedServers, ResolvedSpec, SpecProblem},
};
use serde_json::json;
use url::Url;

/// The bytes as a text.
pub fn run(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let server: AllowedServer = match text.parse() {
        Ok(server) => server,
        Err(refused) => {
            assert!(refused.contains("write scheme, host and port") && !refused.contains('\n'), "{refused}");
            return "refused";
        }
    };
    let url = Url::parse(&text).expect("a URL");
    let allowed = AllowedServers::new(vec![server]);
    let door = |url: &Url| opens(url.join("/oauth/token").expect("a path").as_str(), &allowed);
    assert_eq!(url.scheme(), "https", "{text:?}");
    assert!(url.username().is_empty(), "what is no part of an origin is refused: {text:?}");
    if url.password().is_some() {
        // The program forgets it, and refuses it in a spec.
        return "allowed";
    }
    assert!(door(&url), "its own door: {text:?}");
    let mut other = url.clone();
    other.set_port(Some(if url.port() == Some(8443) { 9443 } else { 8443 })).expect("a port");
    assert!(!door(&other), "another port: {text:?}");
    for host in ["evil.example", &format!("{}.evil.example", url.host_str().unwrap_or_default())] {
        let mut other = url.clone();
        let changed = other.set_host(Some(host)).is_ok() && other.host_str() != url.host_str();
        assert!(!changed || !door(&other), "another host: {text:?}");
    }
    "allowed"
}

fn opens(token_url: &str, allowed: &AllowedServers) -> bool {
    let connection = json!({
        "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "metadata": {"name": "acme"},
        "spec": {"client": {"secretRef": {"name": "pleo-client"}}, "server": {"tokenURL": token_url}},
    });
    let connection: PleoConnection = serde_json::from_value(connection).unwrap();
    match ResolvedSpec::read(&connection, allowed).server {
        Ok(_) => true,
        Err(SpecProblem::NotAllowed(_)) => false,
        Err(SpecProblem::Invalid(why)) => panic!("not a server at all: {why}"),
    }
}
