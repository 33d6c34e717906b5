//! How an attempt ends in the grant as it stands *then*: decided by token, never by rotation number. A pair in hand is
//! dropped only if a newer attempt has won.

use pleo_operator::domain::{
    commit::settlement::{AttemptResult, Settlement, settle},
    failure::{Failure, FailureKind},
    ledger::{
        grant::{Grant, RejectionReason, Which},
        held::AttemptId,
    },
};

use crate::scenes::{
    PRODUCTION, STAGING, UID, accepted, at, candidate, claim_of, claimed, current, ending, fingerprint, invalid_grant,
    known, no_connection, pair, rejection, reply, secs, silence, token_url, written,
};

pub(super) fn living() -> Grant {
    let mut grant = Grant::new(UID, 7);
    grant.current = Some(current("refresh-7", PRODUCTION, at(0), secs(900)));
    grant
}

pub(super) fn with_candidate(grant: Grant, token: &str) -> Grant {
    let mut grant = grant;
    grant.candidate = Some(candidate(token, PRODUCTION));
    grant.history.push(known(token, PRODUCTION));
    grant
}

pub(super) fn live_token(grant: &Grant) -> Option<&str> {
    grant.current.as_ref().map(|current| current.refresh.token.expose())
}

#[test]
fn a_claim_names_the_token_the_holder_and_its_end() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let claim = stored.claim.as_ref().unwrap();
    assert_eq!((claim.started_at, claim.ends_at), (at(850), at(920)), "10 s to send and 60 s to wait");
    assert_eq!((&claim.fingerprint, claim.attempt.0.as_str()), (&fingerprint("refresh-7"), "here-1"));
    assert_eq!((attempt.server, attempt.claimed), (token_url(PRODUCTION), stored));
}

/// F3: new pair, rotation number and end of the claim in one write.
#[test]
fn a_pair_takes_the_place_of_the_one_that_bought_it() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let grant = written(settle(&stored, &attempt, &ending(pair("8"), at(851), at(855))));
    let current = grant.current.as_ref().unwrap();
    assert_eq!((current.refresh.token.expose(), current.access.as_ref().unwrap().expose()), ("refresh-8", "access-8"));
    assert_eq!(
        (current.issue.issued_at, current.issue.expires_at()),
        (at(851), at(1751)),
        "from the start of the request"
    );
    assert_eq!((grant.rotation, &grant.claim, grant.last_sent_at), (8, &None, Some(at(851))));
    assert_eq!(current.refresh.server, token_url(PRODUCTION));
}

/// RFC 6749 section 6.
#[test]
fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let answer = reply(200, r#"{"access_token":"access-8","expires_in":900}"#);
    let grant = written(settle(&stored, &attempt, &ending(answer, at(850), at(851))));
    assert_eq!((live_token(&grant), grant.rotation), (Some("refresh-7"), 8));

    let fresh = with_candidate(Grant::new(UID, 0), "consent-1");
    let (stored, attempt) = claimed(&fresh, Which::Candidate, "here-1", at(0));
    let answer = reply(200, r#"{"access_token":"access-1","expires_in":900}"#);
    let grant = written(settle(&stored, &attempt, &ending(answer, at(0), at(1))));
    assert_eq!((live_token(&grant), &grant.candidate), (Some("consent-1"), &None));
}

#[test]
fn a_proved_candidate_replaces_the_living_pair_and_is_that_servers_for_good() {
    let (stored, attempt) = claimed(&with_candidate(living(), "consent-2"), Which::Candidate, "here-1", at(100));
    let grant = written(settle(&stored, &attempt, &ending(pair("8"), at(100), at(101))));
    assert_eq!((live_token(&grant), &grant.candidate), (Some("refresh-8"), &None));
    assert_eq!(grant.history, [accepted("consent-2", PRODUCTION, 8)]);
    assert!(grant.knows(&fingerprint("consent-2"), &token_url(STAGING), None), "I8");
}

/// The answer to the write was lost, and the write was stored.
#[test]
fn what_this_attempt_stored_already_is_not_stored_again() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let end = ending(pair("8"), at(850), at(851));
    let grant = written(settle(&stored, &attempt, &end));
    assert_eq!(settle(&grant, &attempt, &end), Settlement::AlreadyStored);
}

/// The same for a failure: one exchange that failed is one failure.
#[test]
fn a_failure_that_was_stored_already_is_not_counted_again() {
    for outcome in [silence(), no_connection(), reply(429, ""), reply(401, r#"{"error":"invalid_client"}"#)] {
        let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
        let end = ending(outcome.clone(), at(850), at(851));
        let grant = written(settle(&stored, &attempt, &end));
        assert_eq!(settle(&grant, &attempt, &end), Settlement::AlreadyStored, "{outcome:?}");
    }
}

#[test]
fn a_refusal_that_was_stored_already_changes_nothing() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let end = ending(invalid_grant(), at(850), at(851));
    let grant = written(settle(&stored, &attempt, &end));
    assert_eq!(settle(&grant, &attempt, &end), Settlement::Superseded);
}

/// I2: by token, not by number. Whatever else was written meanwhile, the token that bought the pair is still there.
#[test]
fn a_pair_is_stored_as_long_as_the_token_that_bought_it_stands_there() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let mut meanwhile = with_candidate(stored, "consent-2");
    meanwhile.rotation = 12;
    meanwhile.claim = Some(claim_of("refresh-7", at(900)));
    let grant = written(settle(&meanwhile, &attempt, &ending(pair("8"), at(850), at(910))));
    assert_eq!((live_token(&grant), grant.rotation), (Some("refresh-8"), 13));
    assert_eq!(grant.candidate.unwrap().token.expose(), "consent-2", "another consent is not touched");
    assert_eq!(grant.claim, meanwhile.claim, "no write removes another's claim");
}

#[test]
fn a_pair_is_dropped_if_somebody_newer_has_won() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let mut newer = stored;
    newer.current = Some(current("refresh-9", PRODUCTION, at(930), secs(900)));
    newer.claim = None;
    let end = ending(pair("8"), at(850), at(1000));
    assert_eq!(settle(&newer, &attempt, &end), Settlement::Superseded);
    newer.claim = Some(claim_of("refresh-9", at(990)));
    assert_eq!(settle(&newer, &attempt, &end), Settlement::Superseded);
}

#[test]
fn where_somebody_newer_has_won_only_our_own_claim_is_removed() {
    let (mut stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    stored.current = Some(current("refresh-9", PRODUCTION, at(860), secs(900)));
    let grant = written(settle(&stored, &attempt, &ending(pair("8"), at(850), at(870))));
    assert_eq!((live_token(&grant), &grant.claim, grant.rotation), (Some("refresh-9"), &None, 7));
}

/// A refusal is final only if the token that was refused still stands there.
#[test]
fn a_refusal_wipes_nothing_where_a_newer_token_stands() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let mut newer = stored.clone();
    newer.current = Some(current("refresh-9", PRODUCTION, at(930), secs(900)));
    newer.claim = None;
    let end = ending(invalid_grant(), at(850), at(1000));
    assert_eq!(settle(&newer, &attempt, &end), Settlement::Superseded);
    newer.claim = stored.claim;
    let grant = written(settle(&newer, &attempt, &end));
    assert_eq!((live_token(&grant), &grant.claim, &grant.last_rejection), (Some("refresh-9"), &None, &None));
}

/// I9.
#[test]
fn a_refused_candidate_keeps_the_living_grant_and_a_refused_live_token_keeps_the_candidate() {
    let both = with_candidate(living(), "consent-2");
    let (stored, attempt) = claimed(&both, Which::Candidate, "here-1", at(100));
    let grant = written(settle(&stored, &attempt, &ending(invalid_grant(), at(100), at(101))));
    assert_eq!((live_token(&grant), &grant.candidate), (Some("refresh-7"), &None));
    assert_eq!(grant.last_rejection.unwrap().fingerprint, fingerprint("consent-2"));

    let (stored, attempt) = claimed(&both, Which::Current, "here-1", at(100));
    let grant = written(settle(&stored, &attempt, &ending(invalid_grant(), at(100), at(101))));
    assert_eq!(grant.current, None);
    assert_eq!(grant.candidate.unwrap().token.expose(), "consent-2");
}

#[test]
fn no_ending_removes_another_processs_claim() {
    for outcome in [
        pair("8"),
        invalid_grant(),
        silence(),
        no_connection(),
        reply(429, ""),
        reply(400, r#"{"error":"invalid_client"}"#),
    ] {
        let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
        let (retaken, other) = claimed(&stored, Which::Current, "elsewhere-1", at(930));
        match settle(&retaken, &attempt, &ending(outcome.clone(), at(850), at(940))) {
            Settlement::Write(grant) => assert_eq!(grant.claim.unwrap().attempt, other.id, "{outcome:?}"),
            Settlement::AlreadyStored | Settlement::Superseded => {}
        }
    }
}

#[test]
fn the_start_of_an_exchange_is_remembered_and_never_goes_back() {
    let mut grant = living();
    grant.last_sent_at = Some(at(840));
    let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
    let failed = written(settle(&stored, &attempt, &ending(silence(), at(851), at(920))));
    assert_eq!(failed.last_sent_at, Some(at(851)));
    let mut later = stored;
    later.last_sent_at = Some(at(900));
    let failed = written(settle(&later, &attempt, &ending(silence(), at(851), at(920))));
    assert_eq!(failed.last_sent_at, Some(at(900)));
}

/// A connection may take seconds to stand; the next exchange keeps its distance from the instant of sending.
#[test]
fn a_tokens_life_counts_from_the_start_and_the_distance_from_the_sending() {
    let (stored, attempt) = claimed(&living(), Which::Current, "here-1", at(850));
    let end = AttemptResult { sent_at: at(858), ..ending(pair("8"), at(851), at(860)) };
    let grant = written(settle(&stored, &attempt, &end));
    assert_eq!(grant.current.as_ref().unwrap().issue.issued_at, at(851));
    assert_eq!(grant.last_sent_at, Some(at(858)));
}

/// A stored time that lies in the future means that a clock was wrong.
#[test]
fn a_start_that_lies_in_the_future_is_replaced_by_the_true_one() {
    let mut grant = living();
    grant.last_sent_at = Some(at(10_000_000));
    let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
    let grant = written(settle(&stored, &attempt, &ending(pair("8"), at(851), at(852))));
    assert_eq!(grant.last_sent_at, Some(at(851)));
}

#[test]
fn a_row_of_failures_that_began_in_the_future_begins_now() {
    let mut grant = living();
    grant.attempts_mut(Which::Current).unwrap().failing_since = Some(at(10_000_000));
    let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
    let mut grant = written(settle(&stored, &attempt, &ending(no_connection(), at(851), at(852))));
    assert_eq!(grant.attempts_mut(Which::Current).unwrap().failing_since, Some(at(852)));
}

/// Stored numbers may have been edited by anybody; a pair in hand must outlive them (I2).
#[test]
fn numbers_at_their_end_do_not_cost_a_pair() {
    let mut grant = living();
    grant.rotation = u64::MAX;
    grant.attempts_mut(Which::Current).unwrap().failures = u32::MAX;
    for answer in [pair("8"), reply(200, r#"{"refresh_token":"refresh-8"}"#)] {
        let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
        let end = ending(answer, at(851), at(852));
        let settled = std::panic::catch_unwind(|| settle(&stored, &attempt, &end)).expect("no panic");
        assert_eq!(live_token(&written(settled)), Some("refresh-8"));
    }
}

#[test]
fn a_failed_attempt_leaves_everything_else_as_it_is() {
    let mut grant = with_candidate(living(), "consent-2");
    grant.handled_request = Some("yesterday".into());
    grant.last_rejection = Some(rejection("consent-1", RejectionReason::TokenInvalid));
    grant.unknown.insert("novelty".into(), 7.into());
    for kind in [FailureKind::NotSent, FailureKind::Throttled, FailureKind::OutcomeUnknown] {
        let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
        let outcome = pleo_operator::domain::failure::Outcome::Failed(Failure::new(kind, "it failed"));
        let mut after = written(settle(&stored, &attempt, &ending(outcome, at(851), at(852))));
        let retry = after.current.as_ref().unwrap().refresh.attempts.retry().cloned().unwrap();
        assert_eq!((retry.attempt, retry.failed_at), (AttemptId("here-1".into()), at(852)));
        *after.attempts_mut(Which::Current).unwrap() = grant.current.as_ref().unwrap().refresh.attempts.clone();
        (after.last_failure, after.last_sent_at) = (None, None);
        assert_eq!(after, grant);
    }
}
