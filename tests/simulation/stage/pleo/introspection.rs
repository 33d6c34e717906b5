//! The introspection endpoint (RFC 7662): it answers for the authority, or fails as it is told.

use std::time::Duration;

use futures::future::pending;
use pleo_operator::{
    domain::{introspection::Introspected, token::Fingerprint},
    pleo::IntrospectionRequest,
};
use pleo_sandbox::authority::{self, Credentials};
use tokio::time::sleep;

use super::{LATENCY, Pleo, SimClient};

/// How the introspection endpoint answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Introspection {
    #[default]
    Truthful,
    /// It calls every token inactive, as a server may for a client that may not ask (RFC 7662 section 2.2).
    AlwaysInactive,
    /// 404.
    Absent,
    /// It never answers.
    Silent,
}

/// A question to the introspection endpoint that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub token: Fingerprint,
    pub answer: Introspected,
}

impl Pleo {
    /// The API rejects the newest access token of this connection from now on.
    pub fn reject_access_token(&self, connection: &str) {
        let now = self.now();
        self.state().authority.reject_access_tokens(now, connection);
    }

    /// How questions about tokens are answered from now on.
    pub fn set_introspection(&self, introspection: Introspection) {
        self.state().introspection = introspection;
    }

    /// The questions that were answered so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }
}

pub(super) async fn ask(pleo: Pleo, client: SimClient, question: IntrospectionRequest) -> Introspected {
    sleep(LATENCY).await;
    if pleo.turns_away() {
        return Introspected::NoAnswer;
    }
    let (at, token) = (pleo.now(), question.token.fingerprint());
    let answer = {
        let state = pleo.state();
        let secret = question.client.secret.as_ref().map(|secret| secret.expose().to_owned());
        let basic = authority::Authentication::Basic;
        let credentials =
            Credentials { client_id: question.client.id.clone(), client_secret: secret, authentication: basic };
        match state.introspection {
            Introspection::Truthful => match state.authority.introspect(at, &credentials, question.token.expose()) {
                Ok(true) => Introspected::Active,
                Ok(false) => Introspected::Inactive,
                Err(_) => Introspected::Refused,
            },
            Introspection::AlwaysInactive => Introspected::Inactive,
            Introspection::Absent => Introspected::Refused,
            Introspection::Silent => Introspected::NoAnswer,
        }
    };
    sleep(if answer == Introspected::NoAnswer { Duration::from_secs(5) } else { LATENCY }).await;
    if client.is_crashed() {
        return pending().await;
    }
    pleo.state().asked.push(Asked { token, answer });
    answer
}
