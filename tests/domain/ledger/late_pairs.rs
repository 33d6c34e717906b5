//! A pair whose token is not held any more when it comes: stored, unless something newer has won (I2, I9).

use pleo_operator::domain::{
    commit::settlement::{Settlement, settle},
    ledger::grant::{Grant, RejectionReason, Which},
};

use super::commits::{live_token, living, with_candidate};
use crate::scenes::{
    PRODUCTION, Scene, UID, accepted, at, claimed, ending, fingerprint, invalid_grant, our_id, pair, reply, written,
};

/// I2: the other process presented the token after we had spent it; the pair it bought is in our hands.
#[test]
fn a_pair_is_stored_after_another_process_wiped_the_token_that_bought_it() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let (retaken, other) = claimed(&stored, Which::Current, "elsewhere-1", at(930));
    let wiped = written(settle(&retaken, &other, &ending(invalid_grant(), at(930), at(931))));
    assert_eq!((&wiped.current, wiped.last_rejection.as_ref().unwrap().reason), (&None, RejectionReason::RotationLost));
    let grant = written(settle(&wiped, &attempt, &ending(pair("8"), at(850), at(935))));
    assert_eq!((live_token(&grant), &grant.last_rejection), (Some("refresh-8"), &None));
}

/// I2: the same if a new consent came and was refused before we could write: nothing newer lives.
#[test]
fn a_pair_is_stored_after_the_wipe_even_if_another_token_was_refused_since() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let (retaken, other) = claimed(&stored, Which::Current, "elsewhere-1", at(930));
    let wiped = written(settle(&retaken, &other, &ending(invalid_grant(), at(930), at(931))));
    let (consented, third) = claimed(&with_candidate(wiped, "consent-2"), Which::Candidate, "elsewhere-2", at(940));
    let refused_again = written(settle(&consented, &third, &ending(invalid_grant(), at(940), at(941))));
    let grant = written(settle(&refused_again, &attempt, &ending(pair("8"), at(850), at(945))));
    assert_eq!(live_token(&grant), Some("refresh-8"));
}

/// I3: stored by this attempt, then refused when the next one presented it: storing it again would bring a dead token back.
#[test]
fn a_pair_that_was_stored_and_then_refused_is_not_stored_again() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let end = ending(pair("8"), at(850), at(851));
    let committed = written(settle(&stored, &attempt, &end));
    let (claimed_anew, other) = claimed(&committed, Which::Current, "elsewhere-1", at(1700));
    let wiped = written(settle(&claimed_anew, &other, &ending(invalid_grant(), at(1700), at(1701))));
    assert_eq!(wiped.last_rejection.as_ref().unwrap().fingerprint, fingerprint("refresh-8"));
    let again = settle(&wiped, &attempt, &end);
    assert_eq!(again, Settlement::Superseded, "refresh-8 was refused");
}

/// I2: stored by this attempt, then rotated by the next one.
#[test]
fn a_pair_of_the_live_token_that_was_stored_and_then_spent_is_not_stored_again() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let end = ending(pair("8"), at(850), at(851));
    let committed = written(settle(&stored, &attempt, &end));
    let (claimed_anew, other) = claimed(&committed, Which::Current, "elsewhere-1", at(1700));
    let rotated = written(settle(&claimed_anew, &other, &ending(pair("9"), at(1700), at(1701))));
    assert_eq!(settle(&rotated, &attempt, &end), Settlement::Superseded);
}

/// The same for a first token.
#[test]
fn a_pair_of_a_candidate_that_was_stored_and_then_spent_is_not_stored_again() {
    let fresh = with_candidate(Grant::new(UID, 0), "consent-1");
    let (stored, attempt) = claimed(&fresh, Which::Candidate, "here-1", at(0));
    let end = ending(pair("1"), at(0), at(1));
    let committed = written(settle(&stored, &attempt, &end));
    let (claimed_anew, other) = claimed(&committed, Which::Current, "elsewhere-1", at(850));
    let rotated = written(settle(&claimed_anew, &other, &ending(pair("2"), at(850), at(851))));
    let again = settle(&rotated, &attempt, &end);
    assert_eq!(again, Settlement::Superseded, "refresh-1 is spent, and refresh-2 lives");
}

/// The same where another process bought a pair with that very candidate, from a server that forgives a repeat.
#[test]
fn a_pair_of_a_candidate_is_dropped_if_another_process_bought_a_newer_one_with_it() {
    let fresh = with_candidate(Grant::new(UID, 0), "consent-1");
    let (stored, attempt) = claimed(&fresh, Which::Candidate, "here-1", at(0));
    let (retaken, other) = claimed(&stored, Which::Candidate, "elsewhere-1", at(400));
    let rotated = written(settle(&retaken, &other, &ending(pair("newer"), at(400), at(401))));
    let ours = settle(&rotated, &attempt, &ending(pair("older"), at(0), at(410)));
    assert_eq!(ours, Settlement::Superseded);
}

/// The grant Secret is deleted while the answer is on its way, and another process adopts a token that was kept in the initial
/// grant and begins a grant without any memory.
fn begun_without_memory() -> Grant {
    with_candidate(Grant::new(UID, 7), "consent-0")
}

/// I2: an old token that is rejected meanwhile replaces nothing: no pair was stored since the claim.
#[test]
fn a_pair_is_stored_into_a_new_grant_whose_only_token_was_rejected() {
    for which in [Which::Current, Which::Candidate] {
        let before = with_candidate(living(), "consent-1");
        let (_, attempt) = claimed(&before, which, "here-1", at(850));
        let (begun, other) = claimed(&begun_without_memory(), Which::Candidate, "elsewhere-1", at(852));
        let rejected = written(settle(&begun, &other, &ending(invalid_grant(), at(852), at(853))));
        assert_eq!((&rejected.current, rejected.last_rejection.is_some()), (&None, true));

        let grant = written(settle(&rejected, &attempt, &ending(pair("8"), at(850), at(860))));
        assert_eq!((live_token(&grant), grant.rotation, &grant.last_rejection), (Some("refresh-8"), 8, &None));
        assert!(grant.has_seen(&fingerprint("consent-0")), "what was rejected is not adopted again");
    }
}

/// I2: nor does one that was not tried yet.
#[test]
fn a_pair_is_stored_into_a_new_grant_whose_only_token_is_not_proved() {
    let (_, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let grant = written(settle(&begun_without_memory(), &attempt, &ending(pair("8"), at(850), at(860))));
    assert_eq!(live_token(&grant), Some("refresh-8"));
    assert_eq!(grant.candidate.unwrap().token.expose(), "consent-0", "its turn comes");
}

/// I9: a newer authorization that was accepted wins, and so does a pair that was bought later, even if it was rejected since.
#[test]
fn a_pair_is_dropped_if_a_new_grant_has_a_pair_or_had_one() {
    let (_, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let (begun, other) = claimed(&begun_without_memory(), Which::Candidate, "elsewhere-1", at(852));
    let proved = written(settle(&begun, &other, &ending(pair("new-1"), at(852), at(853))));
    let end = ending(pair("8"), at(850), at(960));
    assert_eq!(settle(&proved, &attempt, &end), Settlement::Superseded);

    let (presented, third) = claimed(&proved, Which::Current, "elsewhere-2", at(950));
    let rejected = written(settle(&presented, &third, &ending(invalid_grant(), at(950), at(951))));
    assert_eq!(settle(&rejected, &attempt, &end), Settlement::Superseded);
}

/// I9: an unproved consent is no reason to drop a proved pair.
#[test]
fn a_pair_is_stored_even_if_its_consent_was_replaced_by_one_that_is_not_proved() {
    for before in [Grant::new(UID, 0), living()] {
        let (stored, attempt) = claimed(&with_candidate(before, "consent-2"), Which::Candidate, "here-1", at(100));
        let newer = with_candidate(stored, "consent-3");
        let grant = written(settle(&newer, &attempt, &ending(pair("2"), at(100), at(101))));
        assert_eq!(live_token(&grant), Some("refresh-2"));
        assert_eq!(grant.candidate.unwrap().token.expose(), "consent-3", "its turn comes");
    }
}

/// I2: and it is stored if that newer consent was refused.
#[test]
fn a_pair_is_stored_even_if_its_consent_was_replaced_by_one_that_was_refused() {
    for before in [Grant::new(UID, 0), living()] {
        let (stored, attempt) = claimed(&with_candidate(before, "consent-2"), Which::Candidate, "here-1", at(100));
        let newer = with_candidate(stored, "consent-3");
        let (claimed_anew, other) = claimed(&newer, Which::Candidate, "elsewhere-1", at(200));
        let refused = written(settle(&claimed_anew, &other, &ending(invalid_grant(), at(200), at(201))));
        let grant = written(settle(&refused, &attempt, &ending(pair("2"), at(100), at(210))));
        assert_eq!(live_token(&grant), Some("refresh-2"));
    }
}

#[test]
fn a_pair_is_dropped_if_a_newer_consent_was_proved() {
    let (stored, attempt) = claimed(&with_candidate(living(), "consent-2"), Which::Candidate, "here-1", at(100));
    let newer = with_candidate(stored, "consent-3");
    let (claimed_anew, other) = claimed(&newer, Which::Candidate, "elsewhere-1", at(200));
    let proved = written(settle(&claimed_anew, &other, &ending(pair("3"), at(200), at(201))));
    let ours = settle(&proved, &attempt, &ending(pair("2"), at(100), at(210)));
    assert_eq!(ours, Settlement::Superseded);
}

/// I2: the user deleted the grant Secret while the answer was on its way; what was claimed is the base then.
#[test]
fn a_pair_is_stored_into_a_grant_that_is_made_again() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let grant = written(settle(&attempt.claimed, &attempt, &ending(pair("8"), at(850), at(851))));
    assert_eq!((live_token(&grant), &grant.claim), (Some("refresh-8"), &None));
    assert_eq!(grant.history, stored.history);
}

/// I3: the server kept the refresh token and gave only an access token; the refresh token was rejected since.
#[test]
fn a_refresh_token_that_stayed_and_was_rejected_is_not_stored_again() {
    let before = with_candidate(Grant::new(UID, 0), "consent-1");
    let (stored, attempt) = claimed(&before, Which::Candidate, "here-1", at(0));
    let (retaken, other) = claimed(&stored, Which::Candidate, "elsewhere-1", at(400));
    let rejected = written(settle(&retaken, &other, &ending(invalid_grant(), at(400), at(401))));
    let answer = reply(200, r#"{"access_token":"access-1","expires_in":900}"#);
    assert_eq!(settle(&rejected, &attempt, &ending(answer, at(0), at(402))), Settlement::Superseded);
}

/// I2: somebody else presented our spent consent, and its refusal was stored first. Our pair is the living one, whatever was
/// accepted before it.
#[test]
fn a_pair_of_a_consent_that_was_wiped_meanwhile_is_kept() {
    let mut scene = Scene::living().at(100).consent("consent-2").with_grant(|grant| {
        grant.history.push(accepted("consent-1", PRODUCTION, 1));
    });
    let (attempt, started_at) = scene.begin();
    let mut grant = scene.grant().clone();
    (grant.claim, grant.current) = (None, None);
    grant.drop_candidate(Some(&our_id()));
    let grant = written(settle(&grant, &attempt, &ending(pair("2"), started_at, at(130))));
    assert_eq!(grant.current.unwrap().refresh.token.expose(), "refresh-2");
}
