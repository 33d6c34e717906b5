//! Scenes: what was seen of one connection, built step by step, and a tiny interpreter that makes decisions come true in
//! memory. A test reads like a transcript: who holds what, what time it is, what the server answers, what is done next.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::{Authentication, PleoConnectionStatus, RestartTarget, WorkloadKind},
    domain::{
        commit::{
            attempt::{Attempt, Claiming, Terms, claim},
            settlement::{AttemptResult, Settlement, settle},
        },
        failure::{Failure, FailureKind, Outcome},
        ledger::{
            grant::{Claim, Grant, Holder, Rejection, RejectionReason, Which},
            held::{AttemptId, Attempts, Issue, Pair, StoredToken},
            known_token::{KnownToken, Verdict},
        },
        plan::{
            decide::{Decision, NextRefresh, Rotation, Wait, decide, next_refresh},
            link, projection,
            restarts::{self, Tried},
            schedule::Pace,
        },
        report::status,
        snapshot::{
            ClaimOwner, ClientSecretState, Deferred, GrantSecret, InitialGrant, InitialToken, LastReported,
            LocalObservations, Sharing, Snapshot, TokenSecret, Versioned,
            published::{Content, Published},
            repair::Repairs,
        },
        spec::{InitialGrantRef, ResolvedSpec, Server, TokenUrl},
        token::{AccessToken, ClientCredentials, ClientSecret, Fingerprint, LinkKey, RefreshToken},
    },
    pleo::answer::interpret,
};

pub const PRODUCTION: &str = "https://auth.pleo.io/oauth/token";
pub const STAGING: &str = "https://auth.staging.pleo.io/oauth/token";
pub const UID: &str = "0c5f7d9e-acme";
/// An answer is awaited for a minute, so the settle time is 30 s and a claim is 70 s long.
pub const PACE: Pace = Pace { request_timeout: Duration::from_secs(60) };
/// No connection needs more steps than this to come to rest.
pub const MAX_STEPS: usize = 12;

/// So many seconds after noon.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_772_452_800 + seconds).unwrap()
}

/// When a pair that was issued at noon grows so old that it is told.
pub fn first_warning() -> Timestamp {
    at(46 * 24 * 3600)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn token_url(url: &str) -> TokenUrl {
    serde_json::from_value(url.into()).unwrap()
}

pub fn server(url: &str) -> Server {
    Server { token_url: token_url(url), authorization_url: Ok(url.replace("/token", "/authorize")), ca_bundle: None }
}

pub fn fingerprint(token: &str) -> Fingerprint {
    RefreshToken::new(token).fingerprint()
}

pub fn client(id: &str) -> ClientCredentials {
    ClientCredentials { id: id.into(), secret: Some(ClientSecret::new("client-secret")) }
}

/// The client of every scene, with another secret.
pub fn with_secret(secret: &str) -> ClientCredentials {
    ClientCredentials { secret: Some(ClientSecret::new(secret)), ..client("acme-client") }
}

/// The client of every scene.
pub fn our_id() -> Fingerprint {
    client("acme-client").id_fingerprint()
}

/// What the server said, in its own words.
pub fn reply(status: u16, body: &str) -> Outcome {
    interpret(status, None, body.as_bytes(), at(0))
}

/// The same, with `Retry-After`.
pub fn reply_after(status: u16, retry_after: &str, body: &str) -> Outcome {
    interpret(status, Some(retry_after), body.as_bytes(), at(0))
}

/// A pair that lives 15 minutes: `access-NAME` and `refresh-NAME`.
pub fn pair(name: &str) -> Outcome {
    reply(
        200,
        &format!(
            r#"{{"access_token":"access-{name}","refresh_token":"refresh-{name}","token_type":"Bearer","expires_in":900}}"#
        ),
    )
}

pub fn invalid_grant() -> Outcome {
    reply(400, r#"{"error":"invalid_grant"}"#)
}

pub fn invalid_client() -> Outcome {
    reply(401, r#"{"error":"invalid_client"}"#)
}

/// The request left, and no answer came.
pub fn silence() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::OutcomeUnknown, "the server did not answer in time"))
}

/// Not a byte left.
pub fn no_connection() -> Outcome {
    Outcome::Failed(Failure::new(FailureKind::NotSent, "no connection to the server: connection refused"))
}

pub fn current(token: &str, url: &str, issued_at: Timestamp, lifetime: Duration) -> Pair {
    let (refresh, attempt) = (RefreshToken::new(token), AttemptId(format!("before-{}", fingerprint(token))));
    let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap();
    Pair {
        refresh: StoredToken::new(refresh, token_url(url), Some(our_id())),
        access: Some(AccessToken::new(token.replace("refresh", "access"))),
        issue: Issue { issued_at, lifetime_ms, token_type: "Bearer".into(), attempt },
    }
}

pub fn candidate(token: &str, url: &str) -> StoredToken {
    StoredToken::new(RefreshToken::new(token), token_url(url), None)
}

/// An entry of the history: no server has seen it.
pub fn known(token: &str, url: &str) -> KnownToken {
    KnownToken::new(fingerprint(token), token_url(url))
}

/// The same, and the server gave the pair of this rotation for it.
pub fn accepted(token: &str, url: &str, rotation: u64) -> KnownToken {
    marked(known(token, url), Verdict::Accepted { rotation })
}

/// An entry of the history, with this verdict.
pub fn marked(token: KnownToken, verdict: Verdict) -> KnownToken {
    KnownToken { verdict, ..token }
}

pub fn rejection(token: &str, reason: RejectionReason) -> Rejection {
    Rejection { fingerprint: fingerprint(token), reason, at: at(0) }
}

/// A Deployment of that name, to be restarted.
pub fn deployment(name: &str) -> RestartTarget {
    RestartTarget { kind: WorkloadKind::Deployment, name: name.into() }
}

/// A claim as another pod makes it: 70 s long.
pub fn claim_of(token: &str, started_at: Timestamp) -> Claim {
    Claim {
        attempt: AttemptId("elsewhere-1".into()),
        holder: holder("another pod"),
        started_at,
        ends_at: started_at + SignedDuration::try_from(PACE.claim_length()).unwrap(),
        fingerprint: fingerprint(token),
        client_id: Some(our_id()),
    }
}

pub fn holder(identity: &str) -> Holder {
    Holder { identity: identity.into(), process: format!("a process of {identity}") }
}

pub fn terms() -> Terms {
    Terms {
        holder: holder("this pod"),
        client: client("acme-client").fingerprint(UID),
        client_id: our_id(),
        generation: 1,
        retry_timeout: secs(72 * 3600),
        pace: PACE,
    }
}

pub fn rotation(which: Which) -> Rotation {
    Rotation { which, resumes: false, claim_unused: false, request: None }
}

/// Claims a token of this grant: the grant as it is stored then, and the attempt.
pub fn claimed(grant: &Grant, which: Which, id: &str, now: Timestamp) -> (Grant, Attempt) {
    let Claiming { attempt, token: _ } =
        claim(grant, &rotation(which), AttemptId(id.into()), now, terms()).expect("the grant holds that token");
    (attempt.claimed.clone(), attempt)
}

/// The request left as soon as it was started.
pub fn ending(outcome: Outcome, started_at: Timestamp, ended_at: Timestamp) -> AttemptResult {
    AttemptResult { outcome, started_at, sent_at: started_at, ended_at }
}

/// The grant that is to be written.
#[track_caller]
pub fn written(settlement: Settlement) -> Grant {
    match settlement {
        Settlement::Write(grant) => *grant,
        Settlement::AlreadyStored | Settlement::Superseded => panic!("not to be written: {settlement:?}"),
    }
}

/// One connection, and a world in which its decisions come true.
#[derive(Clone, Debug)]
pub struct Scene {
    pub snapshot: Snapshot,
    pub now: Timestamp,
    /// Every token that was sent, with its server.
    pub sent: Vec<(String, TokenUrl)>,
    /// Everything that was done, by name.
    pub done: Vec<&'static str>,
    attempts: u32,
}

impl Scene {
    /// At noon: a connection `acme` with a client, an empty Secret `acme-grant` for the first token, and nothing of ours.
    pub fn new() -> Self {
        let spec = ResolvedSpec {
            uid: UID.into(),
            namespace: "finance".into(),
            name: "acme".into(),
            generation: 1,
            deleting: false,
            server: Ok(server(PRODUCTION)),
            authentication: Authentication::Body,
            client_secret_name: "pleo-client".into(),
            scopes: Vec::new(),
            initial_grant: Some(InitialGrantRef {
                secret: "acme-grant".into(),
                key: "refresh_token".into(),
                keep: false,
            }),
            secret_name: "acme-token".into(),
            secret_labels: BTreeMap::new(),
            secret_annotations: BTreeMap::new(),
            refresh_before: None,
            retry_timeout: secs(72 * 3600),
            suspend: false,
            refresh_request: None,
            restart_targets: BTreeSet::new(),
        };
        let snapshot = Snapshot {
            spec,
            client: ClientSecretState::Present(client("acme-client")),
            initial: InitialGrant::Missing("the Secret acme-grant has no key refresh_token".into()),
            grant: GrantSecret::Absent,
            token: TokenSecret::Absent,
            retired: None,
            reported: LastReported::default(),
            links: None,
            deferred: Deferred::default(),
            local: LocalObservations::default(),
            repairs: Repairs::default(),
        };
        Self { snapshot, now: at(0), sent: Vec::new(), done: Vec::new(), attempts: 0 }
    }

    /// A connection in the best of health: `refresh-7` was issued at noon for 15 minutes, and pods have `access-7`.
    pub fn living() -> Self {
        let mut grant = Grant::new(UID, 7);
        grant.current = Some(current("refresh-7", PRODUCTION, at(0), secs(900)));
        grant.last_sent_at = Some(at(0));
        Self::new().holding(grant).published()
    }

    /// A connection whose first token, `consent-1`, was just adopted and not yet sent.
    pub fn adopted() -> Self {
        let mut grant = Grant::new(UID, 0);
        grant.candidate = Some(candidate("consent-1", PRODUCTION));
        grant.history = vec![known("consent-1", PRODUCTION)];
        Self::new().consent("consent-1").holding(grant).published()
    }

    /// A connection whose grant was refused at noon and wiped.
    pub fn dead(reason: RejectionReason) -> Self {
        let mut grant = Grant::new(UID, 7);
        grant.last_rejection = Some(rejection("refresh-7", reason));
        Self::new().holding(grant).published()
    }

    pub fn holding(mut self, grant: Grant) -> Self {
        self.snapshot.grant = GrantSecret::Ours(Versioned { value: grant, version: "1".into() });
        self
    }

    pub fn with_spec(mut self, change: impl FnOnce(&mut ResolvedSpec)) -> Self {
        change(&mut self.snapshot.spec);
        self
    }

    pub fn seeing(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        change(&mut self.snapshot);
        self
    }

    pub fn with_grant(mut self, change: impl FnOnce(&mut Grant)) -> Self {
        change(self.grant_mut());
        self
    }

    pub fn with_current_tried(self, change: impl FnOnce(&mut Attempts)) -> Self {
        self.with_grant(|grant| change(grant.attempts_mut(Which::Current).expect("a current pair")))
    }

    pub fn with_candidate_tried(self, change: impl FnOnce(&mut Attempts)) -> Self {
        self.with_grant(|grant| change(grant.attempts_mut(Which::Candidate).expect("a candidate")))
    }

    /// Another client stands in the client Secret.
    pub fn client(mut self, id: &str) -> Self {
        self.snapshot.client = ClientSecretState::Present(client(id));
        self
    }

    /// A user puts a refresh token into the initial grant.
    pub fn consent(mut self, token: &str) -> Self {
        let token = RefreshToken::new(token);
        self.snapshot.initial = InitialGrant::Present(InitialToken {
            fingerprint: token.fingerprint(),
            token,
            version: "initial-1".into(),
            copied: false,
            sharing: Sharing::Alone,
        });
        self
    }

    /// A claim on a token stands there, seen for so long.
    pub fn with_claim(mut self, token: &str, started_at: Timestamp, whose: ClaimOwner, seen_for: u64) -> Self {
        self.grant_mut().claim = Some(claim_of(token, started_at));
        self.snapshot.local = LocalObservations {
            claim_owner: Some(whose),
            claim_seen_for: secs(seen_for),
            ..LocalObservations::default()
        };
        self
    }

    /// The token Secret says what the grant says.
    pub fn published(mut self) -> Self {
        let content = projection::desired(&self.snapshot, self.now).expect("a grant that may be published");
        self.publish(&content);
        self
    }

    /// So many seconds after noon; what was seen has been seen for that much longer.
    pub fn at(mut self, seconds: i64) -> Self {
        self.go_to(at(seconds));
        self
    }

    pub fn go_to(&mut self, time: Timestamp) {
        let passed = Duration::try_from(time.duration_since(self.now)).unwrap_or_default();
        self.snapshot.local.claim_seen_for += passed;
        self.snapshot.local.candidate_failure_seen_for += passed;
        self.snapshot.local.current_failure_seen_for += passed;
        if self.snapshot.grant.ours().is_some_and(|grant| grant.value.by_link.code.is_some()) {
            self.snapshot.local.code_seen_for += passed;
        }
        self.now = time;
    }

    pub fn grant(&self) -> &Grant {
        &self.snapshot.grant.ours().expect("a grant of ours").value
    }

    pub fn grant_mut(&mut self) -> &mut Grant {
        match &mut self.snapshot.grant {
            GrantSecret::Ours(grant) => &mut grant.value,
            other => panic!("no grant of ours: {other:?}"),
        }
    }

    pub fn content(&self) -> &Content {
        let published = self.snapshot.token.published().expect("a token Secret of ours");
        published.content.as_ref().expect("a token Secret that can be read")
    }

    pub fn decide(&self) -> Decision {
        decide(&self.snapshot, self.now, PACE)
    }

    pub fn next_refresh(&self) -> NextRefresh {
        next_refresh(&self.snapshot, self.now, PACE)
    }

    /// What it waits for.
    #[track_caller]
    pub fn waits(&self) -> Wait {
        match self.decide() {
            Decision::Wait(wait) => wait,
            other => panic!("expected to wait, but: {other:?}"),
        }
    }

    /// Which token it sends now.
    #[track_caller]
    pub fn sends(&self) -> Rotation {
        match self.decide() {
            Decision::Rotate(rotation) => rotation,
            other => panic!("expected to send, but: {other:?}"),
        }
    }

    /// Whether a token is to be sent at this moment.
    pub fn is_sending(&self) -> bool {
        matches!(self.next_refresh(), NextRefresh::Now(_))
    }

    pub fn status(&self) -> PleoConnectionStatus {
        self.status_after(&PleoConnectionStatus::default())
    }

    pub fn status_after(&self, previous: &PleoConnectionStatus) -> PleoConnectionStatus {
        status::of(&self.snapshot, previous, None, self.now, PACE)
    }

    /// Makes decisions come true until there is nothing left but to wait, to leave or to send.
    #[track_caller]
    pub fn rest(&mut self) -> Decision {
        for _ in 0..MAX_STEPS {
            match self.decide() {
                Decision::Publish(content) => {
                    self.done.push("publish");
                    self.publish(&content);
                }
                Decision::Adopt(adoption) => {
                    self.done.push("adopt");
                    self.store(adoption.grant);
                }
                Decision::DeleteOldSecret(_) => {
                    self.done.push("retire");
                    self.snapshot.retired = None;
                }
                Decision::RemoveAdoptedToken(tidying) => {
                    self.done.push("tidy");
                    self.snapshot.initial = InitialGrant::Missing(format!("{} is tidy", tidying.secret));
                }
                Decision::Restart(restart) => {
                    self.done.push("restart");
                    let tried = Tried { done: restart.targets, perhaps: Vec::new() };
                    let grant = restarts::note(&self.snapshot, &tried, self.now).expect("a grant");
                    self.store(grant);
                }
                Decision::DropAuthorizationCode(grant) => {
                    self.done.push("forget");
                    self.store(*grant);
                }
                Decision::CreateLink => {
                    self.done.push("invite");
                    let key = LinkKey::new(format!("key-{}", self.now));
                    let (grant, _) = link::invite(&self.snapshot, key, self.now).expect("a grant");
                    self.store(grant);
                }
                end @ (Decision::Rotate(_) | Decision::Wait(_) | Decision::Ignore) => return end,
            }
        }
        panic!("no rest after {MAX_STEPS} steps: {:?}", self.done);
    }

    /// Comes to rest, sends the token that is due, and stores what the server says; then comes to rest again.
    #[track_caller]
    pub fn exchange(&mut self, outcome: Outcome) -> Decision {
        let (attempt, started_at) = self.begin();
        let ending = ending(outcome, started_at, self.now);
        let grant = written(settle(self.grant(), &attempt, &ending));
        self.store(grant);
        self.snapshot.local = LocalObservations::default();
        self.rest()
    }

    /// Comes to rest, claims the token that is due, and sends it.
    #[track_caller]
    pub fn begin(&mut self) -> (Attempt, Timestamp) {
        let Decision::Rotate(rotation) = self.rest() else { panic!("nothing is due: {:?}", self.decide()) };
        self.attempts += 1;
        let id = AttemptId(format!("here-{}", self.attempts));
        let spec = &self.snapshot.spec;
        let ClientSecretState::Present(client) = &self.snapshot.client else { panic!("no client") };
        let terms = Terms {
            client: client.fingerprint(&spec.uid),
            client_id: client.id_fingerprint(),
            generation: spec.generation,
            retry_timeout: spec.retry_timeout,
            ..terms()
        };
        let Claiming { attempt, token } = claim(self.grant(), &rotation, id, self.now, terms).expect("a token");
        self.store(attempt.claimed.clone());
        self.sent.push((token.expose().to_owned(), attempt.server.clone()));
        self.done.push("send");
        (attempt, self.now)
    }

    pub fn store(&mut self, grant: Grant) {
        self.snapshot.grant = GrantSecret::Ours(Versioned { value: grant, version: "next".into() });
    }

    pub fn publish(&mut self, content: &Content) {
        let spec = &self.snapshot.spec;
        let published = Published::read(
            content.encode(),
            projection::labels(spec),
            spec.secret_annotations.clone(),
            Some(spec.uid.clone()),
        );
        self.snapshot.token = TokenSecret::Ours(Versioned { value: published, version: "next".into() });
    }
}
