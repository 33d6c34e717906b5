//! A spec as it is read: which servers may be talked to, where humans may be sent, and what may stand on a Secret. Whatever is
//! wrong says what to write instead.

use pleo_operator::{
    api::PleoConnection,
    domain::spec::{AllowedServers, ResolvedSpec, Server, SpecProblem},
};
use serde_json::{Value, json};

use crate::scenes::{PRODUCTION, secs};

const SERVER: &str = "https://auth.example.com/oauth/token";

fn read(spec: Value) -> ResolvedSpec {
    let mut whole = json!({"client": {"secretRef": {"name": "client"}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let connection = json!({
        "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "metadata": {"name": "acme"}, "spec": whole,
    });
    let connection: PleoConnection = serde_json::from_value(connection).expect("a connection");
    let servers = ["https://auth.example.com", "https://auth.pleo.io", "https://auth.staging.pleo.io"];
    ResolvedSpec::read(
        &connection,
        &AllowedServers::new(servers.iter().map(|server| server.parse().unwrap()).collect()),
    )
}

fn server(token_url: &str) -> Result<Server, SpecProblem> {
    read(json!({"server": {"tokenURL": token_url}})).server
}

fn template(labels: Value, annotations: Value) -> Result<Server, SpecProblem> {
    read(json!({"secretTemplate": {"labels": labels, "annotations": annotations}})).server
}

#[test]
fn a_server_is_an_https_url_and_nothing_else() {
    assert_eq!(server(SERVER).unwrap().token_url.as_str(), SERVER);
    for (url, why) in [
        ("not a url", "is not a URL"),
        ("http://auth.example.com/oauth/token", "is not an https URL"),
        ("ftp://auth.example.com/oauth/token", "is not an https URL"),
        ("data:text/plain,x", "is not an https URL"),
        ("https://user@auth.example.com/", "must not contain a user"),
        ("https://:password@auth.example.com/", "must not contain a user"),
        ("https://auth.example.com/#fragment", "must not contain a user"),
        ("https://evil.example.com/oauth/token", "--allowed-server https://evil.example.com"),
        ("https://auth.example.com:8443/oauth/token", "--allowed-server https://auth.example.com:8443"),
    ] {
        let told = server(url).expect_err(url).to_string();
        assert!(told.contains(why), "{url}: {told}");
    }
    let both = read(json!({"environment": "Staging", "server": {"tokenURL": SERVER}})).server.unwrap_err();
    assert!(both.to_string().contains("not both"));
}

/// A token is shown to no other host than the one that it is sent to.
#[test]
fn an_introspection_endpoint_is_on_the_token_urls_server() {
    let asks = |url: &str| {
        read(json!({"server": {"tokenURL": SERVER, "introspectionURL": url}}))
            .server
            .map(|server| server.introspection_url)
    };
    let url = "https://auth.example.com/oauth/token/introspect";
    assert_eq!(asks(url).unwrap().expect("it is named").as_str(), url);
    for wrong in [
        "not a url",
        "http://auth.example.com/introspect",
        "https://auth.example.com:8443/introspect",
        "https://auth.pleo.io/oauth/token/introspect",
        "https://user@auth.example.com/introspect",
        "https://auth.example.com/introspect#x",
    ] {
        let told = asks(wrong).expect_err(wrong).to_string();
        assert!(told.contains("like https://auth.example.com/oauth/token/introspect"), "{wrong}: {told}");
    }
    assert_eq!(server(SERVER).unwrap().introspection_url, None);
    for (environment, url) in [
        ("Production", "https://auth.pleo.io/oauth/token/introspect"),
        ("Staging", "https://auth.staging.pleo.io/oauth/token/introspect"),
    ] {
        let spec = read(json!({"environment": environment}));
        assert_eq!(spec.server.as_ref().unwrap().introspection_url.as_ref().expect("it is known").as_str(), url);
        assert_eq!(spec.without_introspection().server.unwrap().introspection_url, None);
    }
}

/// Whoever may edit a connection must not be able to send people to a page of his choice.
#[test]
fn a_human_is_sent_to_servers_of_the_list_only() {
    let sent = |url: &str| {
        read(json!({"server": {"tokenURL": SERVER, "authorizationURL": url}})).server.unwrap().authorization_url
    };
    let there = "https://auth.example.com/oauth/authorize?audience=x";
    assert_eq!(sent(there).as_deref(), Ok(there));
    for (url, why) in [
        ("not a url", "is not a URL"),
        ("http://auth.example.com/oauth/authorize", "must be an https URL"),
        ("https://user@auth.example.com/", "must be an https URL"),
        ("https://:password@auth.example.com/", "must be an https URL"),
        ("https://auth.example.com/#fragment", "must be an https URL"),
        ("https://evil.example.com/oauth/authorize", "--allowed-server https://evil.example.com"),
    ] {
        let told = sent(url).expect_err(url);
        assert!(told.contains(why), "{url}: {told}");
    }
    assert!(server(SERVER).unwrap().authorization_url.unwrap_err().contains("authorizationURL is missing"));
    let of = |environment: &str| read(json!({"environment": environment})).server.unwrap().authorization_url.unwrap();
    assert_eq!(of("Production"), "https://auth.pleo.io/oauth/authorize");
    assert_eq!(of("Staging"), "https://auth.staging.pleo.io/oauth/authorize");
}

#[test]
fn a_ca_bundle_holds_certificates() {
    let read = |bundle: &str| read(json!({"server": {"tokenURL": SERVER, "caBundle": bundle}})).server;
    let good = rcgen::generate_simple_self_signed(["auth.example.com".to_owned()]).unwrap().cert.pem();
    assert_eq!(read(&good).unwrap().ca_bundle.as_deref(), Some(good.as_str()));
    for (bundle, why) in [
        ("", "contains no certificate"),
        ("nothing", "contains no certificate"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "is not PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ] {
        let told = read(bundle).expect_err(bundle).to_string();
        assert!(told.contains(why), "{bundle}: {told}");
    }
}

#[test]
fn labels_and_annotations_are_such_as_the_api_server_takes() {
    let long = "x".repeat(64);
    let (prefix, long_prefix) = (format!("{}.io/x", "a".repeat(250)), format!("{}.io/x", "a".repeat(251)));
    for key in ["team", "example.com/team", "a-b.c/T_e-a.m", &long[1..], prefix.as_str()] {
        assert!(template(json!({key: "x"}), json!({})).is_ok(), "{key}");
        assert!(template(json!({}), json!({key: "anything at all, ünd more"})).is_ok(), "{key}");
    }
    for key in [
        "",
        "-team",
        "team-",
        "te am",
        "example.com/",
        "/team",
        "a/b/c",
        "Example.com/team",
        "-a.com/team",
        "a-.com/team",
        "a..com/team",
        "a_b.com/team",
        &long,
        long_prefix.as_str(),
    ] {
        for spec in [template(json!({key: "x"}), json!({})), template(json!({}), json!({key: "x"}))] {
            let told = spec.expect_err(key).to_string();
            assert!(told.contains("write it like example.com/team"), "{key}: {told}");
        }
    }
    for value in ["", "x", "a-b_c.d", "X9", &long[1..]] {
        assert!(template(json!({"team": value}), json!({})).is_ok(), "{value}");
    }
    for value in ["-x", "x-", "a b", "ü", &long] {
        let told = template(json!({"team": value}), json!({})).expect_err(value).to_string();
        assert!(told.contains("at most 63"), "{value}: {told}");
    }
}

/// The list keeps people who may edit connections from having Secrets posted elsewhere.
#[test]
fn an_allowed_server_is_scheme_host_and_port() {
    use pleo_operator::domain::spec::AllowedServer;
    let read = |text: &str| text.parse::<AllowedServer>();
    assert_eq!(read("https://auth.example.com"), read("https://auth.example.com:443/"));
    assert_ne!(read("https://auth.example.com:8443"), read("https://auth.example.com"));
    for wrong in [
        "http://auth.example.com",
        "https://auth.example.com/oauth",
        "https://auth.example.com/?x=1",
        "https://auth.example.com/#x",
        "https://user@auth.example.com",
        "https://",
        "auth.example.com",
    ] {
        let error = read(wrong).expect_err(wrong);
        assert!(error.contains("write scheme, host and port"), "{error}");
    }
}

/// Pleo's two servers, and nobody else, where no list is given.
#[test]
fn a_connection_is_read_with_its_defaults() {
    use pleo_operator::{
        api::PleoConnection,
        domain::spec::{AllowedServers, ResolvedSpec},
    };
    let read = |spec: serde_json::Value, allowed: &[&str]| {
        let connection = serde_json::json!({
            "apiVersion": "pleo.io/v1alpha1", "kind": "PleoConnection", "metadata": {"name": "acme"}, "spec": spec,
        });
        let connection: PleoConnection = serde_json::from_value(connection).expect("a connection");
        ResolvedSpec::read(
            &connection,
            &AllowedServers::new(allowed.iter().map(|server| server.parse().unwrap()).collect()),
        )
    };
    let plain = serde_json::json!({"client": {"secretRef": {"name": "c"}}});
    let spec = read(plain.clone(), &[]);
    assert_eq!(spec.retry_timeout, secs(72 * 3600));
    assert_eq!(spec.token_url().unwrap().as_str(), PRODUCTION);
    assert_eq!(read(plain, &["https://auth.example.com"]).token_url(), None);
    let elsewhere =
        |url: &str| serde_json::json!({"client": {"secretRef": {"name": "c"}}, "server": {"tokenURL": url}});
    let url = "https://auth.example.com:8443/oauth/token";
    assert_eq!(read(elsewhere(url), &[]).token_url(), None);
    let told = read(elsewhere(url), &[]).server.unwrap_err().to_string();
    assert!(told.contains("--allowed-server https://auth.example.com:8443"), "{told}");
    assert_eq!(read(elsewhere(url), &["https://auth.example.com:8443"]).token_url().unwrap().as_str(), url);
}
