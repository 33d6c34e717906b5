//! One attack, from the claim to the status: the real client sends the token that a real claim gave, the real rules
//! settle what came of it, and the user is told. What must hold in every attack is asserted here, once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pleo_operator::{
    api::Authentication,
    clock::WallClock,
    domain::{
        commit::settlement::settle,
        failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode},
        ledger::{authentication::Method, grant::Grant},
        snapshot::LocalObservations,
        spec::Server as Target,
        token::{AuthorizationGrant, ClientCredentials, ClientSecret, RefreshToken},
    },
    pleo::{Fence, HttpTokenEndpoint, TokenEndpoint, TokenRequest},
};
use tokio::time::timeout;

use crate::{
    connections::certificates::{TRUSTED, Tls},
    scenes::{Scene, UID, at, current, ending, secs, token_url, written},
    support::{
        hunt::{self, ACCESS, CLIENT_ID, CLIENT_SECRET, REFRESH, SPENT, no_secret_in},
        server::{Script, Server, Tally, Wire, reply},
    },
};

/// No attack takes so long; it only keeps a broken one from hanging.
pub const GUARD: Duration = Duration::from_secs(60);
/// The connection ends with the exchange; this only makes up for a slow machine.
pub(super) const FAREWELL: Duration = Duration::from_secs(10);
/// Longer than the guard: an attack that is not about time must not end by it.
pub(super) const PATIENT: Duration = Duration::from_secs(600);
const IMPATIENT: Duration = Duration::from_secs(2);
/// What a server may get rid of: the answer that is read, and what fits into the sockets' buffers.
const MOST: usize = 8 << 20;
/// What a user can read.
const FEW_WORDS: usize = 300;

/// What the documentation promises for an answer.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The pair of every good answer.
    Pair,
    /// These tokens, exactly.
    Tokens(String, String),
    NotSent,
    /// With the wait that was asked for, in seconds.
    Throttled(Option<u64>),
    /// With the words that say why.
    Unknown(&'static str),
    /// An error code that is not known, with these words.
    Coded(&'static str),
    Misconfigured(Misconfiguration),
    Refused(RejectionCode),
}

pub use Expected::{Coded, Misconfigured, NotSent, Pair, Refused, Throttled, Tokens, Unknown};

pub const BROKEN: Expected = Unknown("the connection broke before the answer was complete");
pub const TOO_LONG: Expected = Unknown("the server's answer is too long to be one");
pub const TOO_LATE: Expected = Unknown("the server did not answer in time");
pub const DAMAGED: Expected = Unknown(
    "the server's answer was compressed and could not be decompressed: turn compression off in the gateway before the server",
);
pub const UNSUPPORTED: Expected = Unknown(
    "the server's answer has a Content-Encoding that is not supported: turn compression off in the gateway before the server",
);
pub const NO_TOKEN: Expected = Unknown("the server answered 200 without a token");

/// How often the token may be found in what the server got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Never,
    Once,
    AtMostOnce,
}

/// A hostile server, and a client that meets it.
pub struct Attack {
    script: Script,
    request_timeout: Duration,
    authentication: Authentication,
    fence_opens: bool,
    sent: Option<Sent>,
    is_heard: bool,
}

impl Attack {
    /// By this script, with TLS as told.
    pub fn by(script: Script) -> Self {
        let authentication = Authentication::Body;
        Self { script, request_timeout: PATIENT, authentication, fence_opens: true, sent: None, is_heard: true }
    }

    /// In HTTP/1.1: the server waits for the request, and goes on like this.
    pub fn after_request(script: impl AsyncFnOnce(&mut Wire) -> std::io::Result<()> + Send + 'static) -> Self {
        Self::by(Script::wire(Tls::new(), async move |wire| {
            wire.request().await?;
            script(wire).await
        }))
    }

    /// The client gives up after 2 s: this attack is about time.
    pub fn impatient(self) -> Self {
        Self { request_timeout: IMPATIENT, ..self }
    }

    /// The client's secret is in a header.
    pub fn basic(self) -> Self {
        Self { authentication: Authentication::Basic, ..self }
    }

    /// It has become too late when the connection stands.
    pub fn too_late_to_send(self) -> Self {
        Self { fence_opens: false, ..self }
    }

    /// The attack begins before the request has left, so it may not leave at all.
    pub fn before_request(self) -> Self {
        Self { sent: Some(Sent::AtMostOnce), ..self }
    }

    /// Nobody listens to the logs: they would take more memory than the attack.
    pub fn unheard(self) -> Self {
        Self { is_heard: false, ..self }
    }

    /// Carries it out, and asserts all that is promised.
    pub async fn ends_as(self, expected: Expected) {
        let sent = self.sent.unwrap_or(if expected.is_not_sent() { Sent::Never } else { Sent::Once });
        // Until a time-out, whatever comes is read and forgotten.
        let self_paced = self.request_timeout == PATIENT;
        let siege = self.carry_out().await;
        expected.is(&siege.outcome);
        let times = count(&siege.tally.received, SPENT);
        match sent {
            Sent::Never => assert_eq!(times, 0, "the token has left"),
            Sent::Once => assert_eq!(times, 1, "the token leaves once"),
            Sent::AtMostOnce => assert!(times <= 1, "the token has left {times} times"),
        }
        if times == 1 {
            let received = String::from_utf8_lossy(&siege.tally.received).to_lowercase();
            let methods = ["authorization: basic ", "client_secret="].map(|method| received.matches(method).count());
            assert_eq!(methods.iter().sum::<usize>(), 1, "one method (RFC 6749 section 2.3): {methods:?}");
        }
        assert_eq!(siege.tally.connections, 1, "nobody comes a second time");
        assert!(siege.asked <= 1, "the fence was asked {} times", siege.asked);
        if self_paced {
            let taken = siege.tally.written;
            assert!(taken <= MOST, "{taken} bytes were taken from the server");
        }
        if let Outcome::Failed(failure) = &siege.outcome {
            assert!(failure.detail.len() <= FEW_WORDS, "{} bytes are no few words", failure.detail.len());
        }
        no_secret_in(&format!("{:?}", siege.outcome), "the outcome");
        assert!(siege.logs.contains("reqwest") && siege.logs.contains("hyper_util"), "the libraries are heard");
        no_secret_in(&siege.logs, "the log");
        siege.tell_the_user(&expected);
    }

    /// Claims the token, sends it, and waits until the connection is gone. For what is promised everywhere use
    /// [`Attack::ends_as`].
    pub async fn carry_out(self) -> Siege {
        let server = Server::start(self.script);
        let mut scene = due(&server.token_url(), SPENT, self.authentication);
        let (attempt, started_at) = scene.begin();
        let asked = Arc::new(AtomicUsize::new(0));
        let (counting, opens) = (Arc::clone(&asked), self.fence_opens);
        let fence = Fence::new(move || {
            counting.fetch_add(1, Ordering::Relaxed);
            opens
        });
        if self.is_heard {
            hunt::listen();
        }
        let outcome = send(&scene, fence, self.request_timeout).await;
        let tally = timeout(FAREWELL, server.finish()).await.expect("the client hangs up when the exchange is over");
        let logs = hunt::heard();
        let grant = written(settle(scene.grant(), &attempt, &ending(outcome.clone(), started_at, scene.now)));
        scene.store(grant);
        scene.snapshot.local = LocalObservations::default();
        scene.rest();
        Siege { outcome, tally, logs, asked: asked.load(Ordering::Relaxed), scene }
    }
}

/// One exchange with whoever answers at this URL, and what was logged.
pub async fn exchange_with(url: &str) -> (Outcome, String) {
    let mut scene = due(url, SPENT, Authentication::Body);
    scene.begin();
    hunt::listen();
    (send(&scene, Fence::new(|| true), PATIENT).await, hunt::heard())
}

/// One exchange of this token by a client that gives up after 2 s.
pub async fn impatient_exchange(url: &str, token: &str) -> Outcome {
    let mut scene = due(url, token, Authentication::Body);
    scene.begin();
    send(&scene, Fence::new(|| true), IMPATIENT).await
}

/// Sends the token that was claimed last, by the real client.
async fn send(scene: &Scene, fence: Fence, request_timeout: Duration) -> Outcome {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let spec = &scene.snapshot.spec;
    let (token, _) = scene.sent.last().expect("a claimed token");
    let exchange = TokenRequest {
        server: spec.server.clone().expect("a server"),
        method: match spec.authentication {
            Authentication::Basic => Method::Basic,
            Authentication::Auto | Authentication::Body => Method::Body,
        },
        client: ClientCredentials { id: CLIENT_ID.into(), secret: Some(ClientSecret::new(CLIENT_SECRET)) },
        presented: AuthorizationGrant::Refresh(RefreshToken::new(token.clone())),
        fence,
    };
    let endpoint = HttpTokenEndpoint::new(Arc::new(Standing(scene.now)), request_timeout);
    timeout(GUARD, endpoint.exchange(exchange)).await.expect("the exchange ends by itself")
}

/// A living connection whose refresh is due: its token ends 50 s from now.
pub(super) fn due(url: &str, token: &str, authentication: Authentication) -> Scene {
    let mut grant = Grant::new(UID, 7);
    grant.current = Some(current(token, url, at(0), secs(900)));
    let server = Target {
        token_url: token_url(url),
        authorization_url: Err("nobody consents here".into()),
        introspection_url: None,
        issuer: None,
        ca_bundle: Some(TRUSTED.pem()),
    };
    let scene = Scene::new().with_spec(|spec| {
        (spec.server, spec.authentication) = (Ok(server), authentication);
    });
    scene.holding(grant).published().at(850)
}

/// The scene's clock stands still: dates in answers are read against it.
pub(super) struct Standing(pub Timestamp);

impl WallClock for Standing {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn count(bytes: &[u8], word: &str) -> usize {
    bytes.windows(word.len()).filter(|window| *window == word.as_bytes()).count()
}

/// An attack that is over.
pub struct Siege {
    pub outcome: Outcome,
    pub tally: Tally,
    pub logs: String,
    /// How often the fence was asked.
    pub asked: usize,
    pub scene: Scene,
}

impl Siege {
    /// What is stored, and what the user reads: at once, while the old token lives, and when it has ended.
    fn tell_the_user(self, expected: &Expected) {
        let held = self.scene.grant().current.as_ref().map(|current| current.refresh.token.expose().to_owned());
        assert_eq!(held.as_deref(), expected.leaves_in_hand());
        let mut expired = self.scene.clone().at(1000);
        expired.rest();
        for (scene, is_over) in [(self.scene, false), (expired, true)] {
            let status = scene.status();
            let told = |kind: &str| {
                let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
                Some((found.status.clone(), found.reason.clone()))
            };
            let (ready, consent, stalled) = expected.is_documented_as(is_over);
            let pair = |(status, reason): (&str, &str)| Some((status.to_owned(), reason.to_owned()));
            assert_eq!(told("Ready"), pair(ready), "the token has ended: {is_over}");
            assert_eq!(told("ReauthRequired"), pair(consent), "the token has ended: {is_over}");
            assert_eq!(told("Stalled"), stalled.and_then(|reason| pair(("True", reason))), "ended: {is_over}");
            no_secret_in(&serde_json::to_string(&status).unwrap(), "the status");
        }
    }
}

impl Expected {
    fn is_not_sent(&self) -> bool {
        matches!(self, NotSent)
    }

    #[track_caller]
    fn is(&self, outcome: &Outcome) {
        match (self, outcome) {
            (Pair, Outcome::Issued(_)) => Tokens(ACCESS.into(), REFRESH.into()).is(outcome),
            (Tokens(access, refresh), Outcome::Issued(issued)) => {
                assert_eq!(issued.access.as_ref().unwrap().expose(), access);
                assert_eq!(issued.refresh.as_ref().unwrap().expose(), refresh);
            }
            (expected, Outcome::Failed(failure)) => assert!(expected.is_failure(failure), "{expected:?}: {failure:?}"),
            (expected, Outcome::Issued(issued)) => panic!("{expected:?}: {issued:?}"),
        }
    }

    fn is_failure(&self, failure: &Failure) -> bool {
        match (self, failure.kind) {
            (NotSent, FailureKind::NotSent) => true,
            (Throttled(wait), FailureKind::Throttled) => failure.retry_after == wait.map(secs),
            (Unknown(why), FailureKind::OutcomeUnknown) | (Coded(why), FailureKind::UnknownRejection) => {
                failure.detail == *why
            }
            (Misconfigured(whose), FailureKind::Misconfigured(blamed)) => *whose == blamed,
            (Refused(how), FailureKind::Rejected(refusal)) => *how == refusal,
            _ => false,
        }
    }

    /// The refresh token that is stored afterwards.
    fn leaves_in_hand(&self) -> Option<&str> {
        match self {
            Pair => Some(REFRESH),
            Tokens(_, refresh) => Some(refresh),
            NotSent | Throttled(_) | Unknown(_) | Coded(_) | Misconfigured(_) => Some(SPENT),
            Refused(_) => None,
        }
    }

    /// `Ready`, `ReauthRequired` and the reason of `Stalled`, as the documentation has them.
    #[allow(clippy::type_complexity, reason = "three columns of a table")]
    fn is_documented_as(&self, is_over: bool) -> ((&str, &str), (&str, &str), Option<&str>) {
        let (usable, valid) = (("True", "Refreshed"), ("False", "GrantValid"));
        match (self, is_over) {
            (Pair | Tokens(..), _) => (usable, valid, None),
            (NotSent | Throttled(_) | Unknown(_) | Coded(_), false) => (usable, valid, None),
            (NotSent | Throttled(_), true) => (("False", "RefreshFailing"), valid, None),
            (Unknown(_) | Coded(_), true) => (("Unknown", "RefreshInDoubt"), valid, None),
            (Misconfigured(Misconfiguration::Client), false) => (usable, valid, Some("InvalidClient")),
            (Misconfigured(Misconfiguration::Client), true) => {
                (("False", "InvalidClient"), valid, Some("InvalidClient"))
            }
            (Misconfigured(Misconfiguration::Request), false) => (usable, valid, Some("InvalidRequest")),
            (Misconfigured(Misconfiguration::Request), true) => {
                (("False", "InvalidRequest"), valid, Some("InvalidRequest"))
            }
            (Refused(RejectionCode::InvalidGrant), _) => {
                (("False", "ReauthRequired"), ("True", "GrantRefused"), Some("ReauthRequired"))
            }
            (Refused(RejectionCode::InvalidToken), _) => {
                (("False", "ReauthRequired"), ("True", "TokenInvalid"), Some("ReauthRequired"))
            }
        }
    }
}

/// The server answers at once, and honestly, like this.
pub fn answers(status: &'static str, body: impl AsRef<[u8]> + Send + 'static) -> Attack {
    answers_with(status, "", body)
}

/// The same, with these headers, each with its line break.
pub fn answers_with(status: &'static str, headers: &'static str, body: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| wire.say(reply(status, headers, body)).await)
}

/// The server sends these bytes, and waits.
pub fn says(bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| wire.say(bytes).await)
}

/// The server sends these bytes, and ends the connection as it should be ended.
pub fn says_and_closes(bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(bytes).await?;
        wire.close().await
    })
}
