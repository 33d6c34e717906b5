//! The redirect URI of an authorization on the user's own machine (RFC 8252 section 7.3): one page on a loopback address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::header,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use url::{Host, Url};

use super::cluster::CliError;
use crate::web::{
    authorize::Query,
    pages::{Page, Severity, content_security_policy},
    words,
};

/// A port that waits for the browser to come back.
pub struct Loopback {
    listener: TcpListener,
    path: String,
}

impl Loopback {
    /// Opens the port of a redirect URI.
    ///
    /// # Errors
    /// If it is no loopback address, or the port is taken.
    pub async fn open(redirect_uri: &str) -> Result<Self, CliError> {
        let help = "--redirect-uri must be http on this machine, such as http://localhost:8976/callback";
        let url = Url::parse(redirect_uri).map_err(|_| CliError::Message(help.to_owned()))?;
        let ip = match url.host() {
            Some(Host::Domain("localhost")) => [127, 0, 0, 1].into(),
            Some(Host::Ipv4(ip)) if ip.is_loopback() => ip.into(),
            Some(Host::Ipv6(ip)) if ip.is_loopback() => ip.into(),
            Some(_) | None => return Err(CliError::Message(help.to_owned())),
        };
        let port = url.port_or_known_default().filter(|_| url.scheme() == "http" && url.query().is_none());
        let port = port.ok_or_else(|| CliError::Message(help.to_owned()))?;
        let address = SocketAddr::new(ip, port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            CliError::Message(format!(
                "cannot listen on {address} ({error}): end what does, or choose another --redirect-uri"
            ))
        })?;
        Ok(Self { listener, path: url.path().to_owned() })
    }

    /// Waits for the browser. `judge` says what a request is worth: something, and the page that it gets.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn wait<T: Send + 'static>(
        self,
        patience: Duration,
        judge: impl Fn(&Query) -> (Page, Option<T>) + Send + Sync + 'static,
    ) -> Result<T, CliError> {
        let (found, mut finds) = mpsc::channel(1);
        let judged = Arc::new(move |query: &Query| {
            let (page, find) = judge(query);
            (page, find.is_some_and(|find| found.try_send(find).is_ok()))
        });
        let router = Router::new().route(&self.path, get(callback)).with_state(Judge(judged));
        let serving = tokio::spawn(async move { axum::serve(self.listener, router).await });
        let find = timeout(patience, finds.recv()).await;
        // The page must still reach the browser.
        tokio::time::sleep(Duration::from_millis(500)).await;
        serving.abort();
        find.ok().flatten().ok_or_else(|| CliError::Message("no one authorized in time: nothing was changed. If the server rejected the redirect URI, register it with your client, or name one that is: --redirect-uri. A server may allow http://localhost during development only: then open the link in status.authorizationURL instead".to_owned()))
    }
}

/// What a request is worth.
#[derive(Clone)]
struct Judge(Arc<Judging>);

type Judging = dyn Fn(&Query) -> (Page, bool) + Send + Sync;

async fn callback(State(judge): State<Judge>, RawQuery(query): RawQuery) -> Response {
    let (page, _) = match Query::read(&query.unwrap_or_default()) {
        Some(query) => (judge.0)(&query),
        None => (words::not_understood(), false),
    };
    ([(header::CONTENT_SECURITY_POLICY, content_security_policy())], Html(page.html())).into_response()
}

/// What the browser shows when the code has arrived.
pub fn arrived() -> Page {
    Page::new(
        200,
        Severity::Good,
        "Thank you",
        "Your authorization has arrived. Go back to the terminal for the next step.",
    )
}
