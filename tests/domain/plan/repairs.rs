//! Repairs over another program that insists: the first at once, the next ones with minutes in between; and a new rotation is no
//! repair.

use pleo_operator::domain::{
    plan::{adoption, decide::Decision, projection, restarts},
    snapshot::{
        GrantSecret, TokenSecret,
        repair::{PATIENT, Repaired, Repairs, URGENT},
    },
    spec::SpecProblem,
    token::AccessToken,
};

use crate::scenes::{Scene, at, deployment, fingerprint, pair, secs};

/// What was adopted is removed and comes back, after so many removals, the last of them so long ago.
fn returned(times: u32, ago: u64) -> Scene {
    let mut scene = Scene::adopted();
    scene.exchange(pair("1"));
    let removal = Some(Repaired { what: fingerprint("consent-1"), times, ago: secs(ago) });
    scene.consent("consent-1").seeing(|seen| seen.repairs = Repairs { removal, publication: None })
}

/// Another program has changed what pods get, after this process had written it so often.
fn edited(times: u32, ago: u64) -> Scene {
    let scene = Scene::living().at(100);
    let what = projection::written(scene.content(), &scene.snapshot.spec);
    scene.seeing(|seen| {
        seen.repairs = Repairs { removal: None, publication: Some(Repaired { what, times, ago: secs(ago) }) };
        let TokenSecret::Ours(published) = &mut seen.token else { panic!("a token Secret") };
        published.value.content.as_mut().unwrap().access.as_mut().unwrap().token = AccessToken::new("mine");
    })
}

#[test]
fn a_token_that_comes_back_is_removed_after_minutes() {
    assert!(matches!(returned(0, 0).decide(), Decision::RemoveAdoptedToken(_)), "the first time at once");
    for (times, pause) in [(1, 120), (2, 240), (3, 480), (5, 1920), (6, 3600), (60, 3600)] {
        let waits = returned(times, 20);
        let until = waits.waits().until.expect("it is removed again");
        let due = at(i64::from(pause) - 20);
        assert!(until <= due && adoption::next(&waits.snapshot, waits.now) == Some(due), "after {times}");
        assert!(
            matches!(returned(times, u64::try_from(pause).unwrap()).decide(), Decision::RemoveAdoptedToken(_)),
            "after {times}"
        );
    }
}

#[test]
fn another_token_is_removed_at_once() {
    let scene = returned(3, 1).seeing(|seen| {
        seen.repairs.removal.as_mut().unwrap().what = fingerprint("an earlier consent");
    });
    assert!(matches!(scene.decide(), Decision::RemoveAdoptedToken(_)));
    assert_eq!(adoption::returned(&scene.snapshot), None);
}

#[test]
fn who_puts_a_token_back_is_told_how_to_keep_it() {
    let scene = returned(1, 1);
    let (token, message) = adoption::returned(&scene.snapshot).expect("it is back");
    assert_eq!(*token, fingerprint("consent-1"));
    assert!(message.contains("spec.initialGrant.keep") && message.contains("Secret acme-grant"), "{message}");
}

#[test]
fn what_pods_get_is_put_right_once_at_once_and_then_after_minutes() {
    assert!(matches!(edited(0, 1).decide(), Decision::Publish(_)), "the first time at once");
    let waits = edited(1, 1);
    assert_eq!(waits.waits().until, Some(at(100 + 119)));
    assert!(matches!(edited(1, 120).decide(), Decision::Publish(_)));
}

/// Pods have something else meanwhile: that is no usable token, and that program should be stopped.
#[test]
fn a_fight_about_what_pods_get_is_told() {
    let scene = edited(1, 1);
    let status = scene.status();
    let told = |kind: &str| status.conditions.iter().find(|told| told.type_ == kind).unwrap().clone();
    assert_eq!((told("Ready").status, told("Ready").reason), ("False".into(), "SecretConflict".into()));
    assert_eq!(told("Stalled").reason, "SecretConflict");
    assert!(told("Ready").message.contains("keeps changing the Secret acme-token"), "{}", told("Ready").message);
    assert_eq!(edited(0, 1).status().conditions[0].reason, "Refreshed", "the first repair is a matter of a moment");
}

/// I4: a new token is news, whatever another program does.
#[test]
fn a_new_token_is_published_at_once() {
    let mut scene = edited(6, 1).at(850);
    scene.exchange(pair("8"));
    assert_eq!(scene.content().access.as_ref().unwrap().token.expose(), "access-8");
}

/// Pods cannot start without it, and nothing is refreshed.
#[test]
fn a_token_secret_that_is_deleted_is_back_soon() {
    let gone = |ago| edited(6, ago).seeing(|seen| seen.token = TokenSecret::Absent);
    assert!(matches!(gone(1).decide(), Decision::Wait(wait) if wait.until <= Some(at(115))), "{:?}", gone(1).decide());
    assert!(matches!(gone(15).decide(), Decision::Publish(_)));
    assert!(URGENT < PATIENT);
}

/// What pods have is somebody else's: no restart and no word to them brings them ours.
#[test]
fn nobody_is_sent_to_read_what_another_program_wrote() {
    let with_web = |scene: Scene| scene.seeing(|seen| seen.spec.restart_targets = [deployment("web")].into());
    let (ours, theirs) = (with_web(edited(0, 1)), with_web(edited(1, 1)));
    assert!(restarts::due(&ours.snapshot, ours.now).is_some() && projection::news(&ours.snapshot, ours.now).is_some());
    assert_eq!(restarts::due(&theirs.snapshot, theirs.now), None);
    assert!(projection::news(&theirs.snapshot, theirs.now).is_none());
    assert_eq!(theirs.status().expiration_time, None);
}

/// With `keep` it is never removed: that it is there is as the spec says.
#[test]
fn a_token_that_is_kept_does_not_return() {
    let kept = returned(1, 1).with_spec(|spec| spec.initial_grant.as_mut().unwrap().keep = true);
    assert_eq!(adoption::returned(&kept.snapshot), None);
}

/// Pods keep the old token Secret until the new one stands.
#[test]
fn an_old_token_secret_stays_while_there_is_no_new_one() {
    let mut scene = Scene::living().seeing(|seen| {
        seen.token = TokenSecret::Absent;
        seen.retired = Some("old-name".into());
        seen.spec.server = Err(SpecProblem::NotAllowed("https://x.example.com".into()));
    });
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert!(scene.done.is_empty());
}

/// I4: a rotation that another program wrote into the token Secret would make every later grant look like an old backup.
#[test]
fn a_repair_does_not_take_over_a_rotation_that_another_program_wrote() {
    let scene = Scene::living().at(100).seeing(|seen| {
        seen.grant = GrantSecret::Absent;
        seen.reported.rotation = 7;
        let TokenSecret::Ours(published) = &mut seen.token else { panic!("a token Secret") };
        published.value.is_edited = true;
        published.value.content.as_mut().unwrap().rotation = 999;
    });
    let Decision::Publish(content) = scene.decide() else { panic!("{:?}", scene.decide()) };
    assert_eq!(content.rotation, 7);
}
