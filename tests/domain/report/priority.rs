//! Of several reasons, the first is reported; and a usable token is Ready, whatever else is wrong.

use pleo_operator::domain::{
    governor::ServerState,
    ledger::{
        grant::RejectionReason,
        held::{Halt, HaltReason, NextAttempt},
        record::Unreadable,
    },
    snapshot::{ClientSecretState, GrantSecret, InitialGrant, TokenSecret},
    spec::SpecProblem,
};

use super::reasons::{
    FORBIDDEN, consent, expired, halted, pending, ready, shared, stalled, status, told, waiting, without_client,
};
use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, candidate, client, invalid_client, invalid_grant, no_connection, pair, server,
    silence, with_secret,
};

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
        NextAttempt::Halted(Halt {
            reason,
            client: client("acme-client").fingerprint(UID),
            generation: 1,
            retry: None,
            times: 1,
        })
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

/// True as long as the token is usable, whatever else is wrong; the message and `Stalled` say what.
#[test]
fn a_usable_token_is_ready_whatever_else_is_wrong() {
    let halt = |reason| {
        NextAttempt::Halted(Halt {
            reason,
            client: client("acme-client").fingerprint(UID),
            generation: 1,
            retry: None,
            times: 1,
        })
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

/// While the token works nothing has changed for anyone; then the reason says why it is not refreshed. No user is asked.
#[test]
fn a_connection_whose_server_is_held_says_why_once_its_token_has_expired() {
    let held = |scene: Scene, state| scene.seeing(|seen| seen.local.held = Some(state));
    for (state, reason, words) in [
        (ServerState::Refusing, "ServerRefusing", "the server rejects the tokens of many connections"),
        (ServerState::Failing, "RefreshFailing", "the server does not answer any connection"),
        (ServerState::Throttled, "RefreshFailing", "the server throttles all connections"),
        (ServerState::Healthy, "Progressing", "the next refresh is about to start"),
    ] {
        let planned = Scene::living().status();
        assert_eq!(held(Scene::living().at(850), state).status_after(&planned), planned, "no write is worth it");
        let late = held(expired(|_| {}), state);
        let ready = ready(&late);
        assert_eq!(ready.reason, reason);
        assert!(ready.message.contains(words), "{}", ready.message);
        assert_eq!((consent(&late).reason.as_str(), stalled(&late)), ("GrantValid", None));
    }
}
