//! How a new consent comes in: beside the living pair, once for each server, never another connection's; and how the
//! Secret that it stood in is tidied.

use pleo_operator::domain::{
    ledger::grant::{Grant, RejectionReason},
    plan::{decide::Decision, next_refresh::WaitReason, projection},
    snapshot::{ClaimOwner, ClientSecretState, GrantSecret, InitialGrant, LastReported, Sharing, Versioned},
    spec::SpecProblem,
};

use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, accepted, at, current, invalid_grant, known, no_connection, pair, reply, secs,
    server, silence, token_url,
};

/// I9: the living pair is not touched before the new one is proved.
#[test]
fn a_new_consent_is_adopted_beside_the_living_pair_and_proved_first() {
    let mut scene = Scene::living().at(100).consent("consent-2");
    assert!(matches!(scene.rest(), Decision::Rotate(_)));
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-7");
    assert_eq!(scene.grant().candidate.as_ref().unwrap().token.expose(), "consent-2");
    assert_eq!(scene.grant().history, [known("consent-2", PRODUCTION)]);
    scene.exchange(pair("8"));
    assert_eq!(scene.sent[0].0, "consent-2");
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-8");
}

#[test]
fn a_second_consent_takes_the_place_of_one_that_was_not_proved() {
    let mut scene = Scene::living().at(100).consent("consent-2");
    scene.exchange(silence());
    let mut scene = scene.at(110).consent("consent-3");
    scene.exchange(pair("8"));
    let tokens: Vec<_> = scene.sent.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(tokens, ["consent-2", "consent-3"]);
}

/// A GitOps tool that puts an old token back does no harm.
#[test]
fn no_token_is_adopted_twice_for_one_server() {
    for outcome in [pair("1"), invalid_grant()] {
        let mut scene = Scene::new().consent("consent-1");
        scene.exchange(outcome);
        let grant = scene.grant().clone();
        let mut scene = scene.at(100).consent("consent-1");
        scene.rest();
        assert_eq!(scene.grant(), &grant);
        assert_eq!(scene.sent.len(), 1);
    }
}

#[test]
fn the_live_token_itself_is_no_news() {
    let mut scene = Scene::living().at(100).consent("refresh-7");
    scene.rest();
    assert!(scene.done.is_empty());
}

/// I8.
#[test]
fn a_token_that_one_server_accepted_is_never_sent_to_another() {
    let mut scene = Scene::new().consent("consent-1");
    scene.exchange(pair("1"));
    let mut scene = scene.at(100).consent("consent-1").with_spec(|spec| spec.server = Ok(server(STAGING)));
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    let mut scene = scene.consent("refresh-1");
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(scene.sent, [("consent-1".to_owned(), token_url(PRODUCTION))]);
}

/// I8: in doubt means that the server may have accepted it.
#[test]
fn a_token_in_doubt_at_one_server_is_not_sent_to_another() {
    let mut scene = Scene::new().consent("consent-1");
    scene.exchange(silence());
    let mut scene = scene.at(100).with_spec(|spec| spec.server = Ok(server(STAGING)));
    let end = scene.rest();
    assert!(!matches!(end, Decision::Rotate(_)), "sent to production, and about to be sent to staging");
}

/// I8: refused in doubt means that the first answer, the one that was lost, was a pair.
#[test]
fn a_token_whose_pair_was_lost_at_one_server_is_not_sent_to_another() {
    let mut scene = Scene::new().consent("consent-1");
    scene.exchange(silence());
    scene = scene.at(100);
    scene.exchange(invalid_grant());
    assert_eq!(scene.grant().last_rejection.as_ref().unwrap().reason, RejectionReason::RotationLost);
    let mut scene = scene.at(200).with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.rest();
    assert_eq!(scene.sent.len(), 2);
    assert!(!scene.is_sending(), "{:?}", scene.done);
}

/// The same where the consent in doubt was replaced by another one before anybody knew.
#[test]
fn a_token_in_doubt_that_was_replaced_is_not_sent_to_another_server() {
    let mut scene = Scene::new().consent("consent-1");
    scene.exchange(silence());
    let mut scene = scene.at(100).consent("consent-2");
    scene.exchange(invalid_grant());
    let mut scene = scene.at(200).consent("consent-1").with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.rest();
    assert!(!scene.is_sending(), "{:?}", scene.done);
}

/// What makes the rule above bearable: a consent that the wrong server refused outright is tried at the right one.
#[test]
fn a_token_that_the_wrong_server_refused_outright_is_tried_at_the_right_one() {
    let mut scene = Scene::new().consent("consent-1").with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.exchange(invalid_grant());
    let mut scene = scene.at(100).with_spec(|spec| spec.server = Ok(server(PRODUCTION)));
    scene.exchange(pair("1"));
    assert_eq!(scene.sent[1], ("consent-1".to_owned(), token_url(PRODUCTION)));
    let mut scene = scene.at(200).consent("consent-1").with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.rest();
    assert_eq!(scene.sent.len(), 2, "and never again at the wrong one");
}

/// I7: no human is needed where nothing was ever sent.
#[test]
fn a_token_that_was_never_sent_follows_the_spec_to_another_server_and_back() {
    let without_client = |scene: Scene| {
        scene.seeing(|seen| {
            seen.client = ClientSecretState::Missing("no Secret".into());
        })
    };
    let mut scene = without_client(Scene::new().consent("consent-1"));
    scene.rest();
    scene = scene.with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.rest();
    scene = scene.with_spec(|spec| spec.server = Ok(server(PRODUCTION)));
    scene.rest();
    let client = crate::scenes::client("acme-client");
    scene = scene.seeing(|seen| seen.client = ClientSecretState::Present(client));
    assert!(matches!(scene.rest(), Decision::Rotate(_)), "{:?}", scene.status().conditions);
}

#[test]
fn a_token_that_another_connection_adopted_is_refused_and_looked_at_again() {
    let shared = |mut scene: Scene| {
        let InitialGrant::Present(token) = &mut scene.snapshot.initial else { panic!("a consent") };
        token.sharing = Sharing::With("finance/other".into());
        scene
    };
    let mut scene = shared(Scene::new().consent("consent-1"));
    assert!(
        matches!(scene.rest(), Decision::Wait(wait) if wait.until == Some(at(60))),
        "the other may be gone by then"
    );
    assert_eq!(scene.done, ["publish"], "nothing is adopted");
    let beside_a_living_one = shared(Scene::living().at(700).consent("consent-2"));
    let wait = beside_a_living_one.waits();
    assert_eq!(wait.reason, WaitReason::NextRefresh);
    assert!(wait.until.unwrap() < at(811), "the refresh is not late");
}

/// An old token presented now could kill a living authorization.
#[test]
fn the_grant_of_a_predecessor_is_never_used() {
    let predecessor = |scene: Scene| {
        scene.seeing(|seen| {
            let mut old = Grant::new("another uid", 30);
            old.current = Some(current("refresh-30", PRODUCTION, at(0), secs(900)));
            old.history = vec![accepted("consent-1", PRODUCTION, 1)];
            seen.grant = GrantSecret::Ours(Versioned { value: old, version: "7".into() }).as_seen_by(&seen.spec.uid);
        })
    };
    for token in ["consent-1", "refresh-30"] {
        let mut scene = predecessor(Scene::new().consent(token)).at(850);
        assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none()));
        assert_eq!(scene.content().access, None, "and its token is taken from the pods");
    }
    let mut scene = predecessor(Scene::new().consent("consent-9"));
    scene.exchange(pair("1"));
    let grant = scene.grant();
    assert_eq!(grant.connection, scene.snapshot.spec.uid);
    assert_eq!(grant.history[0], accepted("consent-1", PRODUCTION, 1), "its memory goes on");
    assert_eq!(scene.sent, [("consent-9".to_owned(), token_url(PRODUCTION))]);
    let mut scene = scene.at(100).consent("consent-1");
    scene.rest();
    assert_eq!(scene.sent.len(), 1);
}

/// The rotation in status and Secret counts the exchanges of this connection.
#[test]
fn a_namesakes_rotations_are_not_counted() {
    let mut scene = Scene::new().consent("consent-9").seeing(|seen| {
        let old = Grant::new("another uid", 30);
        seen.grant = GrantSecret::Stale(Versioned { value: old, version: "7".into() });
    });
    scene.exchange(pair("1"));
    assert_eq!((scene.grant().rotation, scene.content().rotation), (1, 1));
}

/// The number that users were told never goes back, whatever became of the Secrets.
#[test]
fn a_grant_that_begins_anew_goes_on_counting() {
    for told in [0, 7, 9] {
        let mut scene = Scene::living().at(100).consent("consent-2").seeing(|seen| {
            seen.grant = GrantSecret::Absent;
            seen.reported.rotation = told;
        });
        scene.exchange(pair("8"));
        assert_eq!(scene.grant().rotation, told.max(7) + 1);
    }
}

/// A status is a witness that no backup brings back: of the rotations there were, and of the end of the last one (I3).
#[test]
fn what_was_told_shows_which_grant_was_put_back() {
    let (living, dead) = (Scene::living(), Scene::dead(RejectionReason::GrantRefused));
    let seven = living.grant().rotation;
    assert_eq!(dead.grant().rotation, seven);
    for (scene, rotation, rejected_rotation, is_backup) in [
        (&living, seven, None, false),
        (&living, seven, Some(seven), true),
        (&living, seven + 1, None, true),
        (&living, seven - 1, Some(seven - 1), false),
        (&dead, seven, Some(seven), false),
        (&dead, seven + 1, Some(seven), true),
    ] {
        let seen = scene.snapshot.grant.clone().unless_outdated(LastReported { rotation, rejected_rotation });
        assert_eq!(matches!(seen, GrantSecret::Stale(_)), is_backup, "{rotation} {rejected_rotation:?}");
        assert_eq!(matches!(seen, GrantSecret::Ours(_)), !is_backup, "{rotation} {rejected_rotation:?}");
    }
}

/// Whatever becomes of the grant afterwards, a backup of that rotation is known until there is a new pair.
#[test]
fn the_end_of_a_rotation_is_told_until_the_next_one() {
    let told = |scene: &Scene, before: LastReported| before.next(scene.snapshot.grant.ours().map(|grant| &grant.value));
    let mut scene = Scene::living().at(850);
    let seven = LastReported { rotation: 7, rejected_rotation: None };
    assert_eq!(told(&scene, LastReported::default()), seven);
    scene.exchange(invalid_grant());
    let ended = told(&scene, seven);
    assert_eq!(ended, LastReported { rotation: 7, rejected_rotation: Some(7) });
    assert_eq!(ended.next(None), ended, "also when the Secret is deleted");
    let mut scene = scene.consent("consent-2").at(900);
    scene.exchange(invalid_grant());
    assert_eq!(told(&scene, ended), ended, "a consent that is refused ended no rotation, and began none");
    assert_eq!(told(&Scene::living(), LastReported { rotation: 6, rejected_rotation: Some(6) }), seven);
}

/// What a human's new consent is refused with says nothing about the pair that lived before (I9).
#[test]
fn a_refused_consent_does_not_outdate_the_living_pair() {
    let mut scene = Scene::new().consent("consent-1").seeing(|seen| seen.reported.rotation = 7);
    scene.exchange(invalid_grant());
    assert_eq!(scene.snapshot.reported.next(Some(scene.grant())).rejected_rotation, None);
}

/// The token Secret is written before the status is: it tells of a rotation that the status does not know yet (I4).
#[test]
fn pods_were_told_before_users() {
    let scene = Scene::living();
    let six = LastReported { rotation: 6, rejected_rotation: Some(6) };
    let (token, seven) = (&scene.snapshot.token, scene.grant());
    let by_both = |grant: &GrantSecret, uid: &str| six.and_by(token, grant, uid).rotation;
    let mut old = seven.clone();
    old.current.as_mut().unwrap().access = None;
    let old = GrantSecret::Ours(Versioned { value: old, version: "1".into() });
    assert_eq!(by_both(&old, UID), 7);
    assert_eq!(by_both(&GrantSecret::Absent, UID), 7);
    assert_eq!(by_both(&old, "another uid"), 6);
    assert_eq!(by_both(&scene.snapshot.grant, UID), 6, "the grant's own token, and a number that somebody edited");
}

/// Adopting it unchecked could make two connections spend one token; not refreshing could cost the living one.
#[test]
fn a_token_that_cannot_be_checked_for_sharing_waits_and_the_living_grant_goes_on() {
    let unchecked = |mut scene: Scene| {
        let InitialGrant::Present(token) = &mut scene.snapshot.initial else { panic!("a consent") };
        token.sharing = Sharing::Unchecked("secrets is forbidden".into());
        scene
    };
    let mut fresh = unchecked(Scene::new().consent("consent-1"));
    assert!(matches!(fresh.rest(), Decision::Wait(wait) if wait.until == Some(at(60))));
    assert_eq!(fresh.done, ["publish"]);
    let mut living = unchecked(Scene::living().at(850).consent("consent-2"));
    assert!(matches!(living.rest(), Decision::Rotate(_)));
    assert!(living.done.is_empty());
}

/// The claim may have sent it to the server that the spec named then (I8).
#[test]
fn a_token_that_may_be_on_its_way_to_one_server_is_not_sent_to_another() {
    let mut scene = Scene::adopted().with_claim("consent-1", at(0), ClaimOwner::Elsewhere, 0);
    scene = scene.with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene.rest();
    let mut scene = scene.at(400);
    assert!(!matches!(scene.rest(), Decision::Rotate(_)), "{:?}", scene.done);
}

/// The same after the predecessor was replaced: a token of a backup is as old as it was before.
#[test]
fn the_live_token_of_a_predecessor_is_never_sent_even_after_a_new_consent() {
    let mut scene = Scene::new().consent("consent-9").seeing(|seen| {
        let mut old = Grant::new("another uid", 30);
        old.current = Some(current("refresh-30", PRODUCTION, at(0), secs(900)));
        seen.grant = GrantSecret::Stale(Versioned { value: old, version: "7".into() });
    });
    scene.exchange(pair("1"));
    let mut scene = scene.at(100).consent("refresh-30");
    assert!(!matches!(scene.rest(), Decision::Rotate(_)));
}

#[test]
fn nothing_is_adopted_for_a_spec_without_a_server() {
    let nowhere = || Err(SpecProblem::Invalid("spec.server.caBundle is not PEM".into()));
    let mut scene = Scene::living().at(100).consent("consent-2").with_spec(|spec| spec.server = nowhere());
    scene.rest();
    assert!(scene.done.is_empty());
}

#[test]
fn a_consent_is_adopted_even_while_nothing_may_be_sent() {
    let mut scene = Scene::new().consent("consent-1").with_spec(|spec| spec.suspend = true);
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until.is_none()));
    assert_eq!(scene.done, ["publish", "adopt"]);
}

/// S3, and only after success.
#[test]
fn the_key_is_removed_when_its_token_was_accepted_and_not_before() {
    let mut scene = Scene::new().consent("consent-1").seeing(|_| ());
    scene.exchange(no_connection());
    assert!(!scene.done.contains(&"tidy"));
    scene = scene.at(10);
    scene.exchange(silence());
    assert!(!scene.done.contains(&"tidy"));
    scene = scene.at(100);
    scene.exchange(pair("1"));
    assert_eq!(scene.done.last(), Some(&"tidy"));
}

#[test]
fn what_is_tidied_names_the_secret_the_key_the_version_and_the_copy() {
    let mut scene = Scene::adopted().with_spec(|spec| spec.initial_grant.as_mut().unwrap().key = "token".into());
    if let InitialGrant::Present(token) = &mut scene.snapshot.initial {
        token.copied = true;
    }
    let (attempt, start) = scene.begin();
    let end = crate::scenes::ending(pair("1"), start, start);
    let grant =
        crate::scenes::written(pleo_operator::domain::commit::settlement::settle(scene.grant(), &attempt, &end));
    scene.store(grant);
    let content = projection::desired(&scene.snapshot, scene.now).unwrap();
    scene.publish(&content);
    let Decision::RemoveAdoptedToken(token_removal) = scene.decide() else { panic!("{:?}", scene.decide()) };
    assert_eq!((token_removal.secret.as_str(), token_removal.key.as_str()), ("acme-grant", "token"));
    assert_eq!((token_removal.version.as_str(), token_removal.copied), ("initial-1", true));
}

#[test]
fn with_keep_or_where_it_cannot_be_changed_the_key_stays() {
    let keeping = Scene::adopted().with_spec(|spec| spec.initial_grant.as_mut().unwrap().keep = true);
    let fixed = Scene::adopted().seeing(|seen| seen.deferred.token_removal = true);
    for mut scene in [keeping, fixed] {
        assert!(matches!(scene.exchange(pair("1")), Decision::Wait(_)));
        assert!(!scene.done.contains(&"tidy"));
    }
}

/// A GitOps tool that puts the key back is not fought.
#[test]
fn a_key_that_comes_back_later_stays() {
    let mut scene = Scene::adopted();
    scene.exchange(pair("1"));
    scene = scene.at(850);
    scene.exchange(pair("2"));
    let mut scene = scene.at(900).consent("consent-1");
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(scene.done.iter().filter(|done| **done == "tidy").count(), 1);
}

#[test]
fn the_key_of_a_refused_consent_stays() {
    let mut scene = Scene::adopted();
    scene.exchange(reply(400, r#"{"error":"invalid_token"}"#));
    assert!(!scene.done.contains(&"tidy"));
    assert_eq!(scene.grant().last_rejection.as_ref().unwrap().reason, RejectionReason::TokenInvalid);
}
