//! Whatever may be seen: observations put together at random from a handful of tokens, servers and times, so that the
//! rare coincidences are frequent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::FailureReason,
    domain::{
        governor::ServerState,
        introspection::Introspected,
        ledger::{
            grant::{Claim, FailureRecord, Grant, Rejection, RejectionReason, Restarted},
            held::{AttemptId, Attempts, Halt, HaltReason, NextAttempt, Pair, Retry},
            known_token::{KnownToken, Verdict},
            record::Unreadable,
            rejection_report::RejectionReport,
        },
        snapshot::{
            ClaimOwner, ClientSecretState, Deferred, GrantSecret, InitialGrant, LastReported, LocalObservations,
            Sharing, Snapshot, TokenSecret, Versioned, repair::Repairs,
        },
        spec::{ResolvedSpec, SpecProblem, TokenUrl},
        token::{AccessToken, Fingerprint},
    },
};
use proptest::{option, prelude::*, sample::select};

use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, at, candidate, client, current, deployment, fingerprint, holder, server, token_url,
};

pub const TOKENS: [&str; 5] = ["token-a", "token-b", "token-c", "token-d", "token-e"];
pub const CLIENTS: [&str; 2] = ["acme-client", "another-client"];

pub fn token() -> impl Strategy<Value = &'static str> {
    select(&TOKENS)
}

pub fn url() -> impl Strategy<Value = TokenUrl> {
    select(&[PRODUCTION, PRODUCTION, STAGING]).prop_map(token_url)
}

/// Mostly within half an hour of noon; now and then a time from a clock that was wrong.
pub fn time() -> BoxedStrategy<Timestamp> {
    prop_oneof![
        12 => (-1_800_000_i64..1_800_000).prop_map(|ms| at(0) + SignedDuration::from_millis(ms)),
        1 => select(vec![at(-100_000_000), at(100_000_000)]),
    ]
    .boxed()
}

pub fn attempt_id() -> impl Strategy<Value = AttemptId> {
    (0..6).prop_map(|n| AttemptId(format!("attempt-{n}")))
}

fn retry() -> BoxedStrategy<Retry> {
    (attempt_id(), time(), 0_u64..900_000, 0_u64..30_000)
        .prop_map(|(attempt, failed_at, wait_ms, settle_ms)| Retry { attempt, failed_at, wait_ms, settle_ms })
        .boxed()
}

fn halt() -> BoxedStrategy<Halt> {
    let reason = select(&[HaltReason::InvalidClient, HaltReason::InvalidRequest, HaltReason::RetriesExhausted]);
    (reason, select(&CLIENTS), 1_i64..3, option::of(retry()))
        .prop_map(|(reason, id, generation, retry)| Halt {
            reason,
            client: client(id).fingerprint(UID),
            generation,
            retry,
            times: 1,
        })
        .boxed()
}

pub fn attempts() -> BoxedStrategy<Attempts> {
    let none = Just(Attempts::default());
    let next = prop_oneof![
        4 => Just(NextAttempt::WhenDue),
        4 => retry().prop_map(NextAttempt::Retry),
        2 => halt().prop_map(NextAttempt::Halted),
    ];
    let some = (0_u32..30, option::of(time()), any::<bool>(), next);
    prop_oneof![
        none,
        some.prop_map(|(failures, failing_since, outcome_unknown, next)| Attempts {
            failures,
            failing_since,
            outcome_unknown,
            unknown_rejections: None,
            next
        })
    ]
    .boxed()
}

fn live_pair() -> BoxedStrategy<Pair> {
    let life = prop_oneof![3 => 200_000_u64..2_000_000, 1 => 1_u64..20_000];
    let access = option::weighted(0.9, token());
    (token(), url(), time(), life, access, attempt_id(), attempts(), client_id())
        .prop_map(|(token, url, issued_at, life_ms, access, attempt, attempts, client_id)| {
            let mut current = current(token, url.as_str(), issued_at, Duration::from_millis(life_ms));
            current.access = access.map(|name| AccessToken::new(format!("access of {name}")));
            current.issue.attempt = attempt;
            current.refresh.client_id = client_id;
            current.refresh.attempts = attempts;
            current
        })
        .boxed()
}

pub fn claim() -> BoxedStrategy<Claim> {
    (attempt_id(), select(&["this pod", "another pod"]), time(), 0_i64..120, token(), client_id())
        .prop_map(|(attempt, whose, started_at, length, token, client_id)| Claim {
            attempt,
            holder: holder(whose),
            started_at,
            ends_at: started_at + SignedDuration::from_secs(length),
            fingerprint: fingerprint(token),
            client_id,
        })
        .boxed()
}

/// Mostly noted, as one of the clients that the Secret may name.
fn client_id() -> BoxedStrategy<Option<Fingerprint>> {
    option::weighted(0.8, select(&CLIENTS).prop_map(|id| client(id).id_fingerprint())).boxed()
}

fn refusal() -> BoxedStrategy<Rejection> {
    let reason = select(&[RejectionReason::GrantRefused, RejectionReason::TokenInvalid, RejectionReason::RotationLost]);
    (token(), reason, time())
        .prop_map(|(token, reason, at)| Rejection { fingerprint: fingerprint(token), reason, at })
        .boxed()
}

fn known_token() -> BoxedStrategy<KnownToken> {
    let verdict = prop_oneof![
        3 => Just(Verdict::Pending),
        1 => Just(Verdict::OutcomeUnknown),
        3 => (0_u64..9).prop_map(|rotation| Verdict::Accepted { rotation }),
        2 => Just(Verdict::Rejected),
        1 => Just(Verdict::RejectedForAll),
        1 => Just(Verdict::RejectedAfterUse),
    ];
    (token(), url(), verdict, client_id())
        .prop_map(|(token, server, verdict, client_id)| KnownToken {
            fingerprint: fingerprint(token),
            server,
            verdict,
            rejected_from: client_id.into_iter().filter(|_| verdict == Verdict::Rejected).collect(),
        })
        .boxed()
}

fn report() -> BoxedStrategy<RejectionReport> {
    (0_u64..9, time(), any::<bool>())
        .prop_map(|(rotation, due_at, is_refuted)| RejectionReport { rotation, due_at, is_refuted })
        .boxed()
}

fn failure_record() -> BoxedStrategy<FailureRecord> {
    (attempt_id(), time(), select(FailureReason::ALL))
        .prop_map(|(attempt, at, reason)| FailureRecord { attempt, at, reason, message: "it failed".into() })
        .boxed()
}

fn restarted() -> BoxedStrategy<Restarted> {
    (select(&["web", "worker"]), 0_u64..9, time())
        .prop_map(|(name, rotation, at)| Restarted { target: deployment(name), rotation, at })
        .boxed()
}

/// A grant as any sequence of operators, users and accidents may have left it. What it holds was never refused, and what
/// it holds as a candidate was adopted: the two rules that every write keeps.
pub fn grant() -> BoxedStrategy<Grant> {
    let held = (
        0_u64..9,
        option::weighted(0.8, live_pair()),
        option::weighted(0.4, (token(), url(), attempts(), option::of(select(&CLIENTS)))),
        option::weighted(0.3, claim()),
        option::weighted(0.3, refusal()),
    );
    let ledger = (
        prop::collection::vec(known_token(), 0..4),
        option::of(failure_record()),
        option::of(select(&["monday", "tuesday"])),
        option::of(time()),
        prop::collection::vec(restarted(), 0..3),
        option::weighted(0.3, report()),
    );
    (held, ledger)
        .prop_map(
            |(
                (rotation, current, waiting, claim, refused),
                (adopted, last_failure, request, last_sent_at, restarts, report),
            )| {
                let mut grant = Grant::new(UID, rotation);
                grant.current = current;
                grant.candidate = waiting.map(|(token, url, attempts, owner)| {
                    let mut candidate = candidate(token, url.as_str());
                    candidate.attempts = attempts;
                    candidate.client_id = owner.map(|id| client(id).id_fingerprint());
                    candidate
                });
                grant.claim = claim;
                grant.history = adopted;
                if let Some(candidate) = &grant.candidate {
                    let record = &candidate;
                    grant.history.push(KnownToken::new(record.fingerprint.clone(), record.server.clone()));
                }
                grant.last_rejection = refused.filter(|refused| grant.holding(&refused.fingerprint).is_none());
                grant.last_failure = last_failure;
                grant.handled_request = request.map(str::to_owned);
                grant.last_sent_at = last_sent_at;
                grant.restarts = restarts;
                grant.rejection_report = report;
                grant
            },
        )
        .boxed()
}

fn grant_secret() -> BoxedStrategy<GrantSecret> {
    let versioned = |grant| Versioned { value: grant, version: "1".into() };
    prop_oneof![
        1 => Just(GrantSecret::Absent),
        12 => grant().prop_map(move |grant| GrantSecret::Ours(versioned(grant))),
        1 => grant().prop_map(move |grant| {
            GrantSecret::Stale(versioned(Grant { connection: "another uid".into(), ..grant }))
        }),
        1 => Just(GrantSecret::NotOwned),
        1 => Just(GrantSecret::Unreadable(Unreadable::Newer(2))),
    ]
    .boxed()
}

fn spec() -> BoxedStrategy<ResolvedSpec> {
    let place = (
        prop_oneof![
            9 => url().prop_map(Ok),
            1 => Just(Err(SpecProblem::NotAllowed("https://evil.example".into()))),
        ],
        1_i64..3,
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.1),
    );
    let rest = (
        option::weighted(0.2, 1_u64..3600),
        option::weighted(0.3, select(&["monday", "tuesday"])),
        any::<bool>(),
        1_u64..300_000,
        prop::collection::btree_set(select(&["web", "worker"]).prop_map(deployment), 0..3),
    );
    (place, rest)
        .prop_map(|((url, generation, deleting, suspend), (before, request, keep, retry_timeout, targets))| {
            let mut spec = Scene::new().snapshot.spec;
            spec.server = url.map(|url| server(url.as_str()));
            spec.generation = generation;
            spec.deleting = deleting;
            spec.suspend = suspend;
            spec.refresh_before = before.map(Duration::from_secs);
            spec.refresh_request = request.map(str::to_owned);
            spec.restart_targets = targets;
            spec.retry_timeout = Duration::from_secs(retry_timeout);
            if let Some(initial) = &mut spec.initial_grant {
                initial.keep = keep;
            }
            spec
        })
        .boxed()
}

fn initial() -> BoxedStrategy<InitialGrant> {
    prop_oneof![
        2 => Just(InitialGrant::Missing("create it".into())),
        1 => Just(InitialGrant::Invalid("replace it".into())),
        4 => (token(), prop::bool::weighted(0.2)).prop_map(|(token, shared)| {
            let mut initial = Scene::new().consent(token).snapshot.initial;
            if let InitialGrant::Present(token) = &mut initial
                && shared
            {
                token.sharing = Sharing::With("finance/other".into());
            }
            initial
        }),
    ]
    .boxed()
}

fn local() -> BoxedStrategy<LocalObservations> {
    let claim_owner = select(&[
        ClaimOwner::UnderWayHere,
        ClaimOwner::NeverSentHere,
        ClaimOwner::DeadHere,
        ClaimOwner::Elsewhere,
        ClaimOwner::Elsewhere,
    ]);
    (claim_owner, 0_u64..600_000, 0_u64..900_000, 0_u64..900_000)
        .prop_map(|(claim_owner, claim_ms, candidate_failure_ms, live_failure_ms)| LocalObservations {
            claim_owner: Some(claim_owner),
            claim_seen_for: Duration::from_millis(claim_ms),
            candidate_failure_seen_for: Duration::from_millis(candidate_failure_ms),
            current_failure_seen_for: Duration::from_millis(live_failure_ms),
            code_seen_for: Duration::from_millis(live_failure_ms),
            current_seen_for: Duration::ZERO,
            introspected: (claim_ms % 3 == 0).then_some((Introspected::Active, Duration::from_millis(claim_ms / 10))),
            held: (claim_ms % 5 == 0).then_some(ServerState::Refusing),
        })
        .boxed()
}

fn told() -> impl Strategy<Value = LastReported> {
    (0_u64..9, option::weighted(0.1, 0_u64..9))
        .prop_map(|(rotation, rejected_rotation)| LastReported { rotation, rejected_rotation })
}

/// A scene: anything that may be seen, at any time.
pub fn scene() -> BoxedStrategy<Scene> {
    let client = prop_oneof![
        9 => select(&CLIENTS).prop_map(|id| ClientSecretState::Present(client(id))),
        1 => Just(ClientSecretState::Missing("create it".into())),
    ];
    let token = select(&["published", "published", "published", "old", "edited", "absent", "foreign"]);
    let deferred = (any::<bool>(), any::<bool>()).prop_map(|(token_removal, old_secret_deletion)| Deferred {
        token_removal,
        old_secret_deletion,
        restarts: None,
    });
    let seen = (spec(), client, initial(), grant_secret(), token);
    (seen, option::weighted(0.1, Just("old-name".to_owned())), told(), deferred, local(), time())
        .prop_map(|((spec, client, initial, grant, token), retired, told, deferred, local, now)| {
            let mut scene = Scene::new();
            let has_claim = grant.ours().is_some_and(|grant| grant.value.claim.is_some());
            scene.snapshot = Snapshot {
                spec,
                client,
                initial,
                grant,
                token: TokenSecret::Absent,
                retired,
                reported: told,
                links: None,
                deferred,
                repairs: Repairs::default(),
                local: LocalObservations { claim_owner: local.claim_owner.filter(|_| has_claim), ..local },
            };
            scene.now = now;
            with_token_secret(scene, token)
        })
        .boxed()
}

fn with_token_secret(mut scene: Scene, token: &str) -> Scene {
    let desired = pleo_operator::domain::plan::projection::desired(&scene.snapshot, scene.now);
    match (token, desired) {
        ("foreign", _) => scene.snapshot.token = TokenSecret::NotOwned,
        ("published", Some(content)) => scene.publish(&content),
        ("old", Some(mut content)) => {
            content.rotation = content.rotation.saturating_sub(1);
            scene.publish(&content);
        }
        ("edited", Some(content)) => {
            scene.publish(&content);
            if let TokenSecret::Ours(published) = &mut scene.snapshot.token {
                published.value.content = None;
            }
        }
        _ => {}
    }
    scene
}
