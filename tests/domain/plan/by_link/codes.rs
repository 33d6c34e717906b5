//! An authorization code that a browser brought: it is sent once, and becomes a pair or nothing (X5).

use pleo_operator::{
    api::ReauthReason,
    domain::{
        commit::{
            attempt::Attempt,
            settlement::{Settlement, settle},
        },
        ledger::{
            authorization::SessionEnd,
            grant::{FailureRecord, Grant, RejectionReason, Which},
            held::AttemptId,
            record,
        },
        plan::{
            decide::Decision,
            link::{self, CODE_LIFETIME},
            users::reauth,
        },
        snapshot::{ClaimOwner, GrantSecret, LocalObservations},
    },
};

use super::links::{arrival, consented, end_of_visit, link_of};
use crate::scenes::{
    PRODUCTION, STAGING, Scene, at, ending, fingerprint, invalid_grant, known, no_connection, pair, reply, secs,
    server, silence, written,
};

#[test]
fn a_code_that_was_brought_becomes_a_pair() {
    let mut scene = consented();
    assert_eq!((link_of(&scene), reauth::reauth(&scene.snapshot).reason), (None, ReauthReason::NotTried));
    scene.exchange(pair("1"));
    assert_eq!(scene.sent.last().unwrap().0, "code-1");
    let grant = scene.grant();
    assert_eq!((grant.rotation, grant.current.as_ref().unwrap().refresh.token.expose()), (8, "refresh-1"));
    assert_eq!(
        (end_of_visit(&scene), &grant.by_link.code, &grant.by_link.link),
        (Some(SessionEnd::Connected), &None, &None)
    );
    assert_eq!(reauth::reauth(&scene.snapshot).reason, ReauthReason::GrantValid);
    assert!(scene.snapshot.token.published().unwrap().usable(scene.now).is_some(), "and pods have it");
}

/// I1: whoever claims a code takes it out of the grant. A code in doubt is never sent again.
#[test]
fn a_code_is_sent_once_whatever_becomes_of_it() {
    for (outcome, end) in [
        (invalid_grant(), SessionEnd::Rejected),
        (silence(), SessionEnd::Failed),
        (no_connection(), SessionEnd::Failed),
        (reply(429, "{}"), SessionEnd::Failed),
        (reply(503, "{}"), SessionEnd::Failed),
        (reply(401, r#"{"error":"invalid_client"}"#), SessionEnd::Misconfigured),
        (reply(200, r#"{"access_token":"a"}"#), SessionEnd::Misconfigured),
    ] {
        let mut scene = consented();
        let (attempt, _) = scene.begin();
        assert_eq!((attempt.which, &scene.grant().by_link.code), (Which::Code, &None));
        scene.store(written(settle(scene.grant(), &attempt, &ending(outcome, scene.now, scene.now))));
        assert_eq!(end_of_visit(&scene), Some(end));
        let mut scene = scene.at(100_000);
        assert!(matches!(scene.rest(), Decision::Wait(_)));
        assert_eq!(scene.sent.len(), 1);
        assert!(link_of(&scene).is_some(), "there is a new link");
        assert_eq!(reauth::reauth(&scene.snapshot).reason, ReauthReason::GrantRefused, "the old reason stands");
    }
}

/// The process that had claimed it is dead: nobody knows, nobody sends it again, and the human is told.
#[test]
fn a_code_whose_holder_died_is_lost_and_told() {
    let mut scene = consented();
    scene.begin();
    let seen_for = |scene: Scene, seconds| {
        scene.seeing(|seen| {
            let claim_owner = Some(ClaimOwner::Elsewhere);
            seen.local =
                LocalObservations { claim_owner, claim_seen_for: secs(seconds), ..LocalObservations::default() };
        })
    };
    let mut scene = seen_for(scene.at(170), 70);
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(end_of_visit(&scene), None);
    let mut scene = seen_for(scene.at(175), 75);
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!((end_of_visit(&scene), &scene.grant().claim), (Some(SessionEnd::Lost), &None));
    assert_eq!((scene.sent.len(), link_of(&scene).is_some()), (1, true));
}

/// I2: he was not dead. What he brings is the newest consent.
#[test]
fn a_pair_that_a_code_bought_is_kept_however_late() {
    let mut scene = consented();
    let (attempt, started_at) = scene.begin();
    let mut lost = scene.clone();
    let mut grant = scene.grant().clone();
    grant.claim = None;
    grant.end_session(&attempt.fingerprint, SessionEnd::Lost);
    lost.store(grant);
    lost.store(written(settle(lost.grant(), &attempt, &ending(pair("1"), started_at, at(400)))));
    assert_eq!(lost.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-1");
    assert_eq!(end_of_visit(&lost), Some(SessionEnd::Connected));
    assert!(matches!(
        settle(lost.grant(), &attempt, &ending(pair("1"), started_at, at(400))),
        Settlement::AlreadyStored
    ));
}

/// A code waits for its leader for five minutes, and for its server.
#[test]
fn a_code_that_nobody_can_exchange_is_forgotten() {
    let late = i64::try_from(CODE_LIFETIME.as_secs()).unwrap();
    let suspend = |scene: Scene| scene.with_spec(|spec| spec.suspend = true);
    let mut scene = suspend(consented()).at(100 + late - 1);
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.until == Some(at(100 + late))));
    assert!(scene.grant().by_link.code.is_some());
    for scene in [suspend(consented()).at(100 + late), consented().with_spec(|spec| spec.server = Ok(server(STAGING)))]
    {
        let mut scene = scene;
        assert!(matches!(scene.rest(), Decision::Wait(_)));
        assert_eq!((end_of_visit(&scene), &scene.grant().by_link.code), (Some(SessionEnd::TooLate), &None));
        assert_eq!(scene.sent.len(), 0);
    }
}

/// I7: the replica that took the code in may have another time of day than the one that exchanges it.
#[test]
fn a_clock_that_is_wrong_makes_no_code_too_old() {
    for apart in [-3 * 3600, 3 * 3600] {
        let mut scene = consented().seeing(|seen| {
            let GrantSecret::Ours(grant) = &mut seen.grant else { panic!("a grant") };
            grant.value.by_link.code.as_mut().unwrap().record.received_at = at(100 + apart);
        });
        scene.exchange(pair("1"));
        assert_eq!(end_of_visit(&scene), Some(SessionEnd::Connected), "{apart} s apart");
    }
}

/// I1: a backup that is put back while its code is under way, or hours later, does not make anybody send it again.
#[test]
fn a_code_that_was_put_back_is_not_sent_again() {
    let with_code = consented().grant().clone();
    for outcome in [pair("1"), invalid_grant(), silence()] {
        let mut scene = consented();
        let (attempt, started_at) = scene.begin();
        scene.store(with_code.clone());
        let ending = ending(outcome, started_at, at(110));
        scene.store(written(settle(scene.grant(), &attempt, &ending)));
        assert_eq!(scene.grant().by_link.code, None);
        let put_back_later = scene.seeing(|seen| {
            let GrantSecret::Ours(grant) = &mut seen.grant else { panic!("a grant") };
            grant.value = with_code.clone();
            seen.local.code_seen_for = secs(0);
        });
        let mut hours_later = put_back_later.clone().at(100 + 24 * 3600 + 1);
        hours_later.snapshot.local.code_seen_for = secs(0);
        assert!(matches!(hours_later.rest(), Decision::Wait(_)));
        assert_eq!((hours_later.sent.len(), &hours_later.grant().by_link.code), (1, &None));
        let mut by_its_sender = put_back_later.seeing(|seen| seen.local.code_seen_for = std::time::Duration::MAX);
        assert!(matches!(by_its_sender.rest(), Decision::Wait(_)));
        assert_eq!(by_its_sender.sent.len(), 1, "it knows that it has sent it");
    }
}

/// I9: a living grant stays until the new one is proved, and goes on being refreshed.
#[test]
fn a_refused_code_costs_a_living_grant_nothing() {
    let mut scene = Scene::living().at(100);
    scene.store(link::accept(scene.grant(), arrival("code-1"), at(100)));
    scene.exchange(invalid_grant());
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-7");
    assert_eq!(reauth::reauth(&scene.snapshot).reason, ReauthReason::GrantValid);
    let mut scene = scene.at(850);
    scene.exchange(pair("8"));
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-8");
}

/// Of two consents that wait, the newer one wins, whichever way it came.
#[test]
fn the_newest_consent_wins() {
    let mut older = Scene::dead(RejectionReason::GrantRefused).at(100).consent("consent-2");
    assert!(matches!(older.rest(), Decision::Rotate(_)), "the candidate is about to be sent");
    older.store(link::accept(older.grant(), arrival("code-1"), at(100)));
    older.exchange(pair("1"));
    assert_eq!((older.sent.last().unwrap().0.as_str(), &older.grant().candidate), ("code-1", &None));

    let mut newer = consented().consent("consent-2");
    newer.exchange(pair("1"));
    assert_eq!(newer.sent.last().unwrap().0, "code-1", "it ends soonest");
    let mut newer = newer.at(110);
    newer.exchange(pair("2"));
    let sent: Vec<_> = newer.sent.iter().map(|(token, _)| token.as_str()).collect();
    assert_eq!(sent, ["code-1", "consent-2"]);
    assert_eq!(newer.grant().current.as_ref().unwrap().refresh.token.expose(), "refresh-2");
}

/// A slow exchange of a code that ends after a newer consent was proved.
#[test]
fn a_code_gives_way_to_a_newer_consent_that_is_proved() {
    let mut scene = consented();
    let (attempt, started_at) = scene.begin();
    let mut grant: Grant = scene.grant().clone();
    grant.claim = None;
    scene.store(grant);
    let mut scene = scene.at(110).consent("consent-2");
    scene.exchange(pair("2"));
    let grant = written(settle(scene.grant(), &attempt, &ending(pair("1"), started_at, at(120))));
    assert_eq!(grant.current.as_ref().unwrap().refresh.token.expose(), "refresh-2");
    assert_eq!(grant.by_link.session.unwrap().end, Some(SessionEnd::Replaced));
    let told_before = scene.clone().with_grant(|grant| grant.end_session(&attempt.fingerprint, SessionEnd::Lost));
    let another_waits =
        scene.with_grant(|grant| grant.by_link.session.as_mut().unwrap().code = fingerprint("another code"));
    for scene in [told_before, another_waits] {
        let settlement = settle(scene.grant(), &attempt, &ending(pair("1"), started_at, at(120)));
        assert!(matches!(settlement, Settlement::Superseded), "there is nothing to write: {settlement:?}");
    }
}

/// What becomes of a code is stored once, and held against that code only.
#[test]
fn a_refused_code_is_told_once_and_leaves_the_others_alone() {
    let mut scene = consented().with_grant(|grant| grant.history.push(known("consent-0", PRODUCTION)));
    let (attempt, started_at) = scene.begin();
    let refused = ending(invalid_grant(), started_at, at(110));
    let earlier = FailureRecord { attempt: AttemptId("earlier".into()), ..failure_of(&scene, &attempt) };
    scene.store(Grant { last_failure: Some(earlier), ..scene.grant().clone() });
    scene.store(written(settle(scene.grant(), &attempt, &refused)));
    let marks: Vec<_> = scene.grant().history.iter().map(|old| (old.fingerprint.clone(), old.is_rejected())).collect();
    assert!(marks.contains(&(attempt.fingerprint.clone(), true)) && marks.contains(&(fingerprint("consent-0"), false)));
    assert!(matches!(settle(scene.grant(), &attempt, &refused), Settlement::AlreadyStored));
}

/// The failure that a refusal of this attempt would leave behind.
fn failure_of(scene: &Scene, attempt: &Attempt) -> FailureRecord {
    let grant = written(settle(scene.grant(), attempt, &ending(invalid_grant(), at(100), at(105))));
    grant.last_failure.expect("a failure")
}

/// A claim on another token, or on a code whose end was told, is left to whoever takes it over.
#[test]
fn only_the_claim_on_a_waiting_code_is_forgotten() {
    let abandoned = |scene: Scene| scene.with_claim("refresh-7", at(100), ClaimOwner::DeadHere, 60);
    let waiting = abandoned(consented()).with_grant(|grant| grant.by_link.code = None);
    let ended = {
        let mut scene = consented();
        let (attempt, _) = scene.begin();
        scene.with_grant(|grant| grant.end_session(&attempt.fingerprint, SessionEnd::Lost))
    };
    for scene in [waiting, ended] {
        assert_eq!(link::forgotten(&scene.snapshot, true, scene.now), None);
        assert!(scene.grant().claim.is_some());
    }
}

/// While its code is exchanged nobody else needs to consent.
#[test]
fn a_human_is_not_called_while_a_code_is_exchanged() {
    let mut scene = consented();
    scene.begin();
    assert_eq!(scene.grant().by_link.code, None);
    assert_eq!((reauth::reauth(&scene.snapshot).reason, link_of(&scene)), (ReauthReason::NotTried, None));
}

/// What a browser brought stands in the Secret as it was brought; a verifier or a code that does not fit is left out.
#[test]
fn a_code_and_its_visit_are_read_as_they_were_written() {
    let grant = consented().grant().clone();
    let data = record::encode(&grant);
    assert_eq!(record::decode(data.clone()).as_ref(), Ok(&grant));
    let mut edited = data.clone();
    edited.insert("authorization_code".into(), b"another".to_vec());
    let read = record::decode(edited).expect("a grant");
    assert_eq!(
        (read.by_link.code, read.by_link.session),
        (None, grant.by_link.session),
        "a code that is not the ledger's is never sent"
    );
}
