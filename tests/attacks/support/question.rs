//! One question by the real client to a hostile introspection endpoint.

use std::sync::Arc;

use pleo_operator::{
    api::Authentication,
    domain::{
        introspection::Introspected,
        token::{ClientCredentials, ClientSecret, RefreshToken},
    },
    pleo::{HttpTokenEndpoint, IntrospectionRequest, QuestionedToken, TokenEndpoint},
};
use tokio::time::timeout;

use crate::support::{
    hunt::{self, CLIENT_ID, CLIENT_SECRET, SPENT},
    server::{Script, Server, Tally},
    siege::{FAREWELL, GUARD, PATIENT, Standing, due},
};

/// One question to a hostile introspection endpoint: the answer, what the server saw, and what was logged.
pub async fn question(script: Script) -> (Introspected, Tally, String) {
    let server = Server::start(script);
    let url = server.token_url();
    let scene = due(&url, SPENT, Authentication::Auto);
    let target = scene.snapshot.spec.server.expect("a server");
    let question = IntrospectionRequest {
        url: serde_json::from_value(url.into()).expect("a URL"),
        server: target,
        client: ClientCredentials { id: CLIENT_ID.into(), secret: Some(ClientSecret::new(CLIENT_SECRET)) },
        token: QuestionedToken::Refresh(RefreshToken::new(SPENT)),
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    hunt::listen();
    let endpoint = HttpTokenEndpoint::new(Arc::new(Standing(scene.now)), PATIENT);
    let answer = timeout(GUARD, endpoint.introspect(question)).await.expect("the question ends by itself");
    let tally = timeout(FAREWELL, server.finish()).await.expect("the client hangs up when the question is over");
    (answer, tally, hunt::heard())
}
