//! What the user is told: every reason of every condition, whether it stalls, and the way back that its message names.
//! The tables of the documentation, as scenes.

use pleo_operator::{
    api::{ConditionStatus, PleoConnectionStatus, ReadyReason, Reason, ReauthReason},
    domain::{
        governor::ServerState,
        ledger::{
            grant::{Grant, RejectionReason, Which},
            held::{Halt, HaltReason, NextAttempt, Retry},
            record::Unreadable,
        },
        report::{problem, status},
        snapshot::{ClaimOwner, ClientSecretState, GrantSecret, InitialGrant, Sharing, TokenSecret, Versioned},
        spec::SpecProblem,
    },
};

use crate::scenes::{PACE, PRODUCTION, STAGING, Scene, UID, at, client, current, our_id, secs, server};

/// What the API server said to a write.
pub(super) const FORBIDDEN: &str = "secrets is forbidden: exceeded quota";

/// A condition as a reader of the status sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub status: String,
    pub reason: String,
    pub message: String,
}

pub(super) fn told(status: &PleoConnectionStatus, kind: &str) -> Option<Told> {
    let mut of_kind = status.conditions.iter().filter(|condition| condition.type_ == kind);
    let condition = of_kind.next().cloned();
    assert!(of_kind.next().is_none(), "{kind} stands there twice");
    condition.map(|told| Told { status: told.status, reason: told.reason, message: told.message })
}

pub(super) fn status(scene: &Scene, refused_by_storage: Option<&str>) -> PleoConnectionStatus {
    status::of(&scene.snapshot, &PleoConnectionStatus::default(), refused_by_storage, scene.now, PACE)
}

pub(super) fn ready(scene: &Scene) -> Told {
    told(&status(scene, None), "Ready").expect("Ready is always present")
}

pub(super) fn consent(scene: &Scene) -> Told {
    told(&status(scene, None), "ReauthRequired").expect("ReauthRequired is always present")
}

pub(super) fn stalled(scene: &Scene) -> Option<Told> {
    told(&status(scene, None), "Stalled")
}

/// A living connection whose token has ended, and whose refresh is halted or failing as `change` says.
pub(super) fn expired(change: impl FnOnce(&mut pleo_operator::domain::ledger::held::Attempts)) -> Scene {
    let mut scene = Scene::living().at(1000).with_current_tried(change);
    scene.rest();
    scene
}

pub(super) fn halted(reason: HaltReason) -> Scene {
    let halt = Halt { reason, client: client("acme-client").fingerprint(UID), generation: 1, retry: None, times: 1 };
    expired(|tried| (tried.failures, tried.next) = (3, NextAttempt::Halted(halt)))
}

pub(super) fn waiting(tried: &mut pleo_operator::domain::ledger::held::Attempts) {
    let attempt = pleo_operator::domain::ledger::held::AttemptId("here-1".into());
    tried.failures = 3;
    tried.next = NextAttempt::Retry(Retry { attempt, failed_at: at(990), wait_ms: 60_000, settle_ms: 30_000 });
}

pub(super) fn shared(mut scene: Scene) -> Scene {
    let InitialGrant::Present(token) = &mut scene.snapshot.initial else { panic!("a consent") };
    token.sharing = Sharing::With("finance/other".into());
    scene
}

fn predecessor(scene: Scene) -> Scene {
    scene.seeing(|seen| {
        let mut old = Grant::new("another uid", 30);
        old.current = Some(current("refresh-30", PRODUCTION, at(0), secs(900)));
        seen.grant = GrantSecret::Stale(Versioned { value: old, version: "7".into() });
    })
}

pub(super) fn without_client(scene: Scene) -> Scene {
    scene.seeing(|seen| {
        seen.client = ClientSecretState::Missing("there is no Secret pleo-client: create it".into());
    })
}

pub(super) fn pending(scene: Scene) -> Scene {
    let mut scene = scene;
    scene.rest();
    scene
}

/// One row of the table of `Ready`.
pub(super) struct Row {
    pub reason: ReadyReason,
    pub scene: Scene,
    pub storage: Option<&'static str>,
    /// ●
    pub stalls: bool,
    pub status: &'static str,
    /// Words of the message: what it is, and what to touch.
    pub way_back: &'static [&'static str],
}

fn row(reason: ReadyReason, scene: Scene, way_back: &'static [&'static str]) -> Row {
    use ReadyReason as R;
    let stalls = match reason {
        R::InvalidSpec
        | R::ServerNotAllowed
        | R::SecretConflict
        | R::GrantUnreadable
        | R::StorageRefused
        | R::ReauthRequired
        | R::InitialGrantInvalid
        | R::GrantShared
        | R::InvalidClient
        | R::InvalidRequest
        | R::RetriesExhausted => true,
        R::Refreshed
        | R::ClientSecretMissing
        | R::InitialGrantMissing
        | R::ServerRefusing
        | R::Suspended
        | R::RefreshInDoubt
        | R::Progressing
        | R::RefreshFailing => false,
    };
    let status = match reason {
        R::Refreshed => "True",
        R::RefreshInDoubt | R::Progressing => "Unknown",
        _ => "False",
    };
    let storage = (reason == R::StorageRefused).then_some(FORBIDDEN);
    Row { reason, scene, storage, stalls, status, way_back }
}

/// Every row, in the order of the documentation.
pub(super) fn table() -> Vec<Row> {
    use ReadyReason as R;
    let invalid = SpecProblem::Invalid("spec.server.caBundle is not PEM: put the CA's certificates there".into());
    let forbidden = SpecProblem::NotAllowed("https://auth.example.com".into());
    let suspended = |scene: Scene| scene.with_spec(|spec| spec.suspend = true);
    vec![
        row(
            R::Refreshed,
            Scene::living(),
            &["usable until 2026-03-02T12:15:00Z", "next refresh is due at 2026-03-02T12:13"],
        ),
        row(
            R::InvalidSpec,
            Scene::new().with_spec(|spec| spec.server = Err(invalid)),
            &["spec.server.caBundle", "put"],
        ),
        row(
            R::ServerNotAllowed,
            Scene::new().with_spec(|spec| spec.server = Err(forbidden)),
            &["--allowed-server https://auth.example.com"],
        ),
        row(
            R::SecretConflict,
            Scene::new().seeing(|seen| seen.token = TokenSecret::NotOwned),
            &["Secret acme-token", "spec.secretName", "remove"],
        ),
        row(
            R::SecretConflict,
            pending(Scene::new()).seeing(|seen| seen.grant = GrantSecret::NotOwned),
            &["Secret pleo-grant-acme", "rename", "remove"],
        ),
        row(
            R::GrantUnreadable,
            pending(Scene::new()).seeing(|seen| seen.grant = GrantSecret::Unreadable(Unreadable::Newer(2))),
            &["Secret pleo-grant-acme", "restore", "upgrade", "delete it and authorize again"],
        ),
        row(
            R::StorageRefused,
            Scene::new().consent("consent-1"),
            &[FORBIDDEN, "rights", "policy", "quota", "automatically"],
        ),
        row(R::ClientSecretMissing, without_client(pending(Scene::new())), &["Secret pleo-client", "create"]),
        row(
            R::ReauthRequired,
            Scene::dead(RejectionReason::GrantRefused),
            &["put a new refresh token into the Secret acme-grant, key refresh_token"],
        ),
        row(R::InitialGrantMissing, pending(Scene::new()), &["Secret acme-grant", "refresh_token"]),
        row(
            R::InitialGrantInvalid,
            pending(Scene::new().seeing(|seen| {
                seen.initial = InitialGrant::Invalid("what stands in the Secret acme-grant is empty: put …".into());
            })),
            &["Secret acme-grant"],
        ),
        row(
            R::GrantShared,
            pending(shared(Scene::new().consent("consent-1"))),
            &["finance/other", "authorization of its own"],
        ),
        row(
            R::InvalidClient,
            halted(HaltReason::InvalidClient),
            &["Secret pleo-client", "spec.client", "grant is kept"],
        ),
        row(R::InvalidRequest, halted(HaltReason::InvalidRequest), &["spec", "Secret pleo-client", "grant is kept"]),
        row(
            R::RetriesExhausted,
            halted(HaltReason::RetriesExhausted),
            &["annotation pleo.io/refresh-requested-at", "grant is kept"],
        ),
        row(
            R::ServerRefusing,
            expired(|_| {}).seeing(|seen| seen.local.held = Some(ServerState::Refusing)),
            &["not lost", "do not authorize again", "ask the provider", "pleo.io/refresh-requested-at"],
        ),
        row(R::Suspended, pending(suspended(Scene::living().at(1000))), &["spec.suspend", "unset"]),
        row(
            R::RefreshInDoubt,
            expired(|tried| {
                waiting(tried);
                tried.outcome_unknown = true;
            }),
            &["may have used", "automatically"],
        ),
        row(
            R::RefreshInDoubt,
            Scene::adopted().with_claim("consent-1", at(0), ClaimOwner::Elsewhere, 0),
            &["may have used", "automatically"],
        ),
        row(R::Progressing, Scene::adopted(), &["first refresh"]),
        row(R::Progressing, Scene::new().consent("consent-1"), &["first refresh"]),
        row(R::RefreshFailing, expired(waiting), &["3 refreshes in a row failed", "automatically"]),
    ]
}

#[test]
fn every_reason_of_ready_is_told_with_its_status_and_its_way_back() {
    for Row { reason, scene, storage, stalls, status: expected, way_back } in table() {
        let status = status(&scene, storage);
        let ready = told(&status, "Ready").unwrap();
        assert_eq!((ready.reason.as_str(), ready.status.as_str()), (reason.as_str(), expected), "{}", ready.message);
        for words in way_back {
            assert!(ready.message.contains(words), "{reason}: {:?} does not say {words:?}", ready.message);
        }
        let stalled = told(&status, "Stalled");
        match stalls {
            true => assert_eq!(stalled, Some(Told { status: "True".into(), ..ready }), "{reason}"),
            false => assert_eq!(stalled, None, "{reason}"),
        }
        assert!(told(&status, "ReauthRequired").is_some(), "{reason}: ReauthRequired is always present");
    }
}

#[test]
fn every_reason_of_ready_has_a_row() {
    let rows: Vec<_> = table().into_iter().map(|row| row.reason).collect();
    for reason in ReadyReason::ALL {
        assert!(rows.contains(reason), "{reason}");
    }
    assert!(rows.is_sorted(), "in the order of the documentation");
}

#[test]
fn every_reason_of_reauth_required_is_told_with_its_status_and_its_way_back() {
    use ReauthReason as R;
    let put = "put a new refresh token into the Secret acme-grant, key refresh_token";
    let moved = Scene::living().with_spec(|spec| spec.server = Ok(server(STAGING)));
    let unproved_and_moved = Scene::adopted()
        .seeing(|seen| seen.initial = Scene::new().snapshot.initial)
        .with_spec(|spec| spec.server = Ok(server(STAGING)));
    let doubtful = Scene::adopted().with_grant(|grant| {
        grant.bind(Which::Candidate, &our_id());
        grant.attempts_mut(Which::Candidate).expect("a candidate").outcome_unknown = true;
    });
    let mut rows = vec![
        (R::GrantValid, Scene::living(), "False", ""),
        (R::GrantValid, halted(HaltReason::InvalidClient), "False", ""),
        (R::NotTried, Scene::adopted(), "Unknown", ""),
        (R::NotTried, Scene::new().consent("consent-1"), "Unknown", ""),
        (R::NotTried, Scene::dead(RejectionReason::GrantRefused).consent("consent-2"), "Unknown", ""),
        (R::NotTried, predecessor(Scene::new().consent("consent-2")), "Unknown", ""),
        (R::NotAuthorized, Scene::new(), "True", "Secret acme-grant"),
        (R::NotAuthorized, shared(Scene::new().consent("consent-1")), "True", put),
        (R::GrantRefused, Scene::dead(RejectionReason::GrantRefused), "True", put),
        (R::TokenInvalid, Scene::dead(RejectionReason::TokenInvalid), "True", put),
        (R::RotationLost, Scene::dead(RejectionReason::RotationLost), "True", put),
        (R::UnknownRejection, halted(HaltReason::UnknownRejection), "True", "tried hourly"),
        (R::ServerChanged, moved, "True", "change the spec back"),
        (R::ServerChanged, unproved_and_moved, "True", "change the spec back"),
        (R::ClientChanged, Scene::living().client("another"), "True", "put the old client_id back"),
        (R::ClientChanged, doubtful.client("another"), "True", "client_id in the Secret pleo-client"),
        (R::NotTried, Scene::adopted().client("another"), "Unknown", ""),
        (R::GrantRestored, predecessor(Scene::new()), "True", put),
    ];
    for (reason, scene, status, way_back) in &rows {
        let told = consent(scene);
        assert_eq!((told.reason.as_str(), told.status.as_str()), (reason.as_str(), *status), "{}", told.message);
        assert!(told.message.contains(way_back), "{reason}: {:?} does not say {way_back:?}", told.message);
    }
    rows.retain(|(reason, scene, ..)| {
        reason.status() == ConditionStatus::True && *reason != R::NotAuthorized && scene.clone().at(1000).is_sending()
    });
    assert!(rows.is_empty(), "nothing is sent where a human must consent");
    let told: Vec<_> = R::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        told,
        [
            "GrantValid",
            "NotTried",
            "NotAuthorized",
            "GrantRefused",
            "TokenInvalid",
            "RotationLost",
            "UnknownRejection",
            "ServerChanged",
            "ClientChanged",
            "GrantRestored"
        ]
    );
}

#[test]
fn every_reason_for_a_new_consent_but_the_first_makes_ready_say_so() {
    let moved = Scene::living().at(1000).with_spec(|spec| spec.server = Ok(server(STAGING)));
    for scene in [
        Scene::dead(RejectionReason::GrantRefused),
        Scene::dead(RejectionReason::TokenInvalid),
        Scene::dead(RejectionReason::RotationLost),
        halted(HaltReason::UnknownRejection),
        moved,
        pending(predecessor(Scene::new())),
    ] {
        assert_eq!((ready(&scene).reason.as_str(), ready(&scene).message), ("ReauthRequired", consent(&scene).message));
        assert_eq!(stalled(&scene).unwrap().reason, "ReauthRequired");
    }
    assert_eq!(ready(&pending(Scene::new())).reason, "InitialGrantMissing", "and NotAuthorized says what is missing");
}

#[test]
fn the_message_names_the_key_that_the_spec_names_or_asks_for_one() {
    let other = Scene::dead(RejectionReason::GrantRefused).with_spec(|spec| {
        spec.initial_grant.as_mut().unwrap().key = "token".into();
    });
    assert!(consent(&other).message.contains("Secret acme-grant, key token"));
    let none = Scene::dead(RejectionReason::GrantRefused).with_spec(|spec| spec.initial_grant = None);
    assert!(consent(&none).message.contains("spec.initialGrant.secretRef"));
}

/// X4: a consent is there, so nobody is asked for one.
#[test]
fn nobody_is_asked_for_a_consent_that_stands_there_because_the_spec_is_wrong() {
    let nowhere = |scene: Scene| {
        scene.with_spec(|spec| spec.server = Err(SpecProblem::NotAllowed("https://auth.example.com".into())))
    };
    for scene in [Scene::new(), Scene::dead(RejectionReason::GrantRefused), predecessor(Scene::new())] {
        assert_eq!(consent(&nowhere(scene.consent("consent-2"))).status, "Unknown");
    }
}

/// That nobody can tell whether a consent is shared is a matter of rights, and is said.
#[test]
fn what_cannot_be_checked_is_told() {
    let mut scene = Scene::new().consent("consent-1");
    let InitialGrant::Present(token) = &mut scene.snapshot.initial else { panic!("a consent") };
    token.sharing = Sharing::Unchecked("secrets is forbidden".into());
    let problems = problem::problems(&scene.snapshot, None, scene.now);
    let refused = problems.iter().find(|problem| problem.reason == ReadyReason::StorageRefused).expect("told");
    assert!(refused.message.contains("secrets is forbidden"));
}
