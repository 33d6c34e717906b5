//! One POST to a token endpoint, over HTTPS only. No redirect, no silent retry: the HTTP client is kept from sending anything
//! twice, and the claim is checked again once the connection is established.

use std::{error::Error, io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::{Client, Request, Response, Url, header};
use rustls::CertificateError;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    answer::interpret,
    coding::{End, decode},
    connection::{BROKEN, Connection, TOO_LONG, basic, client, content_encoding, read},
    endpoint::{IntrospectionRequest, TokenEndpoint, TokenRequest},
    introspection,
    trust::Trust,
};
use crate::{
    clock::Clock,
    domain::{
        failure::{Failure, FailureKind, Outcome},
        introspection::Introspected,
        ledger::authentication::Method,
        plan::schedule::Pace,
        spec::Server,
        token::{AuthorizationGrant, ClientSecret},
    },
};

/// Talks to real servers.
#[derive(Clone)]
pub struct HttpTokenEndpoint {
    clock: Clock,
    pace: Pace,
    trust: Arc<Trust>,
}

impl HttpTokenEndpoint {
    /// Waits `request_timeout` for an answer, counted from when the request was sent.
    pub fn new(clock: Clock, request_timeout: Duration) -> Self {
        Self { clock, pace: Pace { request_timeout }, trust: Arc::default() }
    }
}

impl TokenEndpoint for HttpTokenEndpoint {
    fn exchange(&self, exchange: TokenRequest) -> BoxFuture<'static, Outcome> {
        Box::pin(self.clone().send(exchange))
    }

    fn introspect(&self, question: IntrospectionRequest) -> BoxFuture<'static, Introspected> {
        Box::pin(introspection::ask(question, self.pace, Arc::clone(&self.trust)))
    }
}

impl HttpTokenEndpoint {
    fn prepare(&self, exchange: &TokenRequest, connection: &Arc<Connection>) -> Result<(Client, Request), Outcome> {
        let tls = self.trust.of(&exchange.server).map_err(|error| not_sent(&error))?;
        let client = client(tls, self.pace, exchange.fence.clone(), Arc::clone(connection));
        let prepared = client.and_then(|client| request(&client, exchange).map(|request| (client, request)));
        prepared.map_err(|error| not_sent(&error))
    }

    fn no_connection(&self, server: &Server, error: &reqwest::Error) -> Outcome {
        if certificate_error(last_cause(error)).is_some() {
            self.trust.forget(server);
        }
        not_sent(error)
    }

    async fn send(self, exchange: TokenRequest) -> Outcome {
        let connection = Arc::new(Connection::default());
        let (client, request) = match self.prepare(&exchange, &connection) {
            Ok(prepared) => prepared,
            Err(not_sent) => return not_sent,
        };
        let server = exchange.server.clone();
        let secrets = Secrets::of(&exchange);
        // The token is in the request now, and only there to be sent.
        drop(exchange);
        let too_late = async {
            connection.made.notified().await;
            sleep(self.pace.request_timeout).await;
        };
        tokio::pin!(too_late);
        let mut response = tokio::select! {
            biased;
            answer = client.execute(request) => match answer {
                Ok(response) => response,
                Err(error) if connection.fenced.get().is_none() => return self.no_connection(&server, &error),
                Err(_) => return unknown(BROKEN),
            },
            () = &mut too_late => return unknown(TOO_LATE),
        };
        let mut body = Zeroizing::new(Vec::new());
        let end = tokio::select! {
            biased;
            end = read(&mut response, &mut body) => end,
            () = too_late => Err(TOO_LATE),
        };
        let decoded = decode(body, &content_encoding(&response));
        let end = end.and(match decoded.end {
            End::Complete => Ok(()),
            End::Damaged => Err(DAMAGED),
            End::Unsupported => Err(UNSUPPORTED),
            End::TooLong => Err(TOO_LONG),
        });
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let answer = interpret(status, retry_after.as_deref(), &decoded.body, self.clock.now());
        let answer = match answer {
            Outcome::Failed(failure) => Outcome::Failed(secrets.show_code(failure)),
            Outcome::Issued(issued) => Outcome::Issued(issued),
        };
        match (end, answer) {
            // An object of JSON says itself where it ends: a pair that arrived whole is one, however its connection ended.
            (Ok(()), answer) | (Err(_), answer @ Outcome::Issued(_)) => answer,
            // Its status says all.
            (Err(_), Outcome::Failed(throttled @ Failure { kind: FailureKind::Throttled, .. })) => {
                Outcome::Failed(throttled)
            }
            (Err(why), Outcome::Failed(failure)) => {
                let (kind, detail) = (FailureKind::OutcomeUnknown, why.to_owned());
                Outcome::Failed(Failure { kind, detail, ..failure })
            }
        }
    }
}

const SELF_SIGNED: &str = "the server's certificate is that of a CA (self-signed): let the CA issue a certificate for the server, and put the CA's own into spec.server.caBundle";
const TOO_LATE: &str = "the server did not answer in time";
const DAMAGED: &str = "the server's answer was compressed and could not be decompressed: turn compression off in the gateway before the server";
const UNSUPPORTED: &str = "the server's answer has a Content-Encoding that is not supported: turn compression off in the gateway before the server";

/// The secrets of a request, which a server may echo.
struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    fn of(exchange: &TokenRequest) -> Self {
        let client = exchange.client.secret.as_ref().map(ClientSecret::expose);
        let verifier = match &exchange.presented {
            AuthorizationGrant::Code { verifier, .. } => Some(verifier.expose()),
            AuthorizationGrant::Refresh(_) => None,
        };
        let all = [Some(exchange.presented.expose()), client, verifier].into_iter().flatten();
        Self(all.map(|secret| Zeroizing::new(secret.to_owned())).collect())
    }

    /// The failure with an unknown error code in words, where that is short and plain, and shares nothing with a secret.
    fn show_code(&self, failure: Failure) -> Failure {
        let is_unknown = matches!(failure.kind, FailureKind::UnknownRejection | FailureKind::OutcomeUnknown);
        let code = failure.code.as_ref().filter(|_| is_unknown).map(|code| code.expose().to_owned());
        let echoes = |code: &str| self.0.iter().any(|secret| secret.contains(code) || code.contains(secret.as_str()));
        match code.filter(|code| is_code(code) && !echoes(code)) {
            Some(code) => Failure { detail: format!("{} {code}", failure.detail), ..failure },
            None => failure,
        }
    }
}

fn is_code(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=40).contains(&text.len()) && text.chars().all(plain)
}

fn unknown(why: &str) -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::OutcomeUnknown, why))
}

/// RFC 6749 sections 4.1.3 and 6, with the client in the body or in the header (section 2.3.1).
fn request(client: &Client, exchange: &TokenRequest) -> Result<Request, reqwest::Error> {
    let mut form = match &exchange.presented {
        AuthorizationGrant::Refresh(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())],
        AuthorizationGrant::Code { code, verifier, redirect_uri } => vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", redirect_uri.as_str()),
            ("code_verifier", verifier.expose()),
        ],
    };
    let url: Result<Url, _> = exchange.server.token_url.as_str().parse();
    let mut post = client.post(url.map_or_else(|_| exchange.server.token_url.as_str().to_owned(), String::from));
    match (exchange.method, &exchange.client.secret) {
        (Method::Basic, Some(_)) => post = basic(post, &exchange.client),
        (Method::Body, Some(secret)) => {
            form.extend([("client_id", exchange.client.id.as_str()), ("client_secret", secret.expose())]);
        }
        (Method::Basic | Method::Body, None) => form.push(("client_id", &exchange.client.id)),
    }
    post.header(header::ACCEPT, "application/json").header(header::ACCEPT_ENCODING, "identity").form(&form).build()
}

fn retry_after(response: &Response) -> Option<String> {
    response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn last_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

/// Before the connection stood, errors are about names, sockets and certificates: their last cause says which.
fn not_sent(error: &(dyn Error + 'static)) -> Outcome {
    let cause = last_cause(error);
    Outcome::Failed(Failure::new(FailureKind::NotSent, format!("no connection to the server: {}", in_our_words(cause))))
}

/// The names in a certificate are the server's text, as many as it likes.
fn in_our_words(cause: &(dyn Error + 'static)) -> String {
    match certificate_error(cause) {
        Some(CertificateError::NotValidForNameContext { .. }) => {
            "the server's certificate is for another host".to_owned()
        }
        Some(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            SELF_SIGNED.to_owned()
        }
        Some(_) | None => cause.to_string(),
    }
}

/// An error of TLS is wrapped in one of the socket, and that in another; none of them calls it its source.
fn certificate_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a CertificateError> {
    let mut inner = Some(cause);
    while let Some(error) = inner {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(why);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static));
    }
    None
}
