//! A browser, as far as it matters: it keeps cookies as it is told to, and goes where it is sent when its human lets it.

use std::collections::BTreeMap;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use tower::ServiceExt;
use url::Url;

/// Under which people reach the pages.
pub const PUBLIC: &str = "https://pleo.example.com/connect";

/// What a browser got.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    /// Where it is sent.
    pub location: Option<String>,
    pub headers: HeaderMap,
    pub html: String,
}

impl Seen {
    /// What the page calls itself.
    pub fn title(&self) -> &str {
        let title = self.html.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next());
        title.unwrap_or_default()
    }

    /// Where the one thing to click leads.
    pub fn action(&self) -> Option<String> {
        let leads_to = self.html.split(r#"<a class="action" href=""#).nth(1)?.split('"').next()?;
        Some(leads_to.replace("&amp;", "&"))
    }

    pub fn looks_again(&self) -> bool {
        self.html.contains(r#"http-equiv="refresh""#)
    }
}

/// One browser, with its cookies.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Asks one replica for a page.
    pub async fn get(&mut self, pages: &Router, url: &str) -> Seen {
        let url = Url::parse(url).expect("a URL");
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(path).header("cookie", cookies.join("; ")).body(Body::empty()).unwrap();
        self.send(pages, request).await
    }

    pub async fn send(&mut self, pages: &Router, request: Request<Body>) -> Seen {
        let response = pages.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        let location = parts.headers.get("location").map(|location| location.to_str().unwrap().to_owned());
        let html = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Seen { status: parts.status.as_u16(), location, headers: parts.headers, html }
    }

    /// Opens a link; where the authorization server's page is.
    pub async fn open(&mut self, pages: &Router, link: &str) -> String {
        let seen = self.get(pages, link).await;
        seen.location.clone().unwrap_or_else(|| panic!("sent nowhere: {} {}", seen.status, seen.title()))
    }

    /// Comes back from the authorization server, and is sent on to the page that tells the end.
    pub async fn come_back(&mut self, pages: &Router, callback: &str) -> Seen {
        let seen = self.get(pages, callback).await;
        match seen.location {
            Some(result) => self.get(pages, &result).await,
            None => seen,
        }
    }
}
