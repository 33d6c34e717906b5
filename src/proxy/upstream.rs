//! Sends calls to the API: one origin, over HTTPS and HTTP/1.1 only, without following redirects.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use hyper::{
    Method, Request, Response, Uri,
    body::{Body as _, Incoming},
    header::{CONTENT_LENGTH, HeaderValue},
    http::{request::Parts, uri::Scheme},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::{
        legacy::{
            Client, Error,
            connect::{Connection, HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tower::{Service, ServiceExt as _};

use super::{
    body::{BoxError, ProxyBody},
    config::Origin,
    problem::Problem,
};
use crate::tls::{self, TlsError};

const CONNECT: Duration = Duration::from_secs(5);
/// Connections that are being made at once. A burst of calls finds no idle connection, and each starts one; most of those calls are
/// served by another call's connection before theirs is there, and handshakes would only hold them up.
const MOST_CONNECTING: usize = 16;
const IDLE: Duration = Duration::from_secs(30);
/// From the end of the request to the first byte of the response.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// A body that is sent as it comes takes no longer.
const LONGEST_UPLOAD: Duration = Duration::from_secs(15 * 60);
const MOST_IDLE: usize = 256;
/// For the head of a response, in bytes, and for what is read of its body at once.
const MAX_BUFFER: usize = 64 * 1024;

/// The connections to the API.
pub struct Upstream {
    origin: Origin,
    client: Sender,
}

enum Sender {
    Direct(Client<TimeoutConnector<InTurn<HttpsConnector<HttpConnector>>>, ProxyBody>),
    /// By the proxy that `HTTPS_PROXY` names.
    Tunneled(Client<TimeoutConnector<InTurn<HttpsConnector<Tunnel<HttpConnector>>>>, ProxyBody>),
}

/// Why there is no upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the address of the API is no URI")]
    Address,
}

impl Upstream {
    /// Reads the trusted certificates; connects to nothing yet.
    ///
    /// # Errors
    /// If nothing could be trusted.
    pub fn new(origin: Origin, ca: Option<&[u8]>) -> Result<Self, UpstreamError> {
        let tls = tls::config(ca)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let uri: Uri = origin.to_string().parse().map_err(|_| UpstreamError::Address)?;
        let client = match Matcher::from_env().intercept(&uri) {
            None => Sender::Direct(client(in_time(https(tls, http)))),
            Some(proxy) => {
                let tunnel = Tunnel::new(proxy.uri().clone(), http);
                let tunnel = match proxy.basic_auth() {
                    Some(value) => tunnel.with_auth(value.clone()),
                    None => tunnel,
                };
                Sender::Tunneled(client(in_time(https(tls, tunnel))))
            }
        };
        Ok(Self { origin, client })
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends a call, and waits for the head of the response. Path and query are what the client wrote, byte for byte.
    ///
    /// # Errors
    /// If there is none.
    pub async fn send(
        &self,
        parts: &Parts,
        body: ProxyBody,
        sent: Option<Arc<Notify>>,
    ) -> Result<Response<Incoming>, Problem> {
        let uri = Uri::builder().scheme(Scheme::HTTPS).authority(self.origin.authority().clone());
        let path = parts.uri.path_and_query().cloned();
        let uri = path.and_then(|path| uri.path_and_query(path).build().ok());
        let uri = uri.ok_or(Problem::BadRequest("the path cannot be sent"))?;
        let mut request = Request::new(body);
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = parts.headers.clone();
        // Some servers require it where a body could be.
        let has_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        if has_body && request.body().is_end_stream() {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let response = async {
            match &self.client {
                Sender::Direct(client) => client.request(request).await,
                Sender::Tunneled(client) => client.request(request).await,
            }
        };
        let answered = match sent {
            None => timeout(FIRST_BYTE, response).await.map_err(|_| Problem::UpstreamTimeout)?,
            Some(sent) => tokio::select! {
                answered = response => answered,
                () = too_late(&sent) => return Err(Problem::UpstreamTimeout),
            },
        };
        answered.map_err(|error| failed(&error))
    }
}

async fn too_late(sent: &Notify) {
    let _ = timeout(LONGEST_UPLOAD, sent.notified()).await;
    sleep(FIRST_BYTE).await;
}

fn failed(error: &Error) -> Problem {
    if error.is_connect() { Problem::UpstreamUnreachable } else { Problem::UpstreamBroken }
}

fn client<C>(connector: C) -> Client<C, ProxyBody>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .http1_max_buf_size(MAX_BUFFER)
        .build(connector)
}

/// A turn, name, connection and TLS have this long together: until then nothing was sent.
fn in_time<C>(connector: C) -> TimeoutConnector<InTurn<C>>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Connection + Send + Unpin,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut connector = TimeoutConnector::new(InTurn { connector, turns: Arc::new(Semaphore::new(MOST_CONNECTING)) });
    connector.set_connect_timeout(Some(CONNECT));
    connector
}

/// Makes few connections at a time.
#[derive(Clone)]
struct InTurn<C> {
    connector: C,
    turns: Arc<Semaphore>,
}

impl<C> Service<Uri> for InTurn<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Response: Send,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connector, turns) = (self.connector.clone(), Arc::clone(&self.turns));
        Box::pin(async move {
            // It is never closed.
            let _turn = turns.acquire_owned().await.ok();
            connector.oneshot(uri).await.map_err(Into::into)
        })
    }
}

fn https<H>(tls: ClientConfig, http: H) -> HttpsConnector<H> {
    HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(http)
}
