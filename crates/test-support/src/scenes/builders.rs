//! Values by name: tokens, servers, clients, answers, and the parts of a grant.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::{RestartTarget, WorkloadKind},
    domain::{
        commit::{
            attempt::{Attempt, Claiming, Terms, claim},
            settlement::{AttemptResult, Settlement},
        },
        failure::{Failure, FailureKind, Outcome},
        ledger::{
            authentication::Method,
            grant::{Claim, Grant, Holder, Rejection, RejectionReason, Which},
            held::{AttemptId, Issue, Pair, StoredToken},
            known_token::{KnownToken, Verdict},
        },
        plan::{
            authentication::{Methods, Standing},
            next_refresh::Rotation,
            schedule::Pace,
        },
        spec::{Server, TokenUrl},
        token::{AccessToken, ClientCredentials, ClientSecret, Fingerprint, RefreshToken},
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
    Server {
        token_url: token_url(url),
        authorization_url: Ok(url.replace("/token", "/authorize")),
        introspection_url: None,
        issuer: None,
        ca_bundle: None,
    }
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
        methods: Methods { first: Method::Body, fallback: None, standing: Standing::Proved },
        generation: 1,
        retry_timeout: secs(72 * 3600),
        pace: PACE,
    }
}

pub fn rotation(which: Which) -> Rotation {
    Rotation { which, resumes: false, is_probe: false, claim_unused: false, request: None }
}

/// Claims a token of this grant: the grant as it is stored then, and the attempt.
pub fn claimed(grant: &Grant, which: Which, id: &str, now: Timestamp) -> (Grant, Attempt) {
    let Claiming { attempt, token: _, fallback: _ } =
        claim(grant, &rotation(which), AttemptId(id.into()), now, terms()).expect("the grant holds that token");
    (attempt.claimed.clone(), attempt)
}

/// The request left as soon as it was started.
pub fn ending(outcome: Outcome, started_at: Timestamp, ended_at: Timestamp) -> AttemptResult {
    AttemptResult { outcome, method: Method::Body, fell_back: false, started_at, sent_at: started_at, ended_at }
}

/// The grant that is to be written.
#[track_caller]
pub fn written(settlement: Settlement) -> Grant {
    match settlement {
        Settlement::Write(grant) => *grant,
        Settlement::AlreadyStored | Settlement::Superseded => panic!("not to be written: {settlement:?}"),
    }
}
