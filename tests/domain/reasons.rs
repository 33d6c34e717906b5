//! What the user is told: every reason of every condition, whether it stalls, and the way back that its message names.
//! The tables of the documentation, as scenes.

use pleo_operator::{
    api::{ConditionStatus, PleoConnectionStatus, ReadyReason, Reason, ReauthReason},
    domain::{
        failure::Outcome,
        ledger::{
            grant::{Grant, RejectionReason, Which},
            held::{Halt, HaltReason, NextAttempt, Retry},
            record::Unreadable,
        },
        report::status,
        snapshot::{ClaimOwner, ClientSecretState, GrantSecret, InitialGrant, Sharing, TokenSecret, Versioned},
        spec::SpecProblem,
    },
};

use super::scenes::{
    PACE, PRODUCTION, STAGING, Scene, UID, at, candidate, client, current, invalid_client, invalid_grant,
    no_connection, our_id, pair, rejection, reply, secs, server, silence, with_secret,
};

/// What the API server said to a write.
const FORBIDDEN: &str = "secrets is forbidden: exceeded quota";

/// A condition as a reader of the status sees it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: String,
    reason: String,
    message: String,
}

fn told(status: &PleoConnectionStatus, kind: &str) -> Option<Told> {
    let mut of_kind = status.conditions.iter().filter(|condition| condition.type_ == kind);
    let condition = of_kind.next().cloned();
    assert!(of_kind.next().is_none(), "{kind} stands there twice");
    condition.map(|told| Told { status: told.status, reason: told.reason, message: told.message })
}

fn status(scene: &Scene, refused_by_storage: Option<&str>) -> PleoConnectionStatus {
    status::of(&scene.snapshot, &PleoConnectionStatus::default(), refused_by_storage, scene.now, PACE)
}

fn ready(scene: &Scene) -> Told {
    told(&status(scene, None), "Ready").expect("Ready is always present")
}

fn consent(scene: &Scene) -> Told {
    told(&status(scene, None), "ReauthRequired").expect("ReauthRequired is always present")
}

fn stalled(scene: &Scene) -> Option<Told> {
    told(&status(scene, None), "Stalled")
}

/// A living connection whose token has ended, and whose refresh is halted or failing as `change` says.
fn expired(change: impl FnOnce(&mut pleo_operator::domain::ledger::held::Attempts)) -> Scene {
    let mut scene = Scene::living().at(1000).with_current_tried(change);
    scene.rest();
    scene
}

fn halted(reason: HaltReason) -> Scene {
    let halt = Halt { reason, client: client("acme-client").fingerprint(UID), generation: 1, retry: None };
    expired(|tried| (tried.failures, tried.next) = (3, NextAttempt::Halted(halt)))
}

fn waiting(tried: &mut pleo_operator::domain::ledger::held::Attempts) {
    let attempt = pleo_operator::domain::ledger::held::AttemptId("here-1".into());
    tried.failures = 3;
    tried.next = NextAttempt::Retry(Retry { attempt, failed_at: at(990), wait_ms: 60_000, settle_ms: 30_000 });
}

fn shared(mut scene: Scene) -> Scene {
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

fn without_client(scene: Scene) -> Scene {
    scene.seeing(|seen| {
        seen.client = ClientSecretState::Missing("there is no Secret pleo-client: create it".into());
    })
}

fn pending(scene: Scene) -> Scene {
    let mut scene = scene;
    scene.rest();
    scene
}

/// One row of the table of `Ready`.
struct Row {
    reason: ReadyReason,
    scene: Scene,
    storage: Option<&'static str>,
    /// ●
    stalls: bool,
    status: &'static str,
    /// Words of the message: what it is, and what to touch.
    way_back: &'static [&'static str],
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
fn table() -> Vec<Row> {
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

/// Two things are wrong: the first in the order of the documentation is told, whatever the order of their coming.
#[test]
fn of_several_reasons_the_first_is_told() {
    let spec_wrong = |scene: Scene| {
        scene.with_spec(|spec| spec.server = Err(SpecProblem::Invalid("spec.server.caBundle is not PEM".into())))
    };
    let not_allowed = |scene: Scene| {
        scene.with_spec(|spec| spec.server = Err(SpecProblem::NotAllowed("https://evil.example".into())))
    };
    let conflict = |scene: Scene| scene.seeing(|seen| seen.token = TokenSecret::NotOwned);
    let unreadable = |scene: Scene| scene.seeing(|seen| seen.grant = GrantSecret::Unreadable(Unreadable::Newer(2)));
    let suspended = |scene: Scene| scene.with_spec(|spec| spec.suspend = true);
    let invalid = |scene: Scene| scene.seeing(|seen| seen.initial = InitialGrant::Invalid("no token".into()));
    let dead = || Scene::dead(RejectionReason::GrantRefused);
    let doubtful = |scene: Scene| scene.with_current_tried(|tried| tried.outcome_unknown = true);
    for (scene, first) in [
        (spec_wrong(conflict(dead())), "InvalidSpec"),
        (not_allowed(unreadable(dead())), "ServerNotAllowed"),
        (conflict(unreadable(without_client(Scene::new()))), "SecretConflict"),
        (unreadable(without_client(suspended(pending(Scene::new())))), "GrantUnreadable"),
        (without_client(dead()), "ClientSecretMissing"),
        (invalid(dead()), "ReauthRequired"),
        (shared(dead().consent("consent-2")), "ReauthRequired"),
        (suspended(dead()), "ReauthRequired"),
        (suspended(pending(Scene::new())), "InitialGrantMissing"),
        (invalid(halted(HaltReason::InvalidClient)), "InitialGrantInvalid"),
        (shared(halted(HaltReason::InvalidClient).consent("consent-2")), "GrantShared"),
        (suspended(halted(HaltReason::InvalidClient)), "InvalidClient"),
        (doubtful(halted(HaltReason::InvalidRequest)), "InvalidRequest"),
        (suspended(halted(HaltReason::RetriesExhausted)), "RetriesExhausted"),
        (suspended(doubtful(expired(waiting))), "Suspended"),
        (doubtful(expired(waiting)), "RefreshInDoubt"),
        (
            expired(waiting).with_grant(|grant| grant.candidate = Some(candidate("consent-2", PRODUCTION))),
            "Progressing",
        ),
    ] {
        assert_eq!(ready(&scene).reason, first, "{}", ready(&scene).message);
    }
    let refused_by_storage = status(&without_client(dead()), Some(FORBIDDEN));
    assert_eq!(told(&refused_by_storage, "Ready").unwrap().reason, "StorageRefused");
}

#[test]
fn of_two_halts_the_first_in_the_table_is_told() {
    let halt = |reason| {
        NextAttempt::Halted(Halt { reason, client: client("acme-client").fingerprint(UID), generation: 1, retry: None })
    };
    let scene = halted(HaltReason::InvalidClient)
        .with_grant(|grant| grant.candidate = Some(candidate("consent-2", PRODUCTION)))
        .with_candidate_tried(|tried| tried.next = halt(HaltReason::RetriesExhausted));
    assert_eq!(ready(&scene).reason, "InvalidClient");
}

#[test]
fn a_candidate_of_another_server_is_not_under_way() {
    let scene = expired(waiting).with_grant(|grant| grant.candidate = Some(candidate("consent-2", STAGING)));
    assert_eq!(ready(&scene).reason, "RefreshFailing");
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

/// True as long as the token is usable, whatever else is wrong; the message and `Stalled` say what.
#[test]
fn a_usable_token_is_ready_whatever_else_is_wrong() {
    let halt = |reason| {
        NextAttempt::Halted(Halt { reason, client: client("acme-client").fingerprint(UID), generation: 1, retry: None })
    };
    for (scene, problem, stalls) in [
        (without_client(Scene::living()), "pleo-client", Some("ClientSecretMissing")),
        (Scene::living().client("another"), "put the old client_id back", Some("ReauthRequired")),
        (Scene::living().with_spec(|spec| spec.suspend = true), "spec.suspend", None),
        (
            Scene::living().with_spec(|spec| spec.server = Err(SpecProblem::NotAllowed("https://evil.example".into()))),
            "https://evil.example",
            Some("ServerNotAllowed"),
        ),
        (
            Scene::living().with_spec(|spec| spec.server = Ok(server(STAGING))),
            "change the spec back",
            Some("ReauthRequired"),
        ),
        (Scene::living().seeing(|seen| seen.grant = GrantSecret::NotOwned), "pleo-grant-acme", Some("SecretConflict")),
        (
            Scene::living().seeing(|seen| seen.grant = GrantSecret::Unreadable(Unreadable::Newer(2))),
            "upgrade",
            Some("GrantUnreadable"),
        ),
        (
            Scene::living().with_current_tried(|tried| tried.next = halt(HaltReason::InvalidClient)),
            "rejects the client",
            Some("InvalidClient"),
        ),
        (
            Scene::living().with_current_tried(|tried| tried.next = halt(HaltReason::RetriesExhausted)),
            "retryTimeout",
            Some("RetriesExhausted"),
        ),
        (shared(Scene::living().consent("consent-2")), "finance/other", Some("GrantShared")),
        (
            Scene::living().seeing(|seen| seen.initial = InitialGrant::Invalid("what stands there is empty".into())),
            "is empty",
            Some("InitialGrantInvalid"),
        ),
        (Scene::living().with_current_tried(|tried| tried.outcome_unknown = true), "may have used", None),
        (Scene::living().seeing(|seen| seen.grant = GrantSecret::Absent), "acme-grant", None),
    ] {
        let scene = scene.at(100);
        let ready = ready(&scene);
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Refreshed"), "{}", ready.message);
        assert!(ready.message.contains(problem), "{:?} does not say {problem:?}", ready.message);
        assert_eq!(stalled(&scene).map(|told| told.reason).as_deref(), stalls, "{}", ready.message);
    }
}

#[test]
fn a_token_stops_being_usable_at_its_very_end() {
    let scene = Scene::living().with_spec(|spec| spec.suspend = true);
    assert_eq!(ready(&scene.clone().at(899)).status, "True");
    assert_eq!(ready(&scene.at(900)).reason, "Suspended");
}

/// The way of a connection through its life, as `kubectl` shows it.
#[test]
fn a_connections_life_told_by_its_reasons() {
    let mut scene = Scene::new();
    let told = |scene: &Scene| (ready(scene).reason, consent(scene).reason);
    let expect = |scene: &Scene, ready: &str, reauth: &str| {
        assert_eq!(told(scene), (ready.to_owned(), reauth.to_owned()));
    };
    scene.rest();
    expect(&scene, "InitialGrantMissing", "NotAuthorized");
    scene = scene.consent("consent-1");
    scene.rest();
    expect(&scene, "Progressing", "NotTried");
    scene.exchange(pair("1"));
    expect(&scene, "Refreshed", "GrantValid");
    scene = scene.at(850);
    scene.exchange(silence());
    expect(&scene, "Refreshed", "GrantValid");
    scene = scene.at(880);
    scene.exchange(silence());
    scene = scene.at(901);
    scene.rest();
    expect(&scene, "RefreshInDoubt", "GrantValid");
    scene = scene.at(940);
    scene.exchange(invalid_grant());
    expect(&scene, "ReauthRequired", "RotationLost");
    scene = scene.at(2000).consent("consent-2");
    scene.exchange(pair("2"));
    expect(&scene, "Refreshed", "GrantValid");
    scene = scene.at(2850);
    scene.exchange(invalid_client());
    expect(&scene, "Refreshed", "GrantValid");
    scene = scene.at(3000);
    scene.rest();
    expect(&scene, "InvalidClient", "GrantValid");
    scene = scene.seeing(|seen| seen.client = ClientSecretState::Present(with_secret("mended")));
    scene.exchange(no_connection());
    expect(&scene, "RefreshFailing", "GrantValid");
    scene = scene.at(3010);
    scene.exchange(pair("3"));
    expect(&scene, "Refreshed", "GrantValid");
}

/// I9, and somebody should know.
#[test]
fn a_consent_that_was_refused_beside_a_living_grant_is_told_without_an_alarm() {
    let mut scene = Scene::living().at(100).consent("bad-consent");
    scene.exchange(invalid_grant());
    let ready = ready(&scene);
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Refreshed"));
    assert!(ready.message.contains("the new authorization was rejected at 2026-03-02T12:01:40Z"));
    assert!(ready.message.contains("Secret acme-grant"));
    assert_eq!((consent(&scene).reason.as_str(), stalled(&scene)), ("GrantValid", None));
}

fn transition_times(status: &PleoConnectionStatus) -> Vec<(String, String)> {
    let time = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        (condition.type_.clone(), condition.last_transition_time.0.to_string())
    };
    status.conditions.iter().map(time).collect()
}

#[test]
fn a_transition_time_moves_on_a_transition_and_only_then() {
    let scene = Scene::living();
    let first = scene.status();
    assert!(transition_times(&first).iter().all(|(_, time)| time == "2026-03-02T12:00:00Z"));

    let mut rotated = scene.clone().at(850);
    rotated.exchange(pair("8"));
    let second = rotated.status_after(&first);
    assert_ne!(second, first, "another end, another refresh");
    assert_eq!(transition_times(&second), transition_times(&first), "but no transition");

    let mut dead = rotated.at(1700);
    dead.exchange(invalid_grant());
    let third = dead.status_after(&second);
    let moved: Vec<_> = transition_times(&third).into_iter().map(|(_, time)| time).collect();
    assert_eq!(moved, ["2026-03-02T12:28:20Z"; 3], "Ready, ReauthRequired and Stalled");
    let fourth = dead.clone().at(9000).status_after(&third);
    assert_eq!(fourth, third);
}

/// I6: no write where nothing changed.
#[test]
fn the_same_state_gives_the_same_status_at_every_look() {
    for row in table().into_iter().filter(|row| row.storage.is_none()) {
        let first = row.scene.status();
        assert_eq!(row.scene.status_after(&first), first, "{}", row.reason);
        let mut later = row.scene;
        later.go_to(later.now + jiff::SignedDuration::from_millis(2500));
        if !later.is_sending() {
            assert_eq!(later.status_after(&first), first, "{}", row.reason);
        }
    }
}

#[test]
fn a_storage_that_refuses_is_told_once() {
    for scene in [Scene::adopted(), Scene::living().at(850)] {
        let told = |scene: &Scene, previous: &PleoConnectionStatus| {
            status::of(&scene.snapshot, previous, Some(FORBIDDEN), scene.now, PACE)
        };
        let first = told(&scene, &PleoConnectionStatus::default());
        let mut later = scene;
        later.go_to(later.now + jiff::SignedDuration::from_secs(15));
        assert_eq!(told(&later, &first), first);
    }
}

#[test]
fn the_rest_of_the_status_is_a_picture_of_the_ledger() {
    let status = Scene::living().status();
    assert_eq!((status.rotation, status.failures, status.observed_generation), (Some(7), Some(0), Some(1)));
    assert_eq!(status.last_refresh_time.unwrap().0, at(0));
    assert_eq!(status.expiration_time.unwrap().0, at(900));
    assert!((at(800)..=at(810)).contains(&status.next_refresh_time.unwrap().0));
    assert_eq!((status.secret_name.as_deref(), status.last_failure), (Some("acme-token"), None));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(1)));

    let mut scene = Scene::living().at(850).with_spec(|spec| {
        spec.generation = 4;
        spec.refresh_request = Some("monday".into());
    });
    scene.exchange(reply(503, ""));
    let status = scene.status();
    assert_eq!((status.observed_generation, status.failures), (Some(4), Some(1)));
    assert_eq!(status.last_handled_refresh_request.as_deref(), Some("monday"));
    assert_eq!(status.next_refresh_time.unwrap().0, at(880));
    let failure = status.last_failure.unwrap();
    assert_eq!((failure.time.0, failure.reason.as_str()), (at(850), "OutcomeUnknown"));
}

#[test]
fn what_the_ledger_told_stays_when_the_grant_is_gone() {
    let before = Scene::living().status();
    let gone = Scene::living().at(100).seeing(|seen| seen.grant = GrantSecret::Absent).status_after(&before);
    assert_eq!((gone.rotation, &gone.last_refresh_time), (Some(7), &before.last_refresh_time));
    assert_eq!(gone.next_refresh_time, None);
}

/// S3: the old Secret is found by the name in the status, so that name stays until the new one is published.
#[test]
fn the_name_of_the_old_secret_is_not_forgotten_while_the_new_one_cannot_be_written() {
    let before = Scene::living().status();
    for token in [TokenSecret::NotOwned, TokenSecret::Absent] {
        let renamed = Scene::living()
            .at(100)
            .with_spec(|spec| spec.secret_name = "taken".into())
            .seeing(|seen| (seen.token, seen.retired) = (token, Some("acme-token".into())));
        assert_eq!(renamed.status_after(&before).secret_name.as_deref(), Some("acme-token"));
    }
}

#[test]
fn events_mark_transitions_and_not_every_success() {
    let scene = Scene::living();
    let first = scene.status();
    let came = status::transitions(&PleoConnectionStatus::default(), &first);
    assert_eq!(
        came.iter().map(|event| (event.reason.as_str(), event.warning)).collect::<Vec<_>>(),
        [("Refreshed", false), ("GrantValid", false)]
    );
    let mut rotated = scene.at(850);
    rotated.exchange(pair("8"));
    let second = rotated.status_after(&first);
    assert_eq!(status::transitions(&first, &second), []);

    let mut dead = rotated.at(1700);
    dead.exchange(invalid_grant());
    let third = dead.status_after(&second);
    let events = status::transitions(&second, &third);
    // One for each condition that has a reason of its own; `Stalled` only repeats.
    assert_eq!(
        events.iter().map(|event| (event.reason.as_str(), event.warning)).collect::<Vec<_>>(),
        [("ReauthRequired", true), ("GrantRefused", true)]
    );
    assert_eq!(status::transitions(&third, &third), []);
}

#[test]
fn a_status_before_an_exchange_is_worth_a_write_only_if_a_condition_changed() {
    let scene = Scene::living();
    let first = scene.status();
    let second = scene.clone().at(850).status_after(&first);
    assert!(status::same_conditions(&first, &second));
    let third = scene.at(901).status_after(&first);
    assert!(!status::same_conditions(&first, &third));
}

/// I5.
#[test]
fn no_status_and_no_event_holds_a_secret() {
    let outcomes: [fn() -> Outcome; 5] = [|| pair("8"), invalid_grant, silence, invalid_client, no_connection];
    for outcome in outcomes {
        for scene in [Scene::living().at(850), Scene::adopted()] {
            let mut scene = scene;
            scene.exchange(outcome());
            let scene = scene
                .with_grant(|grant| grant.last_rejection = Some(rejection("consent-0", RejectionReason::GrantRefused)));
            let status = scene.status();
            let events = status::transitions(&PleoConnectionStatus::default(), &status);
            let all = format!("{} {events:?} {:?}", serde_json::to_string(&status).unwrap(), scene.snapshot);
            for secret in ["refresh-7", "refresh-8", "access-7", "access-8", "consent-1", "consent-0", "client-secret"]
            {
                assert!(!all.contains(secret), "{secret} in {all}");
            }
        }
    }
}
