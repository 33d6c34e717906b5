//! The authorization server in memory: the sandbox's own rules and scripts, under simulated time, behind the trait by
//! which the operator sends tokens. The server's side of an exchange is a task of its own: a client that gives up or
//! dies takes nothing back.

pub mod introspection;
mod judges;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::future::{BoxFuture, pending};
use pleo_operator::{
    clock::Clock,
    domain::{
        self,
        failure::{Failure, FailureKind, Outcome},
        introspection::Introspected,
        ledger::authentication::Method,
        ledger::grant::Holder,
        token::RefreshToken,
    },
    pleo::{IntrospectionRequest, TokenEndpoint, TokenRequest, answer::interpret, coding::decode},
};
use pleo_sandbox::{
    authority::{self, Authority, AuthorizationRequest, Client, Credentials, ExchangeId, Lifetimes},
    script::{HttpReply, Reply, ReplyBody, Scripts, Step, Wait},
};
use tokio::{
    sync::{Notify, oneshot},
    time::{sleep, timeout},
};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    apiserver::{ApiServer, SimClient},
    stage::sent::{Claims, Heard, Sent},
};

pub const CLIENT_ID: &str = "sandbox-client";
pub const CLIENT_SECRET: &str = "sandbox-secret";
/// Another client that is registered with the servers.
pub const OTHER_CLIENT_ID: &str = "other-client";
pub const OTHER_CLIENT_SECRET: &str = "other-secret";

/// One way of a packet. Nothing is free, so that a hot loop moves the clock.
const LATENCY: Duration = Duration::from_millis(5);

/// The authorization server. Clones are the same server.
#[derive(Clone)]
pub struct Pleo(Arc<Shared>);

struct Shared {
    /// Only for its clock.
    time: ApiServer,
    state: Mutex<State>,
    released: Notify,
}

struct State {
    authority: Authority,
    scripts: Scripts,
    releases: BTreeMap<String, u64>,
    reachable: bool,
    connecting: Duration,
    turned_away: Vec<Duration>,
    sent: Vec<Arc<Sent>>,
    claims: Claims,
    introspection: introspection::Introspection,
    asked: Vec<introspection::Asked>,
}

/// Pleo has two servers. Their accounts stand in one book, those of the second one under this ending.
pub const STAGING_ACCOUNT: &str = "@staging";

/// Whose account a connection's consent opens at the server with this token URL.
pub fn account(connection: &str, token_url: &str) -> String {
    let ending = if token_url.contains("staging") { STAGING_ACCOUNT } else { "" };
    format!("{connection}{ending}")
}

impl Pleo {
    pub fn new(time: ApiServer, seed: u64) -> Self {
        let client = |secret: &str| Client::new(Some(secret.into()));
        let mut authority = Authority::new(seed, Lifetimes::default(), CLIENT_ID, client(CLIENT_SECRET));
        authority.set_client(OTHER_CLIENT_ID, client(OTHER_CLIENT_SECRET));
        let state = State {
            authority,
            scripts: Scripts::default(),
            releases: BTreeMap::new(),
            reachable: true,
            connecting: Duration::ZERO,
            turned_away: Vec::new(),
            sent: Vec::new(),
            claims: Claims::default(),
            introspection: introspection::Introspection::default(),
            asked: Vec::new(),
        };
        Self(Arc::new(Shared { time, state: Mutex::new(state), released: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn now(&self) -> Duration {
        self.0.time.elapsed()
    }

    /// What a process sends through, that reaches the API server by `client`: it dies with it.
    pub fn endpoint(
        &self,
        client: SimClient,
        process: &Holder,
        clock: Clock,
        request_timeout: Duration,
    ) -> Arc<dyn TokenEndpoint> {
        Arc::new(Endpoint { pleo: self.clone(), client, process: process.clone(), clock, request_timeout })
    }
}

/// What people do, and what goes wrong.
impl Pleo {
    /// The user consents; the first refresh token.
    pub fn consent(&self, connection: &str) -> String {
        self.consent_to(connection, CLIENT_ID)
    }

    /// The same, for this client. Of one that is not registered nobody can be asked.
    pub fn consent_to(&self, connection: &str, client_id: &str) -> String {
        let (now, known) = (self.now(), [CLIENT_ID, OTHER_CLIENT_ID].contains(&client_id));
        self.state().authority.consent(now, connection, known.then_some(client_id))
    }

    /// Users of the client may be sent back there.
    pub fn allow_redirect(&self, redirect_uri: &str) {
        for client_id in [CLIENT_ID, OTHER_CLIENT_ID] {
            self.state().authority.allow_redirect(client_id, redirect_uri);
        }
    }

    /// Whether the server knows the client for which the user was sent to it. Otherwise it shows a page that says so.
    pub fn knows_client(&self, url: &str) -> bool {
        let url = Url::parse(url).expect("a URL");
        let asked_for = url.query_pairs().find(|(key, _)| key == "client_id").map(|(_, id)| id.into_owned());
        asked_for.is_some_and(|id| [CLIENT_ID, OTHER_CLIENT_ID].contains(&id.as_str()))
    }

    /// The user was sent to the consent page with this URL, and says yes; where he is sent back to.
    pub fn allow(&self, url: &str, connection: &str) -> String {
        let (now, state) = (self.now(), &mut *self.state());
        let request = asked(&state.authority, url);
        let code = state.authority.allow(now, connection, request.clone());
        let issuer = if url.starts_with(STAGING_ISSUER) { STAGING_ISSUER } else { ISSUER };
        back(&request, &[("code", &code), ("iss", issuer)])
    }

    /// The same, and the user says no.
    pub fn deny(&self, url: &str) -> String {
        let request = asked(&self.state().authority, url);
        back(&request, &[("error", "access_denied"), ("error_description", "<b>no</b>"), ("iss", ISSUER)])
    }

    pub fn revoke(&self, connection: &str) {
        self.state().authority.revoke(connection);
        self.state().authority.revoke(&format!("{connection}{STAGING_ACCOUNT}"));
    }

    /// How long the access tokens live that this connection gets from now on.
    pub fn lives(&self, connection: &str, access: Duration) {
        let lifetimes = Lifetimes { access, ..Lifetimes::default() };
        self.state().authority.set_lifetimes(connection, lifetimes);
    }

    /// The ways in which clients may authenticate from now on.
    pub fn accept_only(&self, authentication: authority::Authentication) {
        let client = Client { authentications: vec![authentication], ..Client::new(Some(CLIENT_SECRET.into())) };
        self.state().authority.set_client(CLIENT_ID, client);
    }

    /// The client has another secret from now on.
    pub fn set_client_secret(&self, secret: &str) {
        self.state().authority.set_client(CLIENT_ID, Client::new(Some(secret.into())));
    }

    /// The next exchanges of this connection go like this.
    pub fn script(&self, connection: &str, steps: impl IntoIterator<Item = Step>) {
        self.state().scripts.push(connection, steps);
    }

    /// All exchanges of this connection go like this, until [`Pleo::behave`].
    pub fn repeat(&self, connection: &str, step: Step) {
        self.state().scripts.repeat(connection, step);
    }

    pub fn behave(&self, connection: &str) {
        self.state().scripts.clear(connection);
    }

    /// Lets go of the exchanges that are held now.
    pub fn release(&self, connection: &str) {
        *self.state().releases.entry(connection.into()).or_default() += 1;
        self.0.released.notify_waiters();
    }

    /// Whether a connection can be made at all.
    pub fn set_reachable(&self, reachable: bool) {
        self.state().reachable = reachable;
    }

    /// How long it takes until a connection stands.
    pub fn set_connecting(&self, connecting: Duration) {
        self.state().connecting = connecting;
    }
}

/// As the server calls itself (RFC 9207).
pub const ISSUER: &str = "https://auth.pleo.io";
const STAGING_ISSUER: &str = "https://auth.staging.pleo.io";

fn asked(authority: &Authority, url: &str) -> AuthorizationRequest {
    let url = Url::parse(url).expect("a URL");
    assert!([ISSUER, STAGING_ISSUER].contains(&url.origin().ascii_serialization().as_str()));
    assert_eq!(url.path(), "/oauth/authorize");
    authority.authorization(&url.query_pairs().into_owned().collect()).expect("a request as the server wants it")
}

fn back(request: &AuthorizationRequest, parameters: &[(&str, &str)]) -> String {
    let state = request.state.iter().map(|state| ("state", state.as_str()));
    Url::parse_with_params(&request.redirect_uri, parameters.iter().copied().chain(state)).expect("a URL").into()
}

/// The server's side of an exchange.
impl Pleo {
    async fn serve(self, mut sent: Sent, request: authority::TokenRequest, reply: oneshot::Sender<(usize, Reply)>) {
        sent.at = self.now();
        sent.claims = self.state().claims.held(&self.0.time);
        let number = self.state().sent.len();
        let is_at_home = sent.is_at_home(&self.state().authority, request.presented.text());
        let exchange = is_at_home.then(|| self.state().authority.begin(sent.at, request));
        self.state().sent.push(Arc::new(Sent { exchange, ..sent }));
        let answer = match exchange {
            Some(id) => self.answer(number, id).await,
            // The other server does not know it.
            None => Step::error("invalid_grant").reply(None, self.0.time.now()),
        };
        // Nobody may be waiting any more.
        let _ = reply.send((number, answer));
    }

    /// Waits, judges, waits, answers: as the connection's script has it.
    async fn answer(&self, number: usize, id: ExchangeId) -> Reply {
        let (step, name) = {
            let state = &mut *self.state();
            let record = state.authority.exchange(id);
            let name = record.and_then(|record| record.connection.clone()).unwrap_or_default();
            let name = name.trim_end_matches(STAGING_ACCOUNT).to_owned();
            (state.scripts.next(Some(&name)), name)
        };
        self.wait(step.before, &name).await;
        let judged = step.rotates().then(|| {
            let now = self.now();
            let judged = self.state().authority.rotate(now, id);
            if let (Ok(pair), Some(sent)) = (&judged, self.state().sent.get_mut(number)) {
                Arc::make_mut(sent).issued = Some(RefreshToken::new(pair.refresh_token.as_str()).fingerprint());
            }
            judged
        });
        self.wait(step.after, &name).await;
        let answer = step.reply(judged.as_ref(), self.0.time.now());
        let now = self.now();
        self.state().authority.finish(now, id, answer.delivery());
        answer
    }

    fn note_heard(&self, number: usize, outcome: &Outcome) {
        let now = self.now();
        if let Some(sent) = self.state().sent.get_mut(number) {
            Arc::make_mut(sent).heard = Some(Heard { at: now, outcome: outcome.label() });
        }
    }

    fn turns_away(&self) -> bool {
        let (now, state) = (self.now(), &mut *self.state());
        if !state.reachable {
            state.turned_away.push(now);
        }
        !state.reachable
    }

    async fn wait(&self, wait: Option<Wait>, name: &str) {
        match wait {
            None => {}
            Some(Wait::For(delay)) => sleep(delay).await,
            Some(Wait::Hold) => {
                let released = || self.state().releases.get(name).copied().unwrap_or_default();
                let before = released();
                loop {
                    // Made before the look, or a release between the look and the wait would be missed.
                    let notified = self.0.released.notified();
                    if released() > before {
                        return;
                    }
                    notified.await;
                }
            }
        }
    }
}

/// The client's side: it asks the fence at the instant of sending, as the real one does when its connection stands.
struct Endpoint {
    pleo: Pleo,
    client: SimClient,
    process: Holder,
    clock: Clock,
    request_timeout: Duration,
}

impl TokenEndpoint for Endpoint {
    fn exchange(&self, exchange: TokenRequest) -> BoxFuture<'static, Outcome> {
        let Self { pleo, client, process, clock, request_timeout } = self;
        let (pleo, client, clock, request_timeout) = (pleo.clone(), client.clone(), clock.clone(), *request_timeout);
        let sent = Sent::new(process, &exchange);
        Box::pin(async move { send(&pleo, &client, &clock, request_timeout, sent, exchange).await })
    }

    fn introspect(&self, question: IntrospectionRequest) -> BoxFuture<'static, Introspected> {
        Box::pin(introspection::ask(self.pleo.clone(), self.client.clone(), question))
    }
}

async fn send(
    pleo: &Pleo,
    client: &SimClient,
    clock: &Clock,
    patience: Duration,
    sent: Sent,
    exchange: TokenRequest,
) -> Outcome {
    let failed = |kind, why: &str| Outcome::Failed(Failure::new(kind, why));
    let connecting = pleo.state().connecting;
    sleep(connecting + LATENCY).await;
    if client.is_crashed() {
        return pending().await;
    }
    if pleo.turns_away() {
        return failed(FailureKind::NotSent, "connection refused");
    }
    if !exchange.fence.is_open() {
        return failed(FailureKind::NotSent, "too late");
    }
    let (reply, answer) = oneshot::channel();
    // In the server's runtime and not the sender's: it goes on when the sender is frozen or dead.
    pleo.0.time.runtime().spawn(pleo.clone().serve(sent, request(&exchange), reply));
    drop(exchange);
    let answered = timeout(patience, answer).await;
    if client.is_crashed() {
        // The dead hear nothing.
        return pending().await;
    }
    let (number, outcome) = match answered {
        Err(_) => return failed(FailureKind::OutcomeUnknown, "no answer in time"),
        Ok(Err(_)) => return failed(FailureKind::OutcomeUnknown, "connection reset"),
        Ok(Ok((number, Reply::Cut))) => (number, failed(FailureKind::OutcomeUnknown, "connection reset")),
        Ok(Ok((number, Reply::Http(reply)))) => (number, read(&reply, clock)),
    };
    pleo.note_heard(number, &outcome);
    outcome
}

fn request(exchange: &TokenRequest) -> authority::TokenRequest {
    let secret = exchange.client.secret.as_ref().map(|secret| secret.expose().to_owned());
    let authentication = match exchange.method {
        Method::Body => authority::Authentication::Body,
        Method::Basic => authority::Authentication::Basic,
    };
    let credentials = Credentials { client_id: exchange.client.id.clone(), client_secret: secret, authentication };
    let presented = match &exchange.presented {
        domain::token::AuthorizationGrant::Refresh(token) => {
            authority::Presented::RefreshToken(token.expose().to_owned())
        }
        domain::token::AuthorizationGrant::Code { code, verifier, redirect_uri } => authority::Presented::Code {
            code: code.expose().to_owned(),
            redirect_uri: redirect_uri.clone(),
            verifier: verifier.expose().to_owned(),
        },
    };
    authority::TokenRequest { credentials, presented }
}

fn read(reply: &HttpReply, clock: &Clock) -> Outcome {
    let ReplyBody::Whole(body) = &reply.body else { panic!("endless bodies are tested over HTTP") };
    let header = |wanted: &str| reply.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let decoded = decode(Zeroizing::new(body.clone()), header("content-encoding").unwrap_or_default());
    interpret(reply.status, header("retry-after"), &decoded.body, clock.now())
}
