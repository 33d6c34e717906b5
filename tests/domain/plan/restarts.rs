//! Programs that cannot read the file again are restarted: once for each rotation, never for a restart of the operator,
//! never twice in a minute. And what pods that can read it are told.

use pleo_operator::{
    api::{RestartTarget, TokenState, WorkloadKind},
    domain::{
        ledger::grant::{RejectionReason, Restarted},
        plan::{
            decide::{Decision, Wait},
            projection::{News, news},
            restarts::{Restart, Tried, due, next, note},
        },
    },
};

use crate::scenes::{Scene, at, claim_of, deployment, pair};

/// A living connection that restarts the Deployment `web`.
fn with_web() -> Scene {
    Scene::living().seeing(|seen| seen.spec.restart_targets = [deployment("web")].into())
}

/// The same, and `web` was restarted for the rotation that it has.
fn restarted_at(seconds: i64) -> Scene {
    let restarted = Restarted { target: deployment("web"), rotation: 7, at: at(seconds) };
    with_web().with_grant(|grant| grant.restarts = vec![restarted])
}

#[test]
fn a_target_is_restarted_once_when_it_is_first_named() {
    let mut scene = with_web().at(100);
    let Some(Restart { targets, mark }) = due(&scene.snapshot, scene.now) else { panic!("nothing is due") };
    assert_eq!(targets, [deployment("web")]);
    assert_eq!(mark, "acme 7 2026-03-02T12:00:00Z");
    scene.rest();
    assert_eq!(scene.done, ["restart"]);
    assert_eq!(scene.grant().restarts, [Restarted { target: deployment("web"), rotation: 7, at: at(100) }]);
}

#[test]
fn a_restart_of_the_operator_restarts_nothing() {
    let mut scene = restarted_at(100).at(400);
    assert_eq!((due(&scene.snapshot, scene.now), next(&scene.snapshot, scene.now)), (None, None));
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert!(scene.done.is_empty(), "{:?}", scene.done);
}

#[test]
fn each_rotation_restarts_once_and_after_the_new_token_was_published() {
    let mut scene = restarted_at(100).at(850);
    scene.exchange(pair("8"));
    assert_eq!(scene.done, ["send", "publish", "restart"]);
    assert_eq!(scene.grant().restarts, [Restarted { target: deployment("web"), rotation: 8, at: at(850) }]);
}

#[test]
fn two_restarts_are_a_minute_apart_and_the_second_is_for_the_newest_rotation() {
    let mut scene = with_web().with_grant(|grant| {
        (grant.rotation, grant.restarts) = (9, vec![Restarted { target: deployment("web"), rotation: 7, at: at(0) }]);
    });
    scene = scene.published().at(59);
    assert_eq!((due(&scene.snapshot, scene.now), next(&scene.snapshot, scene.now)), (None, Some(at(60))));
    assert_eq!(scene.waits().until, Some(at(60)));
    scene.go_to(at(60));
    scene.rest();
    assert_eq!(scene.grant().restarts, [Restarted { target: deployment("web"), rotation: 9, at: at(60) }]);
}

#[test]
fn a_time_that_lies_ahead_keeps_no_target_waiting() {
    let mut scene = restarted_at(1_000_000).with_grant(|grant| grant.rotation = 8).published().at(100);
    scene.rest();
    assert_eq!(scene.done, ["restart"]);
}

#[test]
fn nothing_is_restarted_without_a_usable_token_that_is_published() {
    let target = |seen: &mut pleo_operator::domain::snapshot::Snapshot| {
        seen.spec.restart_targets = [deployment("web")].into();
    };
    let scenes = [
        ("before the first exchange", Scene::adopted().seeing(target)),
        ("expired", with_web().at(901)),
        ("refused", Scene::dead(RejectionReason::GrantRefused).seeing(target)),
        ("committed and not published yet", with_web().with_grant(|grant| grant.rotation = 8)),
        (
            "while somebody may be sending",
            with_web().with_grant(|grant| grant.claim = Some(claim_of("refresh-7", at(0)))),
        ),
    ];
    for (when, scene) in scenes {
        assert_eq!(due(&scene.snapshot, scene.now), None, "{when}");
    }
}

#[test]
fn a_target_that_cannot_be_restarted_is_told_of_and_tried_again_in_a_minute() {
    let why = "Deployment web cannot be restarted, and may still use the old token: forbidden";
    let mut scene = with_web().at(100).seeing(|seen| seen.deferred.restarts = Some(why.into()));
    let Decision::Wait(Wait { until, .. }) = scene.rest() else { panic!("not a wait") };
    assert_eq!(until, Some(at(160)));
    let status = scene.status();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").expect("Ready");
    assert!(ready.status == "True" && ready.message.ends_with(why), "{}", ready.message);
}

#[test]
fn targets_that_are_not_wished_for_any_more_are_forgotten_after_a_minute() {
    let old = Restarted { target: deployment("old"), rotation: 6, at: at(0) };
    let scene = with_web().with_grant(|grant| grant.restarts = vec![old.clone()]);
    let web = |seconds| Restarted { target: deployment("web"), rotation: 7, at: at(seconds) };
    let tried = Tried { done: vec![deployment("web")], perhaps: Vec::new() };
    let noted = |seconds| note(&scene.snapshot, &tried, at(seconds)).expect("a grant").restarts;
    assert_eq!(noted(59), [old, web(59)], "one that comes and goes is not restarted each time");
    assert_eq!(noted(60), [web(60)]);
}

#[test]
fn a_restart_that_may_have_happened_is_tried_again_after_a_minute() {
    let mut scene = restarted_at(0).with_grant(|grant| grant.rotation = 8).published().at(100);
    let tried = Tried { done: Vec::new(), perhaps: vec![deployment("web")] };
    let grant = note(&scene.snapshot, &tried, scene.now).expect("a grant");
    assert_eq!(grant.restarts, [Restarted { target: deployment("web"), rotation: 7, at: at(100) }]);
    scene.store(grant);
    assert_eq!((due(&scene.snapshot, scene.now), next(&scene.snapshot, scene.now)), (None, Some(at(160))));
}

#[test]
fn pods_are_told_the_rotation_and_the_state_where_no_token_is_usable() {
    let told = |scene: &Scene| news(&scene.snapshot, scene.now).map(|News { mark, is_fresh }| (mark, is_fresh));
    assert_eq!(told(&Scene::adopted()), None, "there was no token yet");
    assert_eq!(told(&Scene::living().at(119)), Some(("7".into(), true)));
    assert_eq!(told(&Scene::living().at(120)), Some(("7".into(), false)), "the kubelet brought it by itself");
    let mut expired = Scene::living().seeing(|seen| seen.spec.suspend = true).at(901);
    expired.rest();
    assert_eq!(told(&expired), Some((format!("7-{}", TokenState::Expired), true)));
    assert_eq!(told(&Scene::dead(RejectionReason::GrantRefused)), Some(("7-ReauthRequired".into(), true)));
}

#[test]
fn nothing_is_noted_of_restarts_that_were_not_tried() {
    let one = || vec![RestartTarget { kind: WorkloadKind::Deployment, name: "web".into() }];
    assert!(Tried { done: vec![], perhaps: vec![] }.is_nothing());
    assert!(!Tried { done: one(), perhaps: vec![] }.is_nothing());
    assert!(!Tried { done: vec![], perhaps: one() }.is_nothing());
}
