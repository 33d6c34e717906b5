//! Attacks on the pages to consent on, each tried and refused: nothing is written, nothing is sent, and the page says nothing
//! that the attacker wrote. The human's own way goes on afterwards.

use axum::{
    Router,
    body::Body,
    http::{Method, Request},
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use pleo_operator::api::names::grant_secret;
use serde_json::json;
use tokio::time::sleep;
use url::Url;

use crate::{
    browser::{Browser, PUBLIC, Seen},
    links::{dead_acme, link},
    process::Process,
    world::{NAMESPACE, World, minutes, seconds},
};

/// A human on the way: sent to the server, consented, not yet back.
struct Siege {
    world: World,
    _process: Process,
    pages: Router,
    human: Browser,
    /// Where the server would send him.
    callback: Url,
    exchanges: usize,
}

impl Siege {
    async fn begin() -> Self {
        let (world, process) = dead_acme().await;
        let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
        let there = human.open(&pages, &link(&world).unwrap()).await;
        let callback = Url::parse(&world.pleo.allow(&there, "acme")).unwrap();
        let exchanges = world.pleo.exchanged();
        world.server.reset_trace();
        Self { world, _process: process, pages, human, callback, exchanges }
    }

    /// The callback with one parameter changed, or added.
    fn with(&self, name: &str, value: &str) -> String {
        let mut changed = self.callback.clone();
        let kept: Vec<_> = self.callback.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
        changed.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
        changed.into()
    }

    fn parameter(&self, name: &str) -> String {
        self.callback.query_pairs().find(|(key, _)| key == name).expect("there").1.into_owned()
    }

    /// The human's browser asks for this.
    async fn asks(&mut self, url: &str) -> Seen {
        self.human.get(&self.pages, url).await
    }

    /// Another browser does.
    async fn stranger_asks(&self, url: &str) -> Seen {
        Browser::default().get(&self.pages, url).await
    }

    /// Nothing came of it, and the page tells nothing; the human himself still comes through.
    async fn ends_refused(mut self, seen: Seen, status: u16, title: &str) {
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
    fn is_mute(&self, seen: &Seen) {
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

const DAMAGED: &str = "This address is not complete";
const VOID: &str = "This link is not good any more";
const OTHER_BROWSER: &str = "This did not begin in this browser";
const OTHER_SERVER: &str = "This answer is not from the server that was asked";

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

#[tokio::test(start_paused = true)]
async fn a_page_of_somebody_elses_visit() {
    let mut siege = Siege::begin().await;
    let result = siege.asks(siege.callback.clone().as_str()).await.location.unwrap();
    assert_eq!(siege.stranger_asks(&result).await.title(), OTHER_BROWSER);
    let visit = result.rsplit_once('/').unwrap().1;
    let mut forger = Browser::default();
    forger.cookies.insert(
        format!("__Host-pleo-{visit}"),
        "eyJuYW1lc3BhY2UiOiJmaW5hbmNlIiwibmFtZSI6ImFjbWUiLCJicm93c2VyIjoiMCJ9".into(),
    );
    assert_eq!(forger.get(&siege.pages, &result).await.title(), "Someone else was faster", "and no more than that");
}

/// Open redirects, and what looks like the allowed site.
#[tokio::test(start_paused = true)]
async fn a_return_to_somewhere_else() {
    for onward in [
        "https://evil.example.com/",
        "//evil.example.com",
        "https://app.example.com.evil.example.com/",
        "https://app.example.com@evil.example.com/",
        "https://user:evil@app.example.com/",
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "javascript:evil()",
        "data:text/html,evil",
        "/evil",
        "https://app.example.com/\r\nSet-Cookie: evil=1",
    ] {
        let siege = Siege::begin().await;
        let mut opened = Url::parse(&link(&siege.world).unwrap()).unwrap();
        opened.query_pairs_mut().append_pair("return", onward);
        let mut human = Browser::default();
        let there = human.open(&siege.pages, opened.as_str()).await;
        let end = human.come_back(&siege.pages, &siege.world.pleo.allow(&there, "acme")).await;
        let goes_nowhere =
            end.action().is_none_or(|url| Url::parse(&url).unwrap().host_str() == Some("app.example.com"));
        assert!(end.title() == "Connected" && goes_nowhere, "{onward}: {:?}", end.action());
        assert!(!end.headers.contains_key("set-cookie") && !end.html.contains("\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_wrong() {
    let mut siege = Siege::begin().await;
    let good = link(&siege.world).unwrap();
    let (address, ticket) = good.split_once("?ticket=").unwrap();
    for wrong in ["", "evil", &ticket[1..], &format!("{ticket}a"), &ticket.to_lowercase(), &"a".repeat(43)] {
        let seen = siege.asks(&format!("{address}?ticket={wrong}")).await;
        assert_eq!((seen.status, seen.title(), seen.location.as_deref()), (410, VOID, None));
        siege.is_mute(&seen);
    }
    let seen = siege.asks(&format!("{good}&ticket={ticket}")).await;
    siege.ends_refused(seen, 400, DAMAGED).await;
}

/// Whoever has no good link is not told which connections there are.
#[tokio::test(start_paused = true)]
async fn a_link_to_another_connection() {
    let siege = Siege::begin().await;
    let good = link(&siege.world).unwrap();
    let mut pages = Vec::new();
    for path in ["finance/other", "other/acme", "kube-system/acme", "finance/..%2facme", "finance/ACME"] {
        let seen = siege.stranger_asks(&good.replace("finance/acme", path)).await;
        assert_eq!((seen.status, seen.title()), (410, VOID), "{path}");
        pages.push(seen.html);
    }
    let unknown_ticket = siege.stranger_asks(&good.replace("ticket=", "ticket=x")).await;
    assert!(pages.iter().all(|page| *page == unknown_ticket.html), "all the same to the letter");
    siege.ends_refused(unknown_ticket, 410, VOID).await;
}

/// A link that was used, and one that a day has passed over.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_void() {
    let mut siege = Siege::begin().await;
    let used = link(&siege.world).unwrap();
    let callback = siege.callback.clone();
    assert_eq!(siege.human.come_back(&siege.pages, callback.as_str()).await.title(), "Connected");
    assert_eq!(siege.stranger_asks(&used).await.title(), VOID);

    let siege = Siege::begin().await;
    let old = link(&siege.world).unwrap();
    sleep(minutes(25 * 60)).await;
    let new = link(&siege.world).unwrap();
    assert_ne!(old, new);
    assert_eq!(siege.stranger_asks(&old).await.title(), VOID);
    assert_eq!(siege.stranger_asks(&new).await.status, 303);
}

/// A backup brings old keys back, and the links that were made from them. A code taken in there would wait for ever.
#[tokio::test(start_paused = true)]
async fn a_link_of_a_grant_that_was_put_back() {
    let mut siege = Siege::begin().await;
    let old = link(&siege.world).unwrap();
    let secrets: Api<Secret> = Api::namespaced(siege.world.user(), NAMESPACE);
    let mut backup = secrets.get(&grant_secret("acme")).await.unwrap();
    let callback = siege.callback.clone();
    assert_eq!(siege.human.come_back(&siege.pages, callback.as_str()).await.title(), "Connected");
    sleep(minutes(1)).await;
    backup.metadata.resource_version = None;
    secrets.replace(&grant_secret("acme"), &PostParams::default(), &backup).await.unwrap();
    sleep(minutes(1)).await;
    assert_eq!(siege.world.condition("acme", "ReauthRequired"), "True GrantRestored");
    assert_eq!(siege.stranger_asks(&old).await.title(), VOID);
    assert_eq!(siege.asks(callback.as_str()).await.title(), VOID);
    let kept = siege.world.secret(&grant_secret("acme"), "link_key");
    assert!(kept.is_some() && link(&siege.world).is_none(), "what was put back is left as it is");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_served() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let siege = Siege::begin().await;
        let path = format!("{}?{}", siege.callback.path(), siege.callback.query().unwrap());
        let request = Request::builder().method(method).uri(path).body(Body::from("evil")).unwrap();
        let seen = siege.human.clone().send(&siege.pages, request).await;
        siege.ends_refused(seen, 404, "There is nothing here").await;
    }
}

/// The address that people are sent back to is ours, whatever the request calls us.
#[tokio::test(start_paused = true)]
async fn a_host_header_that_lies() {
    let siege = Siege::begin().await;
    let opened = Url::parse(&link(&siege.world).unwrap()).unwrap();
    let request = Request::get(format!("{}?{}", opened.path(), opened.query().unwrap()))
        .header("host", "evil.example.com")
        .header("x-forwarded-host", "evil.example.com")
        .header("x-forwarded-proto", "http")
        .body(Body::empty())
        .unwrap();
    let there = Browser::default().send(&siege.pages, request).await.location.unwrap();
    let there = Url::parse(&there).unwrap();
    let redirect_uri = there.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    assert_eq!(redirect_uri, format!("{PUBLIC}/callback"));
}

/// The cookie is for this origin alone, over https, and for no script.
#[tokio::test(start_paused = true)]
async fn a_cookie_that_others_could_use() {
    let siege = Siege::begin().await;
    let seen = siege.stranger_asks(&link(&siege.world).unwrap()).await;
    let cookie = seen.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-pleo-"), "{cookie}");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure", "; Max-Age=1800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

/// A connection whose spec names another server by now: what was meant for the first one is not sent to the second.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_changed_meanwhile() {
    let mut siege = Siege::begin().await;
    siege.world.edit("acme", json!({"environment": "Staging"})).await;
    sleep(seconds(5)).await;
    for callback in [siege.callback.to_string(), siege.with("iss", "")] {
        let seen = siege.asks(&callback).await;
        assert_eq!((seen.status, seen.title()), (410, VOID));
    }
    sleep(minutes(1)).await;
    assert_eq!(siege.world.pleo.exchanged(), siege.exchanges);
}

/// Too many at once: whoever comes too late is told so, and the cluster is not asked.
#[tokio::test(start_paused = true)]
async fn a_flood_of_requests() {
    let siege = Siege::begin().await;
    let url = link(&siege.world).unwrap().replace("ticket=", "ticket=x");
    let flood = (0..500).map(|_| {
        let (pages, url) = (siege.pages.clone(), url.clone());
        async move { Browser::default().get(&pages, &url).await.status }
    });
    let statuses = futures::future::join_all(flood).await;
    let turned_away = statuses.iter().filter(|status| **status == 503).count();
    assert!(turned_away >= 400, "{turned_away}");
    let seen = siege.stranger_asks(&url).await;
    siege.ends_refused(seen, 410, VOID).await;
}
