//! The port: requests in, pages out. Plain HTTP, behind something that terminates TLS.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    authorize::{self, Answer, Query, Site},
    pages::{Page, content_security_policy},
    words,
};
use crate::ports;

/// The longest address that is read, in bytes.
const MAX_URI: usize = 8 * 1024;
/// How many requests are worked on at once: anybody may send them, and each asks the API server.
const AT_ONCE: usize = 64;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, site: Arc<Site>, stop: CancellationToken) {
    ports::serve(listener, router(site), ports::BEHIND_A_GATEWAY, stop).await;
}

/// All pages, below the path of the public address.
pub fn router(site: Arc<Site>) -> Router {
    let pages = Router::new()
        .route("/authorize/{namespace}/{name}", get(begin))
        .route("/callback", get(callback))
        .route("/result/{visit}", get(result))
        .with_state(Arc::clone(&site));
    let pages = if site.address.path().is_empty() { pages } else { Router::new().nest(site.address.path(), pages) };
    let busy = Arc::new(Semaphore::new(AT_ONCE));
    pages
        .fallback(async || respond(words::nothing_here().into()))
        .method_not_allowed_fallback(async || respond(words::nothing_here().into()))
        .layer(middleware::from_fn(move |request, next| bounded(Arc::clone(&busy), request, next)))
}

/// Too long, or too many at once: nothing is asked of the cluster.
async fn bounded(busy: Arc<Semaphore>, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if length > MAX_URI {
        return respond(words::not_understood().into());
    }
    match busy.try_acquire() {
        Ok(_turn) => next.run(request).await,
        Err(_) => respond(words::trouble().into()),
    }
}

async fn begin(
    State(site): State<Arc<Site>>,
    Path((namespace, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    respond(match Query::read(&query.unwrap_or_default()) {
        Some(query) => authorize::begin(&site, &namespace, &name, &query).await,
        None => words::not_understood().into(),
    })
}

async fn callback(State(site): State<Arc<Site>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    respond(match Query::read(&query.unwrap_or_default()) {
        Some(query) => authorize::callback(&site, &query, cookies(&headers)).await,
        None => words::not_understood().into(),
    })
}

async fn result(State(site): State<Arc<Site>>, Path(visit): Path<String>, headers: HeaderMap) -> Response {
    respond(authorize::result(&site, &visit, cookies(&headers)).await)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok())
}

fn respond(answer: Answer) -> Response {
    let mut response = match answer {
        Answer::Page(page) => html(&page),
        Answer::Go { to, cookie } => go(&to, cookie.as_deref()),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, content_security_policy()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn html(page: &Page) -> Response {
    let status = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.html()).into_response()
}

/// What cannot stand in a header is not sent.
fn go(to: &str, cookie: Option<&str>) -> Response {
    let Ok(location) = HeaderValue::from_str(to) else { return html(&words::not_understood()) };
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
