//! A client's report that the API rejects the access token: one early refresh, and not often, whatever clients say.

use pleo_operator::domain::{
    ledger::{
        grant::{Grant, RejectionReason, Which},
        rejection_report::RejectionReport,
    },
    plan::{
        next_refresh::{NextRefresh, WaitReason},
        rejection_report::{Ignored, due, is_proved, note, refuted},
    },
    possession::proof,
    snapshot::ClaimOwner,
    token::AccessToken,
};

use crate::scenes::{Scene, at, pair, silence};

/// The report at this second after noon, when the token was issued.
fn noted(scene: &Scene, seconds: i64) -> Result<Grant, Ignored> {
    note(scene.grant(), &scene.snapshot.spec, at(seconds))
}

fn reported(scene: Scene, seconds: i64) -> Scene {
    let grant = noted(&scene, seconds).unwrap();
    scene.holding(grant).at(seconds)
}

#[test]
fn a_report_moves_the_refresh_of_its_rotation_to_now() {
    let mut scene = Scene::living();
    assert!(!scene.at(100).is_sending());
    scene = reported(Scene::living(), 100);
    assert!(scene.sends().which == Which::Current && due(scene.grant()).is_some());
    scene.exchange(pair("8"));
    assert!(due(scene.grant()).is_none() && !scene.is_sending(), "the next token was not reported");
}

#[test]
fn only_who_has_the_current_access_token_can_report_it() {
    let scene = Scene::living();
    let proof_of = |token: &str| proof(&AccessToken::new(token));
    assert!(is_proved(scene.grant(), &proof_of("access-7")));
    for other in ["access-6", "refresh-7", ""] {
        assert!(!is_proved(scene.grant(), &proof_of(other)), "{other}");
    }
    assert!(
        !is_proved(Scene::dead(RejectionReason::GrantRefused).grant(), &proof_of("access-7")),
        "where there is no token"
    );
}

/// The token lives for 900 s, and its refresh is planned for 810 s or a little earlier.
#[test]
fn a_report_changes_nothing_where_it_would_do_no_good() {
    let scene = Scene::living;
    assert_eq!(noted(&scene(), 800), Err(Ignored::DueSoon));
    let suspended = scene().with_spec(|spec| spec.suspend = true);
    assert_eq!(noted(&suspended, 100), Err(Ignored::Suspended));
    let under_way = scene().with_claim("refresh-7", at(99), ClaimOwner::Elsewhere, 1);
    assert_eq!(noted(&under_way, 100), Err(Ignored::DueSoon));
    assert_eq!(noted(&Scene::dead(RejectionReason::GrantRefused), 100), Err(Ignored::DueSoon));
}

#[test]
fn a_token_of_less_than_a_minute_is_refreshed_once_it_is_that_old() {
    let scene = reported(Scene::living(), 5);
    assert_eq!(scene.next_refresh(), NextRefresh::At(at(60), WaitReason::NextRefresh));
    assert!(scene.at(60).is_sending());
}

/// A grant whose token of the rotation before was reported, and refreshed at this second.
fn after_a_report(due_at: i64, lifetime_ms: u64) -> Scene {
    Scene::living().with_grant(|grant| {
        grant.current.as_mut().unwrap().issue.lifetime_ms = lifetime_ms;
        grant.rejection_report = Some(RejectionReport { rotation: 6, due_at: at(due_at), is_refuted: false });
    })
}

#[test]
fn a_rotation_is_reported_once_and_the_next_one_is_refreshed_for_it_ten_minutes_later() {
    assert_eq!(noted(&reported(Scene::living(), 100), 5000), Err(Ignored::Repeated));
    let scene = reported(after_a_report(-10, 900_000), 100);
    assert_eq!(scene.next_refresh(), NextRefresh::At(at(590), WaitReason::NextRefresh));
    assert_eq!(noted(&after_a_report(250, 900_000), 300), Err(Ignored::DueSoon), "it is refreshed before that anyway");
}

#[test]
fn half_of_a_long_life_lies_between_two_reports() {
    let scene = reported(after_a_report(-10, 4 * 3_600_000), 100);
    assert_eq!(scene.next_refresh(), NextRefresh::At(at(7190), WaitReason::NextRefresh));
}

/// Users may request refreshes in between: a report that waits for its time still counts.
#[test]
fn a_report_that_has_had_no_effect_yet_limits_the_next() {
    let scene = after_a_report(3000, 3_600_000);
    assert_eq!(noted(&scene, 100), Err(Ignored::DueSoon), "half a lifetime after that, it is refreshed anyway");
}

/// A clock was wrong when it was noted: that must not silence clients for years.
#[test]
fn a_report_from_the_future_limits_no_other() {
    assert!(reported(after_a_report(100_000_000, 900_000), 100).is_sending());
}

/// I1: it skips no wait after a failure.
#[test]
fn a_report_skips_no_backoff() {
    let mut scene = Scene::living().at(850);
    scene.exchange(silence());
    let before = scene.next_refresh();
    assert!(matches!(before, NextRefresh::At(_, WaitReason::Retry)));
    let open = RejectionReport { rotation: scene.grant().rotation, due_at: scene.now, is_refuted: false };
    scene = scene.with_grant(|grant| grant.rejection_report = Some(open));
    assert_eq!(scene.next_refresh(), before);
}

#[test]
fn a_report_that_the_server_contradicts_moves_nothing() {
    let scene = reported(Scene::living(), 100);
    let contradicted = refuted(scene.grant());
    let scene = scene.holding(contradicted);
    assert!(due(scene.grant()).is_none() && !scene.is_sending());
    assert_eq!(noted(&scene, 200), Err(Ignored::Repeated), "and it is not asked again");
    let scene = scene.with_grant(|grant| grant.current.as_mut().unwrap().issue.lifetime_ms = 3_600_000);
    assert!(noted(&scene, 700).is_ok(), "but for ten minutes later");
}
