//! The token endpoint and the API over HTTP: strict reading of requests, writing of answers. Knows
//! of no socket; the work itself is done in `shared`.

mod body;
mod consent;
mod form;

use crate::authority::{Authentication, Credentials, Presented, TokenRequest};
use crate::script::{HttpReply, Reply, ReplyBody};
use crate::shared::Shared;
use body::WireBody;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// A request may be this large.
const MOST_BYTES: usize = 64 * 1024;

/// So may a call be.
const MOST_CALL_BYTES: usize = 8 * 1024 * 1024;

/// The connection is to be cut instead of answered.
#[derive(Debug, Error)]
#[error("the connection is cut by a script")]
pub(crate) struct Cut;

/// Why a request is no exchange, with its status, code and description.
struct Malformed(u16, &'static str, &'static str);

impl Malformed {
    fn request(description: &'static str) -> Self {
        Self(400, "invalid_request", description)
    }
}

/// Answers one request. The `origin` is this server's own name.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    origin: &str,
    request: Request<Incoming>,
) -> Result<Response<WireBody>, Cut> {
    let method = request.method().clone();
    match (request.uri().path(), &method) {
        ("/oauth/token", &Method::POST) => token(shared, request).await,
        ("/oauth/token/introspect", &Method::POST) => introspect(&shared, request).await,
        ("/oauth/token/introspect", _) => Ok(not_allowed("POST")),
        ("/oauth/token", _) => Ok(not_allowed("POST")),
        ("/v1/me", &Method::GET) => Ok(me(&shared, request.headers())),
        ("/v1/me", _) => Ok(not_allowed("GET")),
        ("/v1/unauthorized", _) => Ok(challenge("Bearer realm=\"pleo-sandbox\", error=\"invalid_token\"")),
        (path, _) if path.starts_with("/v1/calls/") => Ok(call(&shared, request).await),
        ("/oauth/authorize", _) => Ok(consent::authorize(&shared, origin, request).await),
        _ => Ok(plain(
            404,
            "not_found",
            "There is POST /oauth/token, GET /oauth/authorize, GET /v1/me and anything on /v1/calls/ID",
        )),
    }
}

async fn token(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<WireBody>, Cut> {
    let basic_was_tried = request.headers().contains_key(header::AUTHORIZATION);
    let reply = match read(request).await {
        Ok(request) => {
            // A task of its own: a client that hangs up does not undo what the server does.
            let work = tokio::spawn(async move { shared.exchange(request).await });
            work.await.map_err(|_| Cut)?
        }
        Err(Malformed(status, code, description)) => {
            shared.change(|state, _| state.authority.note_malformed());
            Reply::oauth_error(status, code, Some(description))
        }
    };
    answer(reply, basic_was_tried)
}

/// RFC 7662 section 2: a question about a token, which it does not use.
async fn introspect(shared: &Shared, request: Request<Incoming>) -> Result<Response<WireBody>, Cut> {
    let basic_was_tried = request.headers().contains_key(header::AUTHORIZATION);
    let question = read_form(request).await.and_then(|(credentials, mut form)| {
        let token = form.remove("token").ok_or(Malformed::request("token is missing"))?;
        Ok((credentials, token))
    });
    let reply = match question {
        Ok((credentials, token)) => shared.introspect(&credentials, &token).await,
        Err(Malformed(status, code, description)) => Reply::oauth_error(status, code, Some(description)),
    };
    answer(reply, basic_was_tried)
}

/// RFC 6749 section 5.2: a 401 names the scheme that the client tried.
fn answer(reply: Reply, basic_was_tried: bool) -> Result<Response<WireBody>, Cut> {
    let Reply::Http(reply) = reply else {
        return Err(Cut);
    };
    let mut response = respond(reply);
    if response.status() == StatusCode::UNAUTHORIZED && basic_was_tried {
        let challenge = HeaderValue::from_static("Basic realm=\"pleo-sandbox\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    Ok(response)
}

async fn read(request: Request<Incoming>) -> Result<TokenRequest, Malformed> {
    let (credentials, mut form) = read_form(request).await?;
    if form.contains_key("scope") {
        return Err(Malformed(400, "invalid_scope", "No scope was granted, so none can be asked for"));
    }
    let mut take = |name: &str, missing: &'static str| form.remove(name).ok_or(Malformed::request(missing));
    let presented = match take("grant_type", "grant_type is missing")?.as_str() {
        "refresh_token" => Presented::RefreshToken(take("refresh_token", "refresh_token is missing")?),
        "authorization_code" => Presented::Code {
            code: take("code", "code is missing")?,
            redirect_uri: take("redirect_uri", "redirect_uri is missing")?,
            verifier: take("code_verifier", "code_verifier is missing")?,
        },
        _ => {
            let known = "The sandbox knows grant_type=refresh_token and authorization_code";
            return Err(Malformed(400, "unsupported_grant_type", known));
        }
    };
    Ok(TokenRequest { credentials, presented })
}

/// The parameters of a request, and who sends it.
async fn read_form(request: Request<Incoming>) -> Result<(Credentials, BTreeMap<String, String>), Malformed> {
    if request.uri().query().is_some() {
        return Err(Malformed::request("Parameters belong into the body, not into the URL"));
    }
    let (parts, body) = request.into_parts();
    if !is_form(&parts.headers) {
        return Err(Malformed::request("The Content-Type must be application/x-www-form-urlencoded"));
    }
    let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Malformed(413, "invalid_request", "The request is too large")
        } else {
            Malformed::request("The request ended early")
        }
    })?;
    let mut form = form::parse(&body.to_bytes()).map_err(Malformed::request)?;
    let credentials = credentials(&parts.headers, &mut form)?;
    Ok((credentials, form))
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn credentials(headers: &HeaderMap, form: &mut BTreeMap<String, String>) -> Result<Credentials, Malformed> {
    let (id, secret) = (form.remove("client_id"), form.remove("client_secret"));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(authorization) = values.next() else {
        let client_id = id.ok_or(Malformed(401, "invalid_client", "There is no client authentication"))?;
        return Ok(Credentials { client_id, client_secret: secret, authentication: Authentication::Body });
    };
    if values.next().is_some() || secret.is_some() {
        return Err(Malformed::request("The client authenticates itself in more than one way"));
    }
    let basic = authorization.to_str().ok().and_then(|value| scheme(value, "basic"));
    let basic = basic.ok_or(Malformed(401, "invalid_client", "The Authorization must be Basic"))?;
    let (client_id, secret) =
        form::basic(basic).map_err(|description| Malformed(401, "invalid_client", description))?;
    if id.is_some_and(|id| id != client_id) {
        return Err(Malformed::request("The client_id in the body is not that of the Authorization header"));
    }
    Ok(Credentials { client_id, client_secret: Some(secret), authentication: Authentication::Basic })
}

/// What follows an authentication scheme, whose name may be written in any case.
fn scheme<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then_some(rest)
}

fn me(shared: &Shared, headers: &HeaderMap) -> Response<WireBody> {
    match authorized(shared, headers) {
        Ok(name) => json_response(200, &json!({ "connection": name })),
        Err(challenge) => challenge,
    }
}

/// A call with an id of its own, which is carried out once its body has arrived: that is counted.
async fn call(shared: &Shared, request: Request<Incoming>) -> Response<WireBody> {
    let id = request.uri().path().trim_start_matches("/v1/calls/").to_owned();
    let authorized = authorized(shared, request.headers());
    // As servers do that do not reset connections: also what is not carried out is read.
    let Ok(body) = Limited::new(request.into_body(), MOST_CALL_BYTES).collect().await else {
        return plain(413, "too_large", "The body ended early, or is too large");
    };
    let name = match authorized {
        Ok(name) => name,
        Err(challenge) => {
            shared.change(|state, _| state.calls.refused += 1);
            return challenge;
        }
    };
    let bytes = body.to_bytes().len();
    shared.change(|state, _| *state.calls.carried_out.entry(id).or_default() += 1);
    json_response(200, &json!({ "connection": name, "bytes": bytes }))
}

/// The connection whose access token a call has.
#[allow(clippy::result_large_err, reason = "it is the response")]
fn authorized(shared: &Shared, headers: &HeaderMap) -> Result<String, Response<WireBody>> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = value.and_then(|value| scheme(value, "bearer")) else {
        return Err(challenge("Bearer realm=\"pleo-sandbox\""));
    };
    let now = shared.now();
    let name = shared.read(|state| state.authority.check_access(now, token).map(str::to_owned));
    name.map_err(|_| challenge("Bearer realm=\"pleo-sandbox\", error=\"invalid_token\""))
}

fn challenge(challenge: &'static str) -> Response<WireBody> {
    let mut response = plain(401, "invalid_token", "The access token is missing, unknown, superseded or expired");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn not_allowed(allowed: &'static str) -> Response<WireBody> {
    let mut response = plain(405, "method_not_allowed", "See the header Allow");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn plain(status: u16, error: &str, description: &str) -> Response<WireBody> {
    json_response(status, &json!({ "error": error, "error_description": description }))
}

fn json_response(status: u16, value: &serde_json::Value) -> Response<WireBody> {
    respond(HttpReply {
        status,
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
        ],
        body: ReplyBody::Whole(value.to_string().into_bytes()),
    })
}

fn respond(reply: HttpReply) -> Response<WireBody> {
    let Ok(status) = StatusCode::from_u16(reply.status) else {
        return plain(500, "script", "The script's status is none");
    };
    let mut response = Response::new(WireBody::new(reply.body));
    *response.status_mut() = status;
    for (name, value) in &reply.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return plain(500, "script", "A header of the script is none");
        };
        response.headers_mut().append(name, value);
    }
    response
}
