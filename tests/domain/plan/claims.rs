//! A claim without commit or release: somebody may be sending that token right now, or has died doing so. Who waits how
//! long for whom, and what is in doubt afterwards (I1).

use std::time::Duration;

use pleo_operator::domain::{
    commit::attempt::{Claiming, claim},
    ledger::{
        grant::{Grant, Which},
        held::AttemptId,
    },
    plan::{
        adoption,
        decide::Decision,
        next_refresh::{NextRefresh, Rotation, WaitReason},
        schedule::Pace,
    },
    snapshot::{ClaimOwner, InitialGrant, LocalObservations, Snapshot},
};

use crate::scenes::{
    PRODUCTION, Scene, at, candidate, claim_of, claimed, known, no_connection, pair, secs, terms, token_url,
};

/// `refresh-7` was due at 805 and was claimed at 810: the claim ends at 880, the token at 900.
fn claimed_at_810(whose: ClaimOwner, seen_for: u64) -> Scene {
    Scene::living().at(810).with_claim("refresh-7", at(810), whose, seen_for)
}

#[test]
fn an_attempt_under_way_here_is_not_disturbed() {
    let scene = claimed_at_810(ClaimOwner::UnderWayHere, 0);
    assert_eq!(scene.waits().until, Some(at(812)), "and looked at again soon");
    let scene = scene.at(100_000).with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert!(!scene.is_sending());
}

/// I6: looking again and again is no reason to write again and again.
#[test]

fn an_attempt_under_way_is_told_once() {
    let scene = claimed_at_810(ClaimOwner::UnderWayHere, 0);
    let first = scene.status();
    assert_eq!(scene.at(812).status_after(&first), first);
}

/// Its process is dead, but its request may still live.
#[test]
fn a_claim_of_a_dead_process_of_this_pod_is_taken_over_after_the_settle_time() {
    let scene = claimed_at_810(ClaimOwner::DeadHere, 0);
    let wait = scene.waits();
    assert_eq!((wait.reason, wait.until), (WaitReason::Claim, Some(at(840))));
    assert!(!scene.clone().at(839).is_sending());
    assert!(scene.at(840).is_sending());
}

/// max(claim end + 5 s, min(expiry, claim start + 5 min)).
#[test]
fn a_claim_from_elsewhere_is_waited_for_until_its_token_has_ended_or_five_minutes_are_over() {
    let wait_for = |life: u64, started_at: i64| {
        let scene = Scene::living()
            .with_grant(|grant| grant.current.as_mut().unwrap().issue.lifetime_ms = life * 1000)
            .published()
            .at(started_at)
            .with_claim("refresh-7", at(started_at), ClaimOwner::Elsewhere, 0);
        let wait = match scene.next_refresh() {
            NextRefresh::At(until, WaitReason::Claim) => until,
            other => panic!("{other:?}"),
        };
        wait.duration_since(at(started_at)).as_secs()
    };
    assert_eq!(wait_for(900, 810), 90, "until the token's end: it outlives the claim's end and 5 s");
    assert_eq!(wait_for(900, 870), 75, "until the claim's end and 5 s");
    assert_eq!(wait_for(900, 2000), 75, "the token has ended already");
    assert_eq!(wait_for(86_400, 810), 300, "five minutes, though the token lives on");
    assert_eq!(wait_for(86_400, 86_000), 300);
    assert_eq!(wait_for(86_400, 86_200), 200);
}

#[test]
fn the_wait_for_a_claim_from_elsewhere_counts_from_when_it_was_first_seen() {
    assert_eq!(claimed_at_810(ClaimOwner::Elsewhere, 0).at(820).waits().until, Some(at(900)));
    let seen_late = Scene::living().at(860).with_claim("refresh-7", at(810), ClaimOwner::Elsewhere, 0);
    let NextRefresh::At(until, WaitReason::Claim) = seen_late.next_refresh() else {
        panic!("{:?}", seen_late.next_refresh())
    };
    assert_eq!(until, at(950), "90 s from now: the holder's clock is not ours");
    assert_eq!(claimed_at_810(ClaimOwner::Elsewhere, 89).waits().until, Some(at(811)));
    assert!(claimed_at_810(ClaimOwner::Elsewhere, 0).at(900).is_sending());
}

#[test]
fn whoever_made_a_claim_without_a_known_holder_counts_as_alive() {
    let scene = Scene::living().at(810).with_claim("refresh-7", at(810), ClaimOwner::Elsewhere, 0);
    let scene = scene.seeing(|seen| seen.local = LocalObservations::default());
    assert!(matches!(scene.next_refresh(), NextRefresh::At(_, WaitReason::Claim)));
}

#[test]
fn a_claim_of_ours_that_was_never_used_is_taken_over_at_once_and_without_doubt() {
    let mut scene = claimed_at_810(ClaimOwner::NeverSentHere, 0);
    let rotation = scene.sends();
    assert!(rotation.claim_unused);
    let (attempt, _) = scene.begin();
    assert!(!attempt.claimed.current.unwrap().refresh.attempts.outcome_unknown);
}

#[test]
fn a_claim_whose_clock_was_ahead_is_not_waited_for_for_ever() {
    let scene = Scene::living().at(810).with_claim("refresh-7", at(1_000_000), ClaimOwner::Elsewhere, 0);
    let NextRefresh::At(until, WaitReason::Claim) = scene.next_refresh() else { panic!("{:?}", scene.next_refresh()) };
    assert_eq!(until, at(885), "75 s");
}

#[test]
fn a_claim_holds_up_the_other_token_as_well() {
    let scene = Scene::living()
        .with_grant(|grant| grant.candidate = Some(candidate("consent-2", PRODUCTION)))
        .at(810)
        .with_claim("refresh-7", at(810), ClaimOwner::Elsewhere, 0);
    assert!(matches!(scene.next_refresh(), NextRefresh::At(_, WaitReason::Claim)));
}

#[test]
fn not_even_a_refresh_request_breaks_into_a_claim() {
    let scene = claimed_at_810(ClaimOwner::Elsewhere, 10).with_spec(|spec| spec.refresh_request = Some("now!".into()));
    assert!(matches!(scene.next_refresh(), NextRefresh::At(_, WaitReason::Claim)));
}

/// Taken over, noted as in doubt, sent once more.
#[test]
fn a_token_whose_claim_was_abandoned_is_in_doubt_and_sent_at_once() {
    let mut scene = Scene::living().at(100).with_claim("refresh-7", at(100), ClaimOwner::DeadHere, 0).at(130);
    let (attempt, _) = scene.begin();
    assert_eq!(scene.sent[0].0, "refresh-7", "though its refresh is not due");
    assert!(attempt.claimed.current.as_ref().unwrap().refresh.attempts.outcome_unknown);
    assert_eq!(attempt.claimed.claim.as_ref().unwrap().attempt, attempt.id);
}

#[test]
fn taking_over_a_claim_raises_doubt_for_the_claimed_token_only() {
    let mut both = Grant::new(crate::scenes::UID, 7);
    both.current = Some(crate::scenes::current("refresh-7", PRODUCTION, at(0), secs(900)));
    both.candidate = Some(candidate("consent-2", PRODUCTION));
    both.history = vec![known("consent-2", PRODUCTION)];
    let doubts = |grant: &Grant| {
        let candidate = grant.candidate.as_ref().unwrap().attempts.outcome_unknown;
        (candidate, grant.current.as_ref().unwrap().refresh.attempts.outcome_unknown)
    };
    for (claimed_token, sent, doubt) in [
        ("consent-2", Which::Candidate, (true, false)),
        ("consent-2", Which::Current, (true, false)),
        ("refresh-7", Which::Candidate, (false, true)),
        ("refresh-7", Which::Current, (false, true)),
        ("consent-1", Which::Candidate, (false, false)),
        ("refresh-6", Which::Current, (false, false)),
    ] {
        let mut abandoned = both.clone();
        abandoned.claim = Some(claim_of(claimed_token, at(0)));
        let (taken, _) = claimed(&abandoned, sent, "here-1", at(100));
        assert_eq!(doubts(&taken), doubt, "a claim on {claimed_token}, then {sent:?} is sent");
    }
}

#[test]
fn a_token_that_the_grant_does_not_hold_cannot_be_claimed() {
    let empty = Grant::new(crate::scenes::UID, 0);
    for which in [Which::Candidate, Which::Current] {
        let rotation = Rotation { request: None, ..crate::scenes::rotation(which) };
        assert!(claim(&empty, &rotation, AttemptId("here-1".into()), at(0), terms()).is_none());
    }
}

#[test]
fn a_claim_says_what_it_answers_and_gives_the_token_away_once() {
    let scene = Scene::living().at(100).with_spec(|spec| spec.refresh_request = Some("monday".into()));
    let Claiming { attempt, token, fallback } =
        claim(scene.grant(), &scene.sends(), AttemptId("here-1".into()), at(100), terms()).unwrap();
    assert_eq!((token.expose(), fallback), ("refresh-7", None));
    assert_eq!(attempt.claimed.handled_request.as_deref(), Some("monday"));
}

/// What was certainly not sent leaves no trace but its failure.
#[test]
fn after_a_release_the_token_is_free_again() {
    let mut scene = Scene::living().at(850);
    scene.exchange(no_connection());
    scene = scene.at(852);
    scene.exchange(pair("8"));
    assert_eq!(scene.sent.len(), 2);
    assert_eq!(scene.grant().rotation, 8);
}

/// Adoption while another process is sending: its claim stays, and the new consent waits for it.
#[test]
fn a_consent_that_comes_while_a_claim_stands_is_adopted_and_waits() {
    let mut scene =
        Scene::living().at(810).consent("consent-2").with_claim("refresh-7", at(810), ClaimOwner::Elsewhere, 0);
    assert!(matches!(scene.rest(), Decision::Wait(wait) if wait.reason == WaitReason::Claim));
    assert_eq!(scene.done, ["adopt"]);
    assert_eq!(scene.grant().claim, Some(claim_of("refresh-7", at(810))));
}

/// Figure: the starts of two exchanges are min(5 s, half the life) apart, also over a take-over.
#[test]
fn an_exchange_that_was_taken_over_counts_as_one() {
    let pace = Pace { request_timeout: secs(4) };
    let scene = Scene::living().at(100).with_claim("refresh-7", at(100), ClaimOwner::DeadHere, 0).at(102);
    let start = match pleo_operator::domain::plan::next_refresh::next_refresh(&scene.snapshot, scene.now, pace) {
        NextRefresh::Now(_) => scene.now,
        NextRefresh::At(time, _) => time,
        NextRefresh::Held | NextRefresh::Never => panic!("never"),
    };
    let apart = Duration::try_from(start.duration_since(at(100))).unwrap();
    assert!(apart >= secs(5), "{apart:?}");
}

/// A consent that a newer one replaced before it was tried is old news at its server.
#[test]
fn a_consent_that_was_dropped_is_not_taken_again() {
    let mut scene = Scene::living().at(100).consent("consent-2");
    assert!(matches!(scene.rest(), Decision::Rotate(_)));
    let mut scene = scene.consent("consent-3");
    assert!(matches!(scene.rest(), Decision::Rotate(_)));
    let scene = scene.consent("consent-2");
    let InitialGrant::Present(_) = &scene.snapshot.initial else { panic!("a consent") };
    let Snapshot { initial, grant, client, .. } = &scene.snapshot;
    assert!(adoption::news(initial, grant, &token_url(PRODUCTION), client).is_none());
}
