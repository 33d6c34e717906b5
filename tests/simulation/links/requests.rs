//! Attacks on the other pages: links, results, methods, floods.

use axum::{
    body::Body,
    http::{Method, Request},
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use pleo_operator::api::names::grant_secret;
use serde_json::json;
use tokio::time::sleep;
use url::Url;

use super::callbacks::{DAMAGED, OTHER_BROWSER, Siege, VOID};
use crate::{
    links::{
        browser::{Browser, PUBLIC},
        visits::link,
    },
    stage::world::{NAMESPACE, minutes, seconds},
};

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
