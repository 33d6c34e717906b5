//! Attacks on the pages to consent on, each tried and refused: nothing is written, nothing is sent, and the page says nothing
//! that the attacker wrote. The human's own way goes on afterwards.

use axum::{Router, body::Body, http::Request};
use tokio::time::sleep;
use url::Url;

use crate::{
    links::{
        browser::{Browser, Seen},
        visits::{dead_acme, link},
    },
    stage::{
        process::Process,
        world::{World, minutes, seconds},
    },
};

/// A human on the way: sent to the server, consented, not yet back.
pub(super) struct Siege {
    pub(super) world: World,
    pub(super) _process: Process,
    pub(super) pages: Router,
    pub(super) human: Browser,
    /// Where the server would send him.
    pub(super) callback: Url,
    pub(super) exchanges: usize,
}

impl Siege {
    pub(super) async fn begin() -> Self {
        let (world, process) = dead_acme().await;
        let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
        let there = human.open(&pages, &link(&world).unwrap()).await;
        let callback = Url::parse(&world.pleo.allow(&there, "acme")).unwrap();
        let exchanges = world.pleo.exchanged();
        world.server.reset_trace();
        Self { world, _process: process, pages, human, callback, exchanges }
    }

    /// The callback with one parameter changed, or added.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut changed = self.callback.clone();
        let kept: Vec<_> = self.callback.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        changed.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
        changed.into()
    }

    pub(super) fn parameter(&self, name: &str) -> String {
        self.callback.query_pairs().find(|(key, _)| key == name).expect("there").1.into_owned()
    }

    /// The human's browser asks for this.
    pub(super) async fn asks(&mut self, url: &str) -> Seen {
        self.human.get(&self.pages, url).await
    }

    /// Another browser does.
    pub(super) async fn stranger_asks(&self, url: &str) -> Seen {
        Browser::default().get(&self.pages, url).await
    }

    /// Nothing came of it, and the page tells nothing; the human himself still comes through.
    pub(super) async fn ends_refused(mut self, seen: Seen, status: u16, title: &str) {
        assert_eq!((seen.status, seen.title(), seen.location.as_deref()), (status, title, None));
        self.is_mute(&seen);
        sleep(seconds(30)).await;
        assert_eq!(self.world.writes(), [], "nothing is written");
        assert_eq!(self.world.pleo.exchanged(), self.exchanges, "nothing is sent");
        let callback = self.callback.clone();
        let end = self.human.come_back(&self.pages, callback.as_str()).await;
        assert_eq!(end.title(), "Connected", "and the human is not kept from his way");
    }

    /// No word of the request's that means something, no token, no code, no key; and the policy stands.
    pub(super) fn is_mute(&self, seen: &Seen) {
        assert!(!seen.html.contains("<script") && !seen.html.contains("evil") && !seen.html.contains("<b>"));
        for token in self.world.pleo.issued_tokens() {
            assert!(!seen.html.contains(&token) && seen.location.as_ref().is_none_or(|to| !to.contains(&token)));
        }
        let policy = seen.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"));
        for (name, value) in
            [("cache-control", "no-store"), ("referrer-policy", "no-referrer"), ("x-content-type-options", "nosniff")]
        {
            assert_eq!(seen.headers[name], value);
        }
    }
}

pub(super) const DAMAGED: &str = "This address is not complete";
pub(super) const VOID: &str = "This link is not good any more";
pub(super) const OTHER_BROWSER: &str = "This did not begin in this browser";
pub(super) const OTHER_SERVER: &str = "This answer is not from the server that was asked";

#[tokio::test(start_paused = true)]
async fn a_callback_without_a_state() {
    let mut siege = Siege::begin().await;
    let seen = siege.asks(&siege.with("state", "")).await;
    siege.ends_refused(seen, 400, DAMAGED).await;
}

#[tokio::test(start_paused = true)]
async fn a_state_that_was_never_made() {
    let mut siege = Siege::begin().await;
    let seen = siege.asks(&siege.with("state", "evil")).await;
    siege.ends_refused(seen, 400, DAMAGED).await;
}

#[tokio::test(start_paused = true)]
async fn a_state_with_another_seal() {
    let mut siege = Siege::begin().await;
    let state = siege.parameter("state");
    let (visit, seal) = state.rsplit_once('.').unwrap();
    let forged: String = seal.chars().rev().collect();
    let seen = siege.asks(&siege.with("state", &format!("{visit}.{forged}"))).await;
    siege.ends_refused(seen, 410, VOID).await;
}

#[tokio::test(start_paused = true)]
async fn a_state_with_a_later_end() {
    let mut siege = Siege::begin().await;
    let state = siege.parameter("state");
    let parts: Vec<_> = state.split('.').collect();
    let later = [parts[0], "7fffffff", parts[2], parts[3]].join(".");
    let seen = siege.asks(&siege.with("state", &later)).await;
    siege.ends_refused(seen, 410, VOID).await;
}

/// The client for which the link was opened is part of it: or a code could be given to another one to present.
#[tokio::test(start_paused = true)]
async fn a_state_with_another_client() {
    let mut siege = Siege::begin().await;
    let state = siege.parameter("state");
    let parts: Vec<_> = state.split('.').collect();
    let other = [parts[0], parts[1], &"0".repeat(40), parts[3]].join(".");
    let seen = siege.asks(&siege.with("state", &other)).await;
    siege.ends_refused(seen, 410, VOID).await;
}

/// Each of two visits has a state and a cookie. One's state with the other's cookie is nobody's.
#[tokio::test(start_paused = true)]
async fn a_state_swapped_between_two_visits() {
    let mut siege = Siege::begin().await;
    let before = siege.human.cookies.clone();
    siege.human.open(&siege.pages, &link(&siege.world).unwrap()).await;
    let (first, mine) = before.first_key_value().unwrap();
    let (_, other) = siege.human.cookies.iter().find(|(name, _)| *name != first).unwrap();
    let mut swapped = Browser::default();
    swapped.cookies.insert(first.clone(), other.clone());
    assert_ne!(mine, other);
    let seen = swapped.get(&siege.pages, siege.callback.as_str()).await;
    siege.ends_refused(seen, 410, VOID).await;
}

/// RFC 9700 section 4.7: login CSRF. The attacker's own consent, opened in the victim's browser.
#[tokio::test(start_paused = true)]
async fn a_callback_in_another_browser() {
    let siege = Siege::begin().await;
    let seen = siege.stranger_asks(siege.callback.as_str()).await;
    siege.ends_refused(seen, 400, OTHER_BROWSER).await;
}

#[tokio::test(start_paused = true)]
async fn a_made_up_cookie() {
    let siege = Siege::begin().await;
    let name = siege.human.cookies.keys().next().unwrap().clone();
    let mut forger = Browser::default();
    // {"namespace":"finance","name":"acme","browser":"0"}
    forger.cookies.insert(name, "eyJuYW1lc3BhY2UiOiJmaW5hbmNlIiwibmFtZSI6ImFjbWUiLCJicm93c2VyIjoiMCJ9".into());
    let seen = forger.get(&siege.pages, siege.callback.as_str()).await;
    siege.ends_refused(seen, 410, VOID).await;
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_none() {
    for value in ["", "%%%", "e30", "bnVsbA", "eyJ4IjoxfQ"] {
        let siege = Siege::begin().await;
        let name = siege.human.cookies.keys().next().unwrap().clone();
        let mut forger = Browser::default();
        forger.cookies.insert(name, value.into());
        let seen = forger.get(&siege.pages, siege.callback.as_str()).await;
        siege.ends_refused(seen, 400, OTHER_BROWSER).await;
    }
}

/// Whoever can set cookies for a neighboring host adds one more.
#[tokio::test(start_paused = true)]
async fn two_cookies_of_one_name() {
    let siege = Siege::begin().await;
    let (name, value) = siege.human.cookies.first_key_value().unwrap();
    let cookies = format!("{name}=evil; {name}={value}");
    let path = format!("{}?{}", siege.callback.path(), siege.callback.query().unwrap());
    let request = Request::get(path).header("cookie", cookies).body(Body::empty()).unwrap();
    let seen = Browser::default().send(&siege.pages, request).await;
    siege.ends_refused(seen, 400, OTHER_BROWSER).await;
}

/// A cookie that names another connection than its state was made for.
#[tokio::test(start_paused = true)]
async fn a_cookie_that_points_at_another_connection() {
    let mut siege = Siege::begin().await;
    siege.world.declare("other").await;
    let wanted = |world: &World| world.status("other")["authorizationURL"].is_string();
    siege.world.until("the other one has a link", wanted).await;
    let theirs = siege.world.status("other")["authorizationURL"].as_str().unwrap().to_owned();
    let mut attacker = Browser::default();
    attacker.open(&siege.pages, &theirs).await;
    let name = siege.human.cookies.keys().next().unwrap().clone();
    let value = attacker.cookies.values().next().unwrap().clone();
    let mut forger = Browser::default();
    forger.cookies.insert(name, value);
    siege.world.server.reset_trace();
    let seen = forger.get(&siege.pages, siege.callback.as_str()).await;
    siege.exchanges = siege.world.pleo.exchanged();
    siege.ends_refused(seen, 410, VOID).await;
}

/// The answer of another server that the human was lured to (RFC 9700 section 4.4).
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_server() {
    for issuer in
        ["https://evil.example.com", "https://auth.pleo.io.evil.example.com", "https://auth.staging.pleo.io", "x"]
    {
        let mut siege = Siege::begin().await;
        let seen = siege.asks(&siege.with("iss", issuer)).await;
        siege.ends_refused(seen, 400, OTHER_SERVER).await;
    }
}

/// PKCE: a code that was asked for by somebody else buys nothing with our verifier.
#[tokio::test(start_paused = true)]
async fn a_code_from_another_connection() {
    let mut siege = Siege::begin().await;
    let mut attacker = Browser::default();
    let there = attacker.open(&siege.pages, &link(&siege.world).unwrap()).await;
    let stolen = Url::parse(&siege.world.pleo.allow(&there, "evil-account")).unwrap();
    let code = stolen.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let end = siege.human.clone().come_back(&siege.pages, &siege.with("code", &code)).await;
    assert_eq!(end.title(), "The server rejected your authorization");
    siege.is_mute(&end);
    sleep(minutes(1)).await;
    assert!(!siege.world.is_ready("acme") && link(&siege.world).is_some());
    assert_eq!(siege.world.pleo.counters("evil-account").rotations, 0);
    assert_eq!(siege.asks(siege.callback.clone().as_str()).await.status, 303, "to the page that says so");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_cannot_be_one() {
    let long = "x".repeat(4097);
    for code in ["", "a\r\nSet-Cookie: evil=1", "a\nb", "\u{0}", "cödé", long.as_str()] {
        let mut siege = Siege::begin().await;
        let seen = siege.asks(&siege.with("code", code)).await;
        siege.ends_refused(seen, 400, DAMAGED).await;
    }
}

/// RFC 6749 section 3.1: parameters must not be included more than once.
#[tokio::test(start_paused = true)]
async fn a_parameter_that_is_there_twice() {
    for name in ["code", "state", "iss", "error"] {
        let mut siege = Siege::begin().await;
        let seen = siege.asks(&format!("{}&{name}=evil&{name}=evil", siege.callback)).await;
        siege.ends_refused(seen, 400, DAMAGED).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_markup() {
    let mut siege = Siege::begin().await;
    let evil = "<script>evil()</script>";
    let seen = siege.asks(&siege.with("error", evil)).await;
    siege.ends_refused(seen, 200, "It was not allowed").await;
    let mut siege = Siege::begin().await;
    let described = format!("{}&error_description=%3Cscript%3Eevil()", siege.with("error", "access_denied"));
    let seen = siege.asks(&described).await;
    siege.ends_refused(seen, 200, "You did not allow it").await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_too_long() {
    let mut siege = Siege::begin().await;
    let seen = siege.asks(&siege.with("x", &"a".repeat(9000))).await;
    siege.ends_refused(seen, 400, DAMAGED).await;
}

#[tokio::test(start_paused = true)]
async fn a_human_who_took_too_long() {
    let mut siege = Siege::begin().await;
    sleep(minutes(16)).await;
    let seen = siege.asks(siege.callback.clone().as_str()).await;
    assert_eq!((seen.status, seen.title()), (410, "That took too long"));
    assert_eq!(seen.action(), link(&siege.world));
    assert_eq!((siege.world.writes(), siege.world.pleo.exchanged()), (vec![], siege.exchanges));
}

/// A replay counts once, whoever sends it, and is shown how the first one ended only in its own browser.
#[tokio::test(start_paused = true)]
async fn a_callback_that_is_replayed() {
    let mut siege = Siege::begin().await;
    let callback = siege.callback.to_string();
    let first = siege.asks(&callback).await.location.expect("a result");
    let second = siege.asks(&callback).await.location.expect("the same result");
    assert_eq!(first, second);
    assert_eq!(siege.asks(&first).await.title(), "Connected");
    sleep(minutes(1)).await;
    assert_eq!(siege.asks(&callback).await.location.as_deref(), Some(first.as_str()));
    assert_eq!(siege.stranger_asks(&callback).await.title(), OTHER_BROWSER);
    sleep(minutes(1)).await;
    assert_eq!(siege.world.pleo.exchanged(), siege.exchanges + 1);
    assert_eq!(siege.world.pleo.counters("acme").max_presented, 1);
}

/// Two of one human's tabs, or two humans: the first one back is taken, the other is told.
#[tokio::test(start_paused = true)]
async fn a_second_consent_by_the_same_link() {
    let mut siege = Siege::begin().await;
    let mut other = Browser::default();
    let there = other.open(&siege.pages, &link(&siege.world).unwrap()).await;
    let second = siege.world.pleo.allow(&there, "acme");
    let callback = siege.callback.clone();
    assert_eq!(siege.human.come_back(&siege.pages, callback.as_str()).await.title(), "Connected");
    assert_eq!(other.get(&siege.pages, &second).await.title(), VOID);
    assert_eq!(siege.world.pleo.exchanged(), siege.exchanges + 1);
}

/// The connection came back otherwise meanwhile.
#[tokio::test(start_paused = true)]
async fn a_callback_after_the_grant_came_back() {
    let mut siege = Siege::begin().await;
    siege.world.consent("acme").await;
    siege.world.until("it is ready", |world| world.is_ready("acme")).await;
    let exchanges = siege.world.pleo.exchanged();
    let seen = siege.asks(siege.callback.clone().as_str()).await;
    assert_eq!((seen.status, seen.title()), (410, VOID));
    assert_eq!(siege.world.pleo.exchanged(), exchanges);
}
