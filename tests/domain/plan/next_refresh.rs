//! What is done next, and when: the order of steps, what stops them, and what a wrong clock does to them.

use std::time::Duration;

use pleo_operator::{
    api::TokenState,
    domain::{
        ledger::{
            grant::Which,
            held::{AttemptId, NextAttempt, Retry},
            record::Unreadable,
        },
        plan::{
            decide::Decision,
            next_refresh::{NextRefresh, WaitReason},
            schedule::Pace,
        },
        snapshot::{ClientSecretState, GrantSecret, LocalObservations, TokenSecret},
        spec::SpecProblem,
    },
};

use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, at, candidate, current, first_warning, invalid_grant, known, no_connection, pair,
    secs, server,
};

fn retry(failed_at: i64, wait: u64, settle: u64) -> NextAttempt {
    NextAttempt::Retry(Retry {
        attempt: AttemptId("here-1".into()),
        failed_at: at(failed_at),
        wait_ms: wait * 1000,
        settle_ms: settle * 1000,
    })
}

/// Design, section 2: a missing right or a foreign Secret shows before anything is spent.
#[test]
fn the_token_secret_comes_first_then_the_adoption_then_the_exchange() {
    let mut scene = Scene::new().consent("consent-1");
    let end = scene.exchange(pair("1"));
    assert_eq!(scene.done, ["publish", "adopt", "send", "publish", "tidy"]);
    assert!(matches!(end, Decision::Wait(wait) if wait.reason == WaitReason::NextRefresh));
    assert_eq!(scene.content().access.as_ref().unwrap().token.expose(), "access-1");
}

#[test]
fn nothing_is_sent_while_there_is_no_token_secret() {
    let mut scene = Scene::living().at(850);
    assert!(scene.is_sending());
    scene = scene.seeing(|seen| seen.token = TokenSecret::Absent);
    assert_eq!(scene.next_refresh(), NextRefresh::Never);
    assert!(matches!(scene.decide(), Decision::Publish(_)));
    assert!(matches!(scene.rest(), Decision::Rotate(_)), "and goes on once it is there");
}

#[test]
fn a_connection_without_a_consent_gets_an_empty_token_secret_and_waits_for_a_human() {
    let mut scene = Scene::new();
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none() && wait.reason == WaitReason::Change));
    assert_eq!(scene.done, ["publish"]);
    assert_eq!((scene.content().state, &scene.content().access), (TokenState::Pending, &None));
}

/// I6: idle is quiet, and the wake-up is not late.
#[test]
fn a_healthy_connection_waits_until_its_refresh_is_due() {
    let scene = Scene::living();
    let wait = scene.waits();
    assert_eq!(wait.reason, WaitReason::NextRefresh);
    let due = wait.until.unwrap();
    assert!((at(801)..=at(810)).contains(&due), "{due}");
    for seconds in [1, 300, 800] {
        assert_eq!(scene.clone().at(seconds).waits(), wait, "the same at every look");
    }
    let mut woken = scene;
    woken.go_to(due);
    assert_eq!(woken.sends().which, Which::Current);
}

#[test]
fn the_candidate_is_sent_before_a_live_token_that_is_due() {
    let scene = Scene::living().at(850).with_grant(|grant| {
        grant.candidate = Some(candidate("consent-2", PRODUCTION));
        grant.history.push(known("consent-2", PRODUCTION));
    });
    assert_eq!(scene.sends().which, Which::Candidate);
}

#[test]
fn the_live_token_is_sent_while_the_candidate_waits() {
    let waiting = Scene::living()
        .with_grant(|grant| grant.candidate = Some(candidate("consent-2", PRODUCTION)))
        .with_candidate_tried(|tried| tried.next = retry(700, 900, 30));
    let wait = waiting.clone().at(750).waits();
    assert_eq!(wait.reason, WaitReason::NextRefresh);
    assert_eq!(waiting.at(850).sends().which, Which::Current);
}

#[test]
fn a_candidate_that_is_halted_does_not_hold_up_the_live_token() {
    let mut scene = Scene::living().at(700).consent("consent-2");
    scene.exchange(crate::scenes::invalid_client());
    scene = scene.at(850);
    assert_eq!(scene.sends().which, Which::Current);
}

/// I1 figure: min(5 s, half the life) apart.
#[test]
fn two_exchanges_are_kept_apart_whatever_is_asked() {
    let asking = Scene::living().with_spec(|spec| spec.refresh_request = Some("now!".into()));
    let wait = asking.clone().at(4).waits();
    assert_eq!(wait.until, Some(at(5)));
    assert!(asking.at(5).is_sending());

    let short = Scene::new()
        .holding({
            let mut grant = pleo_operator::domain::ledger::grant::Grant::new(UID, 1);
            grant.current = Some(current("refresh-1", PRODUCTION, at(0), Duration::from_millis(600)));
            grant.last_sent_at = Some(at(0));
            grant
        })
        .published();
    assert_eq!(short.waits().until, Some(at(0) + jiff::SignedDuration::from_secs(1)), "never under a second");
}

#[test]
fn a_suspended_connection_sends_nothing_and_marks_its_token_as_expired_when_it_is() {
    let mut scene = Scene::living().with_spec(|spec| spec.suspend = true);
    scene.rest();
    assert_eq!(std::mem::take(&mut scene.done), ["publish"], "no refresh is planned now");
    let wait = scene.waits();
    assert_eq!((wait.reason, wait.until), (WaitReason::Change, Some(at(900))));
    let mut expired = scene.at(900).with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert!(matches!(expired.rest(), Decision::Wait(wait) if wait.until == Some(first_warning())));
    assert_eq!(expired.done, ["publish"]);
    assert_eq!(expired.content().state, TokenState::Expired);
    assert!(expired.content().access.is_some(), "an expired token stays, so that mounts do not break");
    assert!(expired.with_spec(|spec| spec.suspend = false).is_sending(), "and unset it goes on");
}

#[test]
fn a_connection_that_is_being_deleted_is_left() {
    for scene in [Scene::living().at(850), Scene::new().consent("consent-1"), Scene::new()] {
        let scene = scene.with_spec(|spec| spec.deleting = true);
        assert_eq!((scene.decide(), scene.next_refresh()), (Decision::Ignore, NextRefresh::Never));
    }
}

#[test]
fn a_foreign_secret_stops_everything_and_nothing_is_touched() {
    for scene in [
        Scene::living().at(850).seeing(|seen| seen.token = TokenSecret::NotOwned),
        Scene::new().consent("consent-1").seeing(|seen| seen.token = TokenSecret::NotOwned),
        Scene::new().consent("consent-1").seeing(|seen| seen.grant = GrantSecret::NotOwned),
        Scene::living()
            .seeing(|seen| seen.retired = Some("old".into()))
            .seeing(|seen| seen.token = TokenSecret::NotOwned),
    ] {
        let mut scene = scene;
        let until = scene.snapshot.grant.ours().map(|_| first_warning());
        assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until == until));
        assert_eq!((scene.done.len(), scene.next_refresh()), (0, NextRefresh::Never));
    }
}

#[test]
fn a_grant_that_cannot_be_read_is_left_alone_and_so_is_what_pods_have() {
    for why in [Unreadable::Newer(2), Unreadable::Damaged("its key `ledger` is missing")] {
        let mut scene = Scene::living().consent("consent-2").seeing(|seen| seen.grant = GrantSecret::Unreadable(why));
        assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until == Some(at(900))), "the status is told then");
        let mut scene = scene.at(5000);
        assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none()));
        assert!(scene.done.is_empty());
    }
}

#[test]
fn nothing_is_sent_without_a_client() {
    let mut scene = Scene::living()
        .at(850)
        .seeing(|seen| seen.client = ClientSecretState::Missing("there is no Secret pleo-client".into()));
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.reason == WaitReason::Change));
    assert_eq!(scene.next_refresh(), NextRefresh::Never);
}

#[test]
fn nothing_is_written_or_sent_for_a_server_that_is_not_allowed() {
    let forbidden = || Err(SpecProblem::NotAllowed("https://evil.example".into()));
    let mut fresh = Scene::new().consent("consent-1").with_spec(|spec| spec.server = forbidden());
    assert!(matches!(fresh.rest(), Decision::Wait(_)));
    assert!(fresh.done.is_empty());
    let mut living = Scene::living().at(850).with_spec(|spec| spec.server = forbidden());
    assert!(matches!(living.rest(), Decision::Wait(wait) if wait.until == Some(at(900))));
    assert_eq!(living.next_refresh(), NextRefresh::Never);
}

/// I8: kept, and good again when the spec is changed back.
#[test]
fn a_grant_of_another_server_is_kept_and_not_sent() {
    let mut scene = Scene::living().at(850).with_spec(|spec| spec.server = Ok(server(STAGING)));
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.reason == WaitReason::Change));
    assert_eq!(scene.next_refresh(), NextRefresh::Never);
    let asked = scene.clone().with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert_eq!(asked.next_refresh(), NextRefresh::Never, "not even when asked");
    let mut back = scene.with_spec(|spec| spec.server = Ok(server(PRODUCTION)));
    back.exchange(pair("8"));
    assert_eq!(back.sent[0].0, "refresh-7");
}

#[test]
fn a_refresh_request_is_answered_once() {
    let mut scene = Scene::living().at(100).with_spec(|spec| spec.refresh_request = Some("monday".into()));
    assert_eq!(scene.sends().request.as_deref(), Some("monday"));
    scene.exchange(pair("8"));
    assert_eq!(scene.grant().handled_request.as_deref(), Some("monday"));
    assert_eq!(scene.waits().reason, WaitReason::NextRefresh);
    assert!(scene.with_spec(|spec| spec.refresh_request = Some("tuesday".into())).at(110).is_sending());
}

#[test]
fn a_refresh_request_that_was_answered_by_a_failure_is_answered() {
    let mut scene = Scene::living().at(100).with_spec(|spec| spec.refresh_request = Some("monday".into()));
    scene.exchange(no_connection());
    assert_eq!(scene.grant().handled_request.as_deref(), Some("monday"));
    assert_eq!(scene.waits().reason, WaitReason::Retry);
}

#[test]
fn a_refresh_request_skips_the_backoff_and_not_the_settle_time() {
    let failing = Scene::living().with_current_tried(|tried| {
        tried.failures = 9;
        tried.next = retry(0, 256, 0);
    });
    let asking = |scene: Scene| scene.with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert!(!failing.clone().at(100).is_sending());
    assert!(asking(failing.at(100)).is_sending());

    let doubtful = Scene::living().with_current_tried(|tried| {
        tried.failures = 9;
        tried.outcome_unknown = true;
        tried.next = retry(0, 256, 30);
    });
    assert_eq!(asking(doubtful.clone().at(10)).waits().until, Some(at(30)));
    assert!(asking(doubtful.at(30)).is_sending());
}

/// I3.
#[test]
fn a_refresh_request_never_makes_a_refused_token_be_sent() {
    let mut scene = Scene::living().at(850);
    scene.exchange(invalid_grant());
    let mut scene = scene.at(1000).with_spec(|spec| spec.refresh_request = Some("please!".into()));
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none()));
    assert_eq!(scene.grant().handled_request, None);
}

/// A stored time that lies in the future means that a clock was wrong: due now.
#[test]
fn a_token_that_was_issued_in_the_future_is_due_now() {
    let scene = Scene::living().seeing(|_| ()).at(-3600);
    assert!(scene.is_sending());
    assert!(!Scene::living().at(-9).is_sending(), "clocks of two nodes differ by some seconds");
}

#[test]
fn a_failure_in_the_future_is_waited_for_no_longer_than_its_wait() {
    let scene = Scene::living().with_current_tried(|tried| tried.next = retry(1_000_000, 240, 30));
    assert_eq!(scene.waits().until, Some(at(240)));
    let seen_for_a_while = scene.at(100);
    assert_eq!(seen_for_a_while.waits().until, Some(at(240)));
    assert!(seen_for_a_while.at(240).is_sending());
}

#[test]
fn a_start_in_the_future_does_not_keep_the_next_exchange_waiting() {
    let scene = Scene::living().at(850).with_grant(|grant| grant.last_sent_at = Some(at(1_000_000)));
    assert!(scene.is_sending());
}

#[test]
fn that_a_token_has_expired_is_not_written_while_a_new_one_is_about_to_be_fetched() {
    let scene = Scene::living().at(901);
    assert!(scene.is_sending());
    assert!(matches!(scene.decide(), Decision::Rotate(_)));
    let waiting = scene.with_current_tried(|tried| tried.next = retry(900, 240, 0));
    assert!(matches!(waiting.decide(), Decision::Publish(content) if content.state == TokenState::Expired));
}

/// I4: drift is repaired before anything is sent, and while it is under way, too.
#[test]
fn a_token_secret_that_somebody_edited_is_repaired() {
    type Edit = fn(&mut pleo_operator::domain::snapshot::published::Published);
    let edits: [Edit; 6] = [
        |published| published.content = None,
        |published| published.unknown_keys.push("refresh_token".into()),
        |published| published.owner = Some("a namesake".into()),
        |published| published.owner = None,
        |published| published.labels.clear(),
        |published| published.content.as_mut().unwrap().rotation = 6,
    ];
    for edit in edits {
        for seconds in [10, 850] {
            let mut scene = Scene::living().at(seconds);
            let TokenSecret::Ours(published) = &mut scene.snapshot.token else { panic!("ours") };
            edit(&mut published.value);
            assert!(matches!(scene.decide(), Decision::Publish(_)));
            scene.rest();
            assert_eq!(scene.done, ["publish"]);
            assert_eq!(scene.content().access.as_ref().unwrap().token.expose(), "access-7");
        }
    }
}

#[test]
fn what_others_put_on_the_token_secret_stays() {
    let scene = Scene::living();
    let labeled = scene.clone().seeing(|seen| {
        let TokenSecret::Ours(published) = &mut seen.token else { panic!("ours") };
        published.value.labels.insert("team".into(), "finance".into());
        published.value.annotations.insert("note".into(), "hands off".into());
    });
    assert_eq!(labeled.decide(), scene.decide());
}

#[test]
fn a_template_is_written_and_the_operators_own_labels_win() {
    let mut scene = Scene::living().with_spec(|spec| {
        spec.secret_labels.insert("team".into(), "finance".into());
        spec.secret_labels.insert("pleo.io/connection".into(), "another".into());
        spec.secret_annotations.insert("note".into(), "for pods".into());
    });
    scene.rest();
    assert_eq!(scene.done, ["publish"]);
    let published = scene.snapshot.token.published().unwrap();
    assert_eq!(published.labels["team"], "finance");
    assert_eq!(published.labels["pleo.io/connection"], "acme");
    assert_eq!(published.annotations["note"], "for pods");
}

#[test]
fn after_a_rename_the_new_secret_is_published_before_the_old_one_goes() {
    let mut scene = Scene::living()
        .at(850)
        .with_spec(|spec| spec.secret_name = "renamed".into())
        .seeing(|seen| (seen.token, seen.retired) = (TokenSecret::Absent, Some("acme-token".into())));
    scene.exchange(pair("8"));
    assert_eq!(scene.done, ["publish", "retire", "send", "publish"]);
}

#[test]
fn a_token_secret_of_a_deleted_namesake_is_taken_over_without_its_token() {
    let mut scene = Scene::living().seeing(|seen| {
        seen.grant = GrantSecret::Absent;
        let TokenSecret::Ours(published) = &mut seen.token else { panic!("ours") };
        published.value.owner = Some("a namesake".into());
    });
    scene.rest();
    assert_eq!((scene.content().state, &scene.content().access), (TokenState::Pending, &None));
    assert_eq!(scene.content().rotation, 0);
}

/// The grant Secret was deleted: the token in the pods' hands is as good as before, until it ends.
#[test]
fn a_token_whose_grant_is_gone_stays_until_it_ends_and_the_count_goes_on() {
    let mut scene = Scene::living().seeing(|seen| seen.grant = GrantSecret::Absent);
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until == Some(at(900))));
    assert!(scene.done.is_empty());
    let mut expired = scene.clone().at(900);
    expired.rest();
    assert_eq!(expired.content().state, TokenState::Expired);
    let mut consented = scene.at(200).consent("consent-2");
    consented.exchange(pair("8"));
    assert_eq!((consented.grant().rotation, consented.content().rotation), (8, 8));
}

#[test]
fn two_looks_at_the_same_scene_decide_the_same() {
    for scene in [Scene::new(), Scene::living(), Scene::adopted().at(7), Scene::living().at(850)] {
        assert_eq!((scene.decide(), scene.next_refresh()), (scene.decide(), scene.next_refresh()));
        assert_eq!(scene.clone().seeing(|seen| seen.local = LocalObservations::default()).decide(), scene.decide());
    }
}

#[test]
fn the_pace_decides_how_long_an_answer_is_awaited() {
    let pace = Pace { request_timeout: secs(5) };
    assert_eq!((pace.settle_time(), pace.claim_length()), (Duration::from_millis(2500), secs(15)));
}
