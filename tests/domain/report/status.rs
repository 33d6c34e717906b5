//! The status as a whole: its times, its numbers, its transitions, and when it is written.

use pleo_operator::{
    api::PleoConnectionStatus,
    domain::{
        failure::Outcome,
        ledger::grant::RejectionReason,
        report::status,
        snapshot::{GrantSecret, LastReported, TokenSecret},
    },
};

use super::reasons::{FORBIDDEN, table};
use crate::scenes::{PACE, Scene, at, invalid_client, invalid_grant, no_connection, pair, rejection, reply, silence};

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
        [("Refreshed", false)],
        "that no user is needed goes without saying"
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

#[test]
fn what_a_status_tells_is_read_back() {
    let numbers =
        |rotation, rejected_rotation| PleoConnectionStatus { rotation, rejected_rotation, ..Default::default() };
    let told = |rotation, rejected_rotation| LastReported { rotation, rejected_rotation };
    assert_eq!(LastReported::by_status(&numbers(Some(7), Some(6))), told(7, Some(6)));
    assert_eq!(LastReported::by_status(&numbers(None, None)), told(0, None));
    assert_eq!(LastReported::by_status(&numbers(Some(-1), Some(-1))), told(0, None), "somebody edited it");
}

/// The numbers go on where the grant is gone, and never back.
#[test]
fn what_was_told_stays_told_without_a_grant() {
    let told = |rotation, rejected_rotation| {
        let scene = Scene::new().seeing(|seen| seen.reported = LastReported { rotation, rejected_rotation });
        let before = PleoConnectionStatus { rotation: Some(3), ..Default::default() };
        let after = scene.status_after(&before);
        (after.rotation, after.rejected_rotation)
    };
    assert_eq!(told(7, Some(7)), (Some(7), Some(7)));
    assert_eq!(told(0, None), (Some(3), None));
    let dead = Scene::dead(RejectionReason::GrantRefused).seeing(|seen| {
        seen.reported = LastReported { rotation: 7, rejected_rotation: Some(7) };
    });
    assert_eq!(dead.status().rejected_rotation, Some(7));
}

#[test]
fn the_token_secret_is_named_when_it_is_the_only_one() {
    let named = |scene: Scene| {
        let before = PleoConnectionStatus { secret_name: Some("old-name".into()), ..Default::default() };
        scene.status_after(&before).secret_name.unwrap()
    };
    assert_eq!(named(Scene::living()), "acme-token");
    assert_eq!(named(Scene::living().seeing(|seen| seen.retired = Some("old-name".into()))), "old-name");
    assert_eq!(named(Scene::living().seeing(|seen| seen.token = TokenSecret::Absent)), "old-name");
}

#[test]
fn another_reason_is_another_transition() {
    let (waits, dead) = (Scene::new().status(), Scene::dead(RejectionReason::GrantRefused).status());
    let (a, b) = (&waits.conditions[1], &dead.conditions[1]);
    assert!(a.status == b.status && a.reason != b.reason, "both need a human");
    let reasons: Vec<_> = status::transitions(&waits, &dead).into_iter().map(|told| told.reason).collect();
    assert!(reasons.contains(&"GrantRefused".to_owned()), "{reasons:?}");
}

/// While Secrets cannot be read, what was told last holds until the token ends; and then no more.
#[test]
fn a_status_without_secrets_keeps_what_is_still_true() {
    let before = Scene::living().status();
    let told = |seconds| status::without_secrets(&before, 5, "secrets is forbidden", at(seconds));
    let ready = |status: &PleoConnectionStatus| {
        let ready = &status.conditions[0];
        (ready.type_.clone(), ready.status.clone(), ready.reason.clone())
    };
    let word = |texts: (&str, &str, &str)| (texts.0.to_owned(), texts.1.to_owned(), texts.2.to_owned());
    for seconds in [0, 899] {
        assert_eq!(ready(&told(seconds)), word(("Ready", "True", "Refreshed")), "{seconds}");
    }
    for seconds in [900, 901] {
        assert_eq!(ready(&told(seconds)), word(("Ready", "False", "StorageRefused")), "{seconds}");
    }
    let status = told(100);
    let kinds: Vec<_> = status.conditions.iter().map(|told| (told.type_.as_str(), told.reason.as_str())).collect();
    assert_eq!(kinds, [("Ready", "Refreshed"), ("ReauthRequired", "GrantValid"), ("Stalled", "StorageRefused")]);
    assert!(status.conditions.iter().all(|told| told.observed_generation == Some(5)));
    assert!(status.conditions[0].message.contains("secrets is forbidden"));
    assert_eq!((status.observed_generation, &status.next_refresh_time), (Some(5), &None));
    assert_eq!((status.rotation, &status.secret_name), (before.rotation, &before.secret_name));
    assert!(status::tells_of_refused_storage(&status) && !status::tells_of_refused_storage(&before));
    let blank = status::without_secrets(&PleoConnectionStatus::default(), 1, "no", at(0));
    assert_eq!(blank.conditions[1].reason, "NotTried");
}
