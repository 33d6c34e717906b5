//! The HTTP client that every request uses, and how an answer is read: made for one request, with nothing that could send it twice.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
};

use reqwest::{Client, RequestBuilder, Response, header};
use rustls::ClientConfig;
use tokio::sync::Notify;
use tower::util::MapResultLayer;
use url::form_urlencoded;

use super::{answer::MAX_BODY, endpoint::Fence};
use crate::{
    api::names,
    domain::{
        plan::schedule::{Pace, SEND_WITHIN},
        token::ClientCredentials,
    },
};

pub(super) const BROKEN: &str = "the connection broke before the answer was complete";
pub(super) const TOO_LONG: &str = "the server's answer is too long to be one";

/// What is known about the connection. Until it was made, not a byte of the request can have left.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) made: Notify,
    pub(super) fenced: OnceLock<()>,
}

/// A client for one exchange, which trusts what its server needs, and is gone with it.
pub(super) fn client(
    tls: ClientConfig,
    pace: Pace,
    fence: Fence,
    connection: Arc<Connection>,
) -> Result<Client, reqwest::Error> {
    let check = MapResultLayer::new(move |made: Result<_, Box<dyn Error + Send + Sync>>| {
        let made = made?;
        if !fence.is_open() {
            return Err(TooLate.into());
        }
        // From here on the request may leave at any moment.
        let _ = connection.fenced.set(());
        connection.made.notify_one();
        Ok(made)
    });
    Client::builder()
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
        // In HTTP/2 a request can leave when its exchange is over, and a connection can outlive it.
        .http1_only()
        // A header that a gateway got wrong does not cost the pair.
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_max_headers(1000)
        .connect_timeout(SEND_WITHIN)
        // The kernel goes on to deliver what a closed socket, or a process that ended, left behind. It stops before anybody
        // may present the token again.
        .tcp_user_timeout(pace.settle_time())
        .tls_backend_preconfigured(tls)
        .user_agent(names::USER_AGENT)
        .connector_layer(check)
        .build()
}

#[derive(Debug, thiserror::Error)]
#[error("it took too long until the connection stood, or the lease was lost: nothing was sent")]
struct TooLate;

/// `client_secret_basic` (RFC 6749 section 2.3.1).
pub(super) fn basic(post: RequestBuilder, client: &ClientCredentials) -> RequestBuilder {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let secret = client.secret.as_ref().map(|secret| encoded(secret.expose()));
    post.basic_auth(encoded(&client.id), secret)
}

/// The codings of the body in the order in which they were applied: repeated headers are one list (RFC 9110 section 5.3).
pub(super) fn content_encoding(response: &Response) -> String {
    let codings = response.headers().get_all(header::CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.collect::<Vec<_>>().join(",")
}

/// Reads the body to its end, or says why it could not. What came until then is kept, up to the length of any answer.
pub(super) async fn read(response: &mut Response, body: &mut Vec<u8>) -> Result<(), &'static str> {
    while let Some(chunk) = response.chunk().await.map_err(|_| BROKEN)? {
        let room = MAX_BODY - body.len();
        body.extend(chunk.iter().take(room));
        if chunk.len() > room {
            return Err(TOO_LONG);
        }
    }
    Ok(())
}
