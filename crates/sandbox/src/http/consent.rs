//! The consent page: plain HTML, for a browser or for curl. It keeps nothing: every answer bears the whole request again.

use std::collections::BTreeMap;

use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, Response, body::Incoming};

use super::{MOST_BYTES, WireBody, is_form, not_allowed, respond};
use crate::{
    authority::{AuthorizationError, AuthorizationRequest},
    http::form,
    script::{HttpReply, ReplyBody},
    shared::Shared,
};

type Parameters = BTreeMap<String, String>;

/// The user is asked (GET), or has answered (POST).
pub(super) async fn authorize(shared: &Shared, origin: &str, request: Request<Incoming>) -> Response<WireBody> {
    match *request.method() {
        Method::GET => {
            let query = form::parse(request.uri().query().unwrap_or_default().as_bytes());
            match query.map_err(AuthorizationError::Page).and_then(|query| read(shared, &query).map(|_| query)) {
                Ok(query) => ask(shared, &query),
                Err(error) => refuse(origin, error),
            }
        }
        Method::POST => match answers(request).await {
            Ok(answers) => decide(shared, origin, &answers),
            Err(why) => page(400, &format!("<h1>Not understood</h1><p>{why}.</p>")),
        },
        _ => not_allowed("GET, POST"),
    }
}

fn read(shared: &Shared, parameters: &Parameters) -> Result<AuthorizationRequest, AuthorizationError> {
    shared.read(|state| state.authority.authorization(parameters))
}

async fn answers(request: Request<Incoming>) -> Result<Parameters, &'static str> {
    if !is_form(request.headers()) {
        return Err("The Content-Type must be application/x-www-form-urlencoded");
    }
    let body = Limited::new(request.into_body(), MOST_BYTES).collect().await.map_err(|_| "The request is too large")?;
    form::parse(&body.to_bytes())
}

/// Two buttons. The account stands for whoever is logged in at the real server.
fn ask(shared: &Shared, query: &Parameters) -> Response<WireBody> {
    let hidden: String = query
        .iter()
        .map(|(name, value)| format!(r#"<input type="hidden" name="{}" value="{}">"#, escaped(name), escaped(value)))
        .collect();
    let accounts: Vec<String> = shared.read(|state| state.authority.connections().map(escaped).collect());
    let options: String = accounts.iter().map(|name| format!(r#"<option value="{name}">"#)).collect();
    let account = query.get("login_hint").map(|name| escaped(name)).or(accounts.first().cloned());
    let client = query.get("client_id").map(|id| escaped(id)).unwrap_or_default();
    page(
        200,
        &format!(
            r#"<h1>Sandbox</h1><p><strong>{client}</strong> asks for access.</p>
<form method="post" action="/oauth/authorize">{hidden}
<p><label>Account <input name="account" value="{}" list="accounts"></label>
<datalist id="accounts">{options}</datalist></p>
<p><button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button></p>
</form>"#,
            account.unwrap_or_default()
        ),
    )
}

fn decide(shared: &Shared, origin: &str, answers: &Parameters) -> Response<WireBody> {
    let request = match read(shared, answers) {
        Ok(request) => request,
        Err(error) => return refuse(origin, error),
    };
    let (redirect_uri, state) = (request.redirect_uri.clone(), request.state.clone());
    match (answers.get("decision").map(String::as_str), answers.get("account")) {
        (Some("allow"), Some(account)) => {
            let code = shared.change(|state, now| state.authority.allow(now, account, request));
            back(origin, &redirect_uri, state.as_deref(), &[("code", &code)])
        }
        (Some("deny"), _) => {
            let denied = [("error", "access_denied"), ("error_description", "The user said no")];
            back(origin, &redirect_uri, state.as_deref(), &denied)
        }
        _ => page(400, "<h1>Not understood</h1><p>Send decision=allow and an account, or decision=deny.</p>"),
    }
}

fn refuse(origin: &str, error: AuthorizationError) -> Response<WireBody> {
    match error {
        AuthorizationError::Page(why) => page(400, &format!("<h1>Not allowed</h1><p>{why}.</p>")),
        AuthorizationError::Redirect { redirect_uri, state, code, description } => {
            let why = [("error", code), ("error_description", description)];
            back(origin, &redirect_uri, state.as_deref(), &why)
        }
    }
}

/// Sends the user back, with the name of this server (RFC 9207).
fn back(
    origin: &str,
    redirect_uri: &str,
    state: Option<&str>,
    parameters: &[(&'static str, &str)],
) -> Response<WireBody> {
    let state = state.map(|state| ("state", state));
    let all = parameters.iter().copied().chain(state).chain([("iss", origin)]);
    let query: Vec<String> = all.map(|(name, value)| format!("{name}={}", form::encode(value))).collect();
    let joint = if redirect_uri.contains('?') { '&' } else { '?' };
    respond(HttpReply {
        status: 303,
        headers: vec![
            ("location".to_owned(), format!("{redirect_uri}{joint}{}", query.join("&"))),
            ("cache-control".to_owned(), "no-store".to_owned()),
        ],
        body: ReplyBody::Whole(Vec::new()),
    })
}

fn page(status: u16, body: &str) -> Response<WireBody> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>pleo-sandbox</title>{body}</html>\n"
    );
    respond(HttpReply {
        status,
        headers: vec![
            ("content-type".to_owned(), "text/html; charset=utf-8".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
            ("content-security-policy".to_owned(), "default-src 'none'; frame-ancestors 'none'".to_owned()),
        ],
        body: ReplyBody::Whole(html.into_bytes()),
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
