//! A human with a real browser: from `ReauthRequired` to `Ready` with one click, on a real API server, with the operator behind
//! TLS as in a cluster. And every page that he may see: without script, readable on a phone and in the dark (X5).
//!
//! Pictures of all pages are in target/browser, to be looked at.

use pleo_test_support::cluster as harness;

mod webdriver;

use std::{path::PathBuf, sync::Arc};

use pleo_operator::api::PleoConnectionStatus;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{Flags, Operator, World, finish, free_port},
    webdriver::Browser,
};

const HOST: &str = "pleo.example.com";

/// What an Ingress does: speaks TLS to people, and plain HTTP to the operator.
async fn ingress(backend: u16) -> (u16, JoinHandle<()>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let (Ok(mut people), Ok(mut operator)) =
                    (acceptor.accept(socket).await, TcpStream::connect(("127.0.0.1", backend)).await)
                else {
                    return;
                };
                let _ = copy_bidirectional(&mut people, &mut operator).await;
            });
        }
    });
    (port, serving)
}

/// A dead connection, and somebody with a browser.
struct Scene {
    world: World,
    operator: Operator,
    browser: Browser,
    ingress: JoinHandle<()>,
}

impl Scene {
    async fn new(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let world = World::new(name).await;
        let port = free_port();
        let (tls, ingress) = ingress(port).await;
        world.sandbox.allow_redirect("sandbox-client", &format!("https://{HOST}/callback"));
        let flags = Flags::identity("a").with("--public-url").with(&format!("https://{HOST}"));
        let flags = flags.with("--allowed-return").with("https://app.example.com");
        let operator = world.operator(&flags.with("--link-address").with(&format!("127.0.0.1:{port}")));
        world.connected("acme").await;
        world.until_ready_is("acme", "Refreshed").await;
        let browser = Browser::open(HOST, &format!("127.0.0.1:{tls}")).await;
        let scene = Self { world, operator, browser, ingress };
        scene.die("once").await;
        scene
    }

    /// The user takes the consent back.
    async fn die(&self, request: &str) {
        self.world.sandbox.revoke("acme");
        self.world.request_refresh("acme", request).await;
        self.world.until_reauth_is("acme", "GrantRefused").await;
    }

    async fn link(&self) -> String {
        let there = |status: &PleoConnectionStatus| status.authorization_url.is_some();
        self.world.until("acme", there).await.authorization_url.unwrap()
    }

    /// The page that he sees: its rules, and its picture in two widths and two themes.
    async fn page(&self, name: &str, heading: &str) {
        self.browser.until_heading(heading).await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../browser");
        std::fs::create_dir_all(&folder).unwrap();
        for (width, theme) in [(320, "light"), (320, "dark"), (1024, "light"), (1024, "dark")] {
            self.browser.picture(width, theme, &folder.join(format!("{name}-{width}-{theme}.png"))).await;
            let fits = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
            assert_eq!(self.browser.ask(fits).await, true, "{name} fits into {width} pixels");
            let readable = self.browser.ask(CONTRAST).await.as_f64().unwrap();
            assert!(readable >= 4.5, "{name} in {theme}: a contrast of {readable} (WCAG 2.2, 1.4.3)");
        }
        assert_eq!(self.browser.ask("document.scripts.length").await, 0);
        let styled = self.browser.ask("getComputedStyle(document.querySelector('main')).borderTopWidth").await;
        assert_ne!(styled, "0px", "the policy lets our own style through");
        assert_eq!(self.browser.complaints().await, Vec::<String>::new(), "{name}: the browser complains of nothing");
        let text = self.browser.ask("document.documentElement.outerHTML").await.to_string();
        for pair in self.world.sandbox.issued_tokens() {
            assert!(!text.contains(&pair), "{name}: no token");
        }
    }

    async fn finish(self) {
        let Self { world, operator, browser, ingress } = self;
        browser.close().await;
        ingress.abort();
        assert_eq!(operator.stop().await, 0);
        finish(world).await;
    }
}

/// The smallest contrast between text and what is behind it.
const CONTRAST: &str = r"Math.min(...[...document.querySelectorAll('h1, p, a')].map(element => {
  const light = text => {
    const [red, green, blue] = text.match(/[\d.]+/g).slice(0, 3)
      .map(value => value / 255).map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = element => {
    const color = getComputedStyle(element).backgroundColor;
    return color === 'rgba(0, 0, 0, 0)' && element.parentElement ? behind(element.parentElement) : color;
  };
  const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}))";

#[tokio::test(flavor = "multi_thread")]
async fn one_click_in_a_browser_brings_a_dead_connection_back() {
    let scene = Scene::new("browser").await;
    let browser = &scene.browser;
    browser.go_to(&format!("{}&return=https://app.example.com/settings", scene.link().await)).await;
    assert!(browser.address().await.starts_with(&scene.world.sandbox.origin()), "he is at the server, to be asked");
    browser.complaints().await;
    browser.click("button[value=allow]").await;
    scene.page("connected", "Connected").await;
    scene.world.until_ready_is("acme", "Refreshed").await;
    assert!(scene.world.published_token_is_good("acme").await);

    let cookies = browser.cookies().await;
    assert_eq!(cookies.len(), 1);
    let cookie = &cookies[0];
    assert!(cookie["name"].as_str().unwrap().starts_with("__Host-pleo-"), "{cookie}");
    assert_eq!(
        (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]),
        (&json!(true), &json!(true), &json!("Lax"))
    );
    assert_eq!(browser.ask("document.cookie").await, "", "no script may read it");
    assert_eq!(browser.ask("document.querySelector('a.action').href").await, "https://app.example.com/settings");
    scene.finish().await;
}

/// He says no, tries again, clicks twice, comes too late, comes in another browser: each time he reads what happened.
#[tokio::test(flavor = "multi_thread")]
async fn every_other_way_ends_on_a_page_that_says_what_to_do() {
    let scene = Scene::new("browser-ways").await;
    let browser = &scene.browser;
    let link = scene.link().await;
    browser.go_to(&link).await;
    browser.complaints().await;
    browser.click("button[value=deny]").await;
    scene.page("denied", "You did not allow it").await;
    browser.click("a.action").await;
    assert!(browser.address().await.starts_with(&scene.world.sandbox.origin()), "the page leads back to the question");
    browser.complaints().await;

    // The server refuses the code.
    scene.world.sandbox.script("acme", vec![pleo_sandbox::script::Step::error("invalid_grant")]);
    browser.click("button[value=allow]").await;
    scene.page("refused", "The server rejected your authorization").await;
    // Nobody may exchange the code for now: the page looks again by itself, until somebody may.
    browser.go_to(&scene.link().await).await;
    scene.world.edit("acme", json!({"spec": {"suspend": true}})).await;
    browser.complaints().await;
    browser.click("button[value=allow]").await;
    scene.page("waiting", "One moment").await;
    scene.world.edit("acme", json!({"spec": {"suspend": null}})).await;
    browser.until_heading("Connected").await;
    let result = browser.address().await;
    scene.world.until_ready_is("acme", "Refreshed").await;

    browser.complaints().await;
    browser.go_to(&link).await;
    browser.until_heading("This link is not good any more").await;
    // A status that is not 200 is a line in the browser's log.
    browser.complaints().await;
    scene.page("void", "This link is not good any more").await;
    browser.go_to(&result).await;
    browser.until_heading("Connected").await;
    scene.finish().await;
}
