//! Consent by link and by `kubectl pleo connect`, with real processes: a human opens an address, says yes on the sandbox's page,
//! and the connection is back (X5). And the rest of the plugin.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Output, Stdio},
};

use pleo_operator::api::PleoConnectionStatus;
use reqwest::{Certificate, Client, Response, Url, redirect::Policy};
use serde_json::{Value, json};

use crate::harness::{Flags, World, finish, free_port, told};

/// A connection whose consent was taken back, and somebody who can be asked.
async fn dead(world: &World) {
    world.connected("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    world.sandbox.revoke("acme");
    world.request_refresh("acme", "now").await;
    world.until_reauth_is("acme", "GrantRefused").await;
}

fn browser(world: &World) -> Client {
    let ca = Certificate::from_pem(world.sandbox.ca_pem().as_bytes()).unwrap();
    Client::builder().tls_certs_merge([ca]).no_proxy().redirect(Policy::none()).build().unwrap()
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), 303, "{}", response.url());
    response.headers()["location"].to_str().unwrap().to_owned()
}

/// The human reads the page, and allows it; where he is sent back to.
async fn allow(browser: &Client, address: &str) -> String {
    let page = browser.get(address).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let asked = Url::parse(address).unwrap();
    let mut answers: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
    answers.extend([("decision".into(), "allow".into()), ("account".into(), "acme".into())]);
    let endpoint = format!("{}{}", asked.origin().ascii_serialization(), asked.path());
    location(&browser.post(endpoint).form(&answers).send().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_on_the_link_brings_a_dead_connection_back() {
    let world = World::new("by-link").await;
    let (port, browser) = (free_port(), browser(&world));
    let public = format!("http://127.0.0.1:{port}");
    world.sandbox.allow_redirect("sandbox-client", &format!("{public}/callback"));
    let flags = Flags::identity("a").with("--public-url").with(&public).with("--link-address");
    let operator = world.operator(&flags.with(&format!("127.0.0.1:{port}")));
    dead(&world).await;
    let link = |status: &PleoConnectionStatus| status.authorization_url.clone();
    let link = link(&world.until("acme", move |status| link(status).is_some()).await).unwrap();

    let opened = browser.get(&link).send().await.unwrap();
    let cookie = opened.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let callback = allow(&browser, &location(&opened)).await;
    let came_back = browser.get(&callback).header("cookie", &cookie).send().await.unwrap();
    let result = browser.get(location(&came_back)).header("cookie", &cookie).send().await.unwrap();
    let page = result.text().await.unwrap();
    assert!(page.contains("<h1>Connected</h1>"), "{page}");
    world.until_ready_is("acme", "Refreshed").await;
    assert!(world.published_token_is_good("acme").await);
    let stranger = browser.get(&callback).send().await.unwrap();
    assert_eq!(stranger.status(), 400, "nobody else is told");
    assert_eq!(world.sandbox.counters("acme").resent, 0);
    assert_eq!(operator.stop().await, 0);
    finish(world).await;
}

/// The plugin, as this cluster's administrator.
fn plugin(world: &World, arguments: &[&str]) -> Command {
    let kubeconfig = world.cluster.kubeconfig_for("somebody", &["system:masters"]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-pleo"));
    command.args(arguments).args(["-n", &world.namespace]).env_clear().env("KUBECONFIG", kubeconfig);
    command
}

fn run(world: &World, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = plugin(world, arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    for token in world.sandbox.issued_tokens() {
        assert!(!said.contains(&token), "a token was printed (O3)");
    }
    (status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_pleo_connect_brings_a_dead_connection_back() {
    let world = World::new("by-plugin").await;
    let redirect_uri = format!("http://localhost:{}/callback", free_port());
    world.sandbox.allow_redirect("sandbox-client", &redirect_uri);
    let operator = world.operator(&Flags::identity("a"));
    dead(&world).await;

    let mut connecting = plugin(&world, &["connect", "acme", "--no-browser", "--redirect-uri", &redirect_uri]);
    let mut child = connecting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find(|line| line.trim().starts_with("https://")).expect("an address");
    let browser = browser(&world);
    let callback = allow(&browser, address.trim()).await;
    // A stranger's request to the open port brings nothing, and ends nothing.
    let forged = format!("{redirect_uri}?code=evil&state=evil");
    assert!(browser.get(&forged).send().await.unwrap().text().await.unwrap().contains("did not begin"));
    let page = browser.get(&callback).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("<h1>Thank you</h1>"), "{page}");

    let rest: Vec<String> = lines.collect();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    assert!(said.starts_with("acme is connected"), "{said}");
    world.until_ready_is("acme", "Refreshed").await;
    assert!(world.published_token_is_good("acme").await);
    for token in world.sandbox.issued_tokens() {
        assert!(!said.contains(&token) && !rest.join("\n").contains(&token), "a token was printed (O3)");
    }
    assert_eq!(operator.stop().await, 0);
    finish(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_pleo_tells_what_is_and_what_to_do() {
    let world = World::new("plugin").await;
    let operator = world.operator(&Flags::identity("a"));
    assert!(run(&world, &["status"]).1.contains("there is no connection"));
    world.connected("acme").await;
    world.until_ready_is("acme", "Refreshed").await;

    let (is_well, said) = run(&world, &["status"]);
    assert!(is_well && said.contains("NAME") && said.contains("acme") && said.contains("Refreshed"), "{said}");
    let (is_well, said) = run(&world, &["status", "acme"]);
    for word in [
        "Ready: True Refreshed",
        "acme-token",
        "pleo.io/grant (access_token, ledger, refresh_token)",
        "state Ready",
        "What to do\n  Nothing.",
    ] {
        assert!(is_well && said.contains(word), "{word}: {said}");
    }
    let seen: Value = serde_json::from_str(&run(&world, &["status", "acme", "-o", "json"]).1).unwrap();
    assert_eq!((&seen["connection"]["metadata"]["name"], &seen["next"]), (&json!("acme"), &json!("Nothing.")));

    let (is_well, said) = run(&world, &["refresh", "acme", "--wait"]);
    assert!(is_well && said.contains("acme: refreshed (rotation 2)"), "{said}");
    assert!(run(&world, &["suspend", "acme"]).1.contains("acme: suspended"));
    assert!(run(&world, &["status", "acme"]).1.contains("kubectl pleo resume acme"));
    assert!(run(&world, &["resume", "--all"]).1.contains("acme: resumed"));
    world.sandbox.revoke("acme");
    let (is_well, said) = run(&world, &["refresh", "acme", "--wait"]);
    assert!(!is_well && said.contains("not refreshed (Rejected)"), "{said}");
    let status = world.until_reauth_is("acme", "GrantRefused").await;
    assert_eq!(told(&status, "Ready"), "False ReauthRequired");
    assert!(run(&world, &["status", "acme"]).1.contains("kubectl pleo connect acme"));

    let (is_well, said) = run(&world, &["check", "--operator-namespace", &world.namespace]);
    assert!(is_well && said.contains("yes  an operator is at work: a_"), "{said}");
    assert_eq!(operator.stop().await, 0);
    let (is_well, said) = run(&world, &["check", "--operator-namespace", &world.namespace]);
    assert!(!is_well && said.contains("NO   an operator is at work: no replica holds the Lease"), "{said}");
    let (is_well, said) = run(&world, &["status", "nobody"]);
    assert!(!is_well && said.contains("there is no connection nobody"), "{said}");
    finish(world).await;
}

/// A token that cannot be stored would be lost: whoever may not write is told so before he consents, and needs no browser.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_consent_who_could_not_store_what_it_brings() {
    let world = World::new("no-right").await;
    let operator = world.operator(&Flags::identity("a"));
    world.connect("acme", json!({"initialGrant": null})).await;
    world.allow(
        "reader",
        "\
- {apiGroups: [pleo.io], resources: [pleoconnections], verbs: [get]}
- {apiGroups: [''], resources: [secrets], verbs: [get, create]}",
    );
    let kubeconfig = world.cluster.kubeconfig_for("reader", &[]).unwrap();
    let mut connecting = plugin(&world, &["connect", "acme", "--no-browser"]);
    let tried = connecting.env("KUBECONFIG", kubeconfig).output().unwrap();
    let said = String::from_utf8(tried.stderr).unwrap();
    assert!(!tried.status.success() && !said.contains("https://"), "{said}");
    assert!(said.contains("ask for the right to patch pleoconnections.pleo.io"), "{said}");
    assert!(world.secrets().get_opt("acme-grant").await.unwrap().is_none(), "a rehearsal leaves nothing behind");
    assert_eq!(operator.stop().await, 0);
    finish(world).await;
}
