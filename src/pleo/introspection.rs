//! One question to an introspection endpoint, over HTTPS only, under the same limits as a token request (RFC 7662). What is not
//! plainly an answer is none; only `"active": false` from an endpoint that was proved ends an authorization.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Request, header};
use serde::Deserialize;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    coding::{End, decode},
    connection::{Connection, basic, client, content_encoding, read},
    endpoint::{Fence, IntrospectionRequest},
    trust::Trust,
};
use crate::domain::{introspection::Introspected, plan::schedule::Pace};

/// A refresh waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks once.
pub(super) async fn ask(question: IntrospectionRequest, pace: Pace, trust: Arc<Trust>) -> Introspected {
    let Ok(tls) = trust.of(&question.server) else { return Introspected::NoAnswer };
    let prepared = client(tls, pace, Fence::new(|| true), Arc::new(Connection::default()))
        .and_then(|client| request(&client, &question).map(|request| (client, request)));
    drop(question);
    let Ok((client, request)) = prepared else { return Introspected::NoAnswer };
    timeout(PATIENCE, post(client, request)).await.ok().flatten().unwrap_or(Introspected::NoAnswer)
}

async fn post(client: Client, request: Request) -> Option<Introspected> {
    let mut response = client.execute(request).await.ok()?;
    let mut body = Zeroizing::new(Vec::new());
    read(&mut response, &mut body).await.ok()?;
    let decoded = decode(body, &content_encoding(&response));
    match decoded.end {
        End::Complete => Some(interpret(response.status().as_u16(), &decoded.body)),
        End::Damaged | End::Unsupported | End::TooLong => None,
    }
}

fn request(client: &Client, question: &IntrospectionRequest) -> Result<Request, reqwest::Error> {
    let form = [("token", question.token.expose()), ("token_type_hint", question.token.kind())];
    let post = basic(client.post(question.url.as_str()), &question.client);
    post.header(header::ACCEPT, "application/json").header(header::ACCEPT_ENCODING, "identity").form(&form).build()
}

/// RFC 7662 section 2.2: `active` is a boolean, and required. A member named twice makes it no answer.
#[derive(Deserialize)]
struct Answer {
    active: bool,
}

/// What an answer means: a function of its status and body.
pub fn interpret(status: u16, body: &[u8]) -> Introspected {
    match status {
        200 => match serde_json::from_slice(body) {
            Ok(Answer { active: true }) => Introspected::Active,
            Ok(Answer { active: false }) => Introspected::Inactive,
            Err(_) => Introspected::NoAnswer,
        },
        408 | 425 | 429 => Introspected::NoAnswer,
        400..=499 => Introspected::Refused,
        _ => Introspected::NoAnswer,
    }
}
