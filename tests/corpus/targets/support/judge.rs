//! What holds for every decision and every status, whatever stands in the Secrets and whatever the clock says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::PleoConnectionStatus,
    domain::{
        commit::{
            attempt::{Attempt, Claiming, claim},
            settlement::{Settlement, settle},
        },
        failure::Outcome,
        ledger::{
            grant::{Grant, Which},
            held::AttemptId,
            record,
        },
        plan::{
            decide::{Decision, Wait, decide},
            next_refresh::{Rotation, WaitReason},
            restarts,
            schedule::{CLOCK_TOLERANCE, lies_ahead},
        },
        report::status,
        snapshot::{ClaimOwner, GrantSecret, Snapshot},
        spec::TokenUrl,
        time::{between, later},
        token::Fingerprint,
    },
};

use pleo_test_support::scenes::{
    PACE, Scene, ending, invalid_client, invalid_grant, no_connection, pair, reply, silence, terms,
};

/// The longest that two exchanges are kept apart.
const SPACING: Duration = Duration::from_secs(5);
/// What a claim is given beyond its end, and the longest wait for its end while a token lives.
const GRACE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Looks at the scene at its own time, at the ends of time, and around each time that stands in its ledger.
pub fn whatever_the_time(scene: &Scene) -> Decision {
    let tick = SignedDuration::from_nanos(1);
    let stored = scene.snapshot.grant.ours().map(|grant| stored_times(&grant.value)).unwrap_or_default();
    let around = stored.into_iter().flat_map(|time| [Some(time), time.checked_add(tick).ok()]).flatten();
    for now in around.chain([Timestamp::MIN, Timestamp::MAX]) {
        look(&scene.snapshot, now);
        let _never_a_panic = status::of(&scene.snapshot, &PleoConnectionStatus::default(), None, now, PACE);
    }
    let status = status::of(&scene.snapshot, &PleoConnectionStatus::default(), None, scene.now, PACE);
    a_status_is_told_once(scene, &status);
    look(&scene.snapshot, scene.now)
}

fn stored_times(grant: &Grant) -> Vec<Timestamp> {
    let issue = grant.current.as_ref().map(|pair| &pair.issue);
    let claim = grant.claim.as_ref();
    let retry = grant.current.as_ref().and_then(|pair| pair.refresh.attempts.retry());
    [
        issue.map(|issue| issue.issued_at),
        issue.map(pleo_operator::domain::ledger::held::Issue::expires_at),
        claim.map(|claim| claim.started_at),
        claim.map(|claim| claim.ends_at),
        retry.map(|retry| retry.failed_at),
        grant.last_sent_at,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn look(seen: &Snapshot, now: Timestamp) -> Decision {
    let decision = decide(seen, now, PACE);
    match &decision {
        Decision::Wait(wait) => a_wait_lies_ahead_and_ends(seen, wait, now),
        Decision::Rotate(rotation) => nothing_is_sent_against_the_rules(seen, now, rotation),
        Decision::Ignore
        | Decision::Publish(_)
        | Decision::Adopt(_)
        | Decision::DeleteOldSecret(_)
        | Decision::RemoveAdoptedToken(_)
        | Decision::DropAuthorizationCode(_)
        | Decision::CreateLink
        | Decision::ProveIntrospection
        | Decision::Restart(_) => {}
    }
    decision
}

/// I6: a wake-up that lies behind would be a busy loop. At the end of time there is nothing ahead.
fn a_wait_lies_ahead_and_ends(seen: &Snapshot, wait: &Wait, now: Timestamp) {
    let ahead = wait.until.is_none_or(|until| until > now || now == Timestamp::MAX);
    assert!(ahead, "{wait:?} at {now}");
    let grant = seen.grant.ours().map(|grant| &grant.value);
    let latest = match wait.reason {
        // As long as the token lives, or until the next exchange is far enough from the last.
        WaitReason::NextRefresh => {
            let grant = grant.expect("a grant");
            let started = grant.last_sent_at.max(grant.claim.as_ref().map(|claim| claim.started_at));
            let apart = started.map(|started| later(started.min(later(now, CLOCK_TOLERANCE)), SPACING));
            grant.current.as_ref().map(|current| current.issue.expires_at()).max(apart)
        }
        WaitReason::Claim => {
            let claim = grant.and_then(|grant| grant.claim.as_ref()).expect("a claim");
            Some(later(now, (between(claim.started_at, claim.ends_at) + GRACE).max(PATIENCE)))
        }
        // What an edited ledger asks for, and what has no time of its own.
        WaitReason::Retry | WaitReason::Server | WaitReason::Change => return,
    };
    assert!(wait.until.is_some() && wait.until <= latest, "{wait:?} at {now}, latest {latest:?}");
}

/// I6: the same state gives the same status, and it can be stored as it is.
pub fn a_status_is_told_once(scene: &Scene, status: &PleoConnectionStatus) {
    let again = status::of(&scene.snapshot, status, None, scene.now, PACE);
    assert_eq!(&again, status, "nothing changed");
    assert_eq!(status::transitions(status, &again), [], "and there is nothing to tell");
    let text = serde_json::to_string(status).expect("JSON");
    // No time before the year 0 has a form that the API server reads.
    if !text.contains(":\"-") {
        assert_eq!(&serde_json::from_str::<PleoConnectionStatus>(&text).unwrap(), status, "what is stored was told");
    }
    let kinds: Vec<_> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert!(kinds.starts_with(&["Ready", "ReauthRequired"]) && kinds.len() <= 4, "{kinds:?}");
    assert!(status.conditions.iter().all(|condition| !condition.message.is_empty()), "{status:?}");
}

fn held(grant: &Grant, which: Which) -> Option<(&Fingerprint, &TokenUrl)> {
    match which {
        Which::Candidate => grant.candidate.as_ref().map(|held| (&held.fingerprint, &held.server)),
        Which::Current => grant.current.as_ref().map(|held| (&held.refresh.fingerprint, &held.refresh.server)),
        Which::Code => grant.by_link.code.as_ref().map(|code| (&code.record.fingerprint, &code.record.server)),
    }
}

/// Whether the ledger says that this server refused this token, and nothing since. A consent that one server refused may
/// be tried at another; a current token may have been refused once, if its server accepted it after that.
fn is_refused(grant: &Grant, which: Which) -> bool {
    let Some((fingerprint, server)) = held(grant, which) else { return false };
    match which {
        Which::Current => grant.last_rejection.as_ref().is_some_and(|refused| refused.fingerprint == *fingerprint),
        Which::Candidate | Which::Code => grant
            .history
            .iter()
            .any(|old| old.fingerprint == *fingerprint && old.server == *server && old.is_rejected()),
    }
}

/// Whether the ledger says that a token is dead which is there, or holds one token twice. No program writes that, and the
/// operator believes that the token is good.
pub fn contradicts_itself(grant: &Grant) -> bool {
    let of = |which| held(grant, which).map(|(fingerprint, _)| fingerprint);
    let twice = of(Which::Current).is_some() && of(Which::Current) == of(Which::Candidate);
    twice || [Which::Candidate, Which::Current, Which::Code].into_iter().any(|which| is_refused(grant, which))
}

fn nothing_is_sent_against_the_rules(seen: &Snapshot, now: Timestamp, rotation: &Rotation) {
    let GrantSecret::Ours(grant) = &seen.grant else { panic!("only a grant of ours is used: {:?}", seen.grant) };
    let grant = &grant.value;
    let (_, server) = held(grant, rotation.which).expect("only a token that is held can be sent");
    assert_eq!(seen.spec.token_url(), Some(server), "I8: only to the server that it came from");
    assert!(!is_refused(grant, rotation.which), "I3: a refused token is never sent again");
    assert!(!seen.spec.suspend && !seen.spec.deleting, "nothing is sent while suspended or deleted");
    assert!(seen.token.published().is_some(), "nothing is sent before the token Secret is there");
    let under_way = grant.claim.is_some() && seen.local.claim_owner == Some(ClaimOwner::UnderWayHere);
    assert!(!under_way, "I1: nothing is sent while an attempt is under way");
    let sent = grant.last_sent_at.filter(|sent| !lies_ahead(*sent, now));
    let apart =
        sent.is_none_or(|sent| now.duration_since(sent) >= SignedDuration::from_secs(1) || now == Timestamp::MAX);
    assert!(apart, "two exchanges are kept apart: {sent:?} and {now}");
}

/// Does what is decided until there is rest; if a token is to be sent then, lets the server say this and that.
pub fn live_on(scene: &Scene) {
    let mut scene = scene.clone();
    let Decision::Rotate(rotation) = scene.rest() else { return };
    let id = AttemptId("fuzz-1".into());
    let Claiming { attempt, .. } = claim(scene.grant(), &rotation, id, scene.now, terms()).expect("the token is there");
    let access_only = reply(200, r#"{"access_token":"access-new"}"#);
    let refresh_only = reply(200, r#"{"refresh_token":"refresh-new"}"#);
    let outcomes =
        [pair("new"), access_only, refresh_only, invalid_grant(), invalid_client(), silence(), no_connection()];
    for outcome in outcomes {
        let refused = outcome == invalid_grant();
        let ending = ending(outcome, scene.now, scene.now);
        let Settlement::Write(grant) = settle(&attempt.claimed, &attempt, &ending) else {
            panic!("our claim stands there, so there is something to write: {ending:?}")
        };
        is_well_settled(&attempt, &grant, &ending.outcome);
        let mut after = scene.clone();
        after.store(*grant);
        after.snapshot.local = Default::default();
        look(&after.snapshot, after.now);
        // Not at once, and not when the two exchanges are far enough apart.
        after.go_to(later(after.now, Duration::from_secs(3600)));
        let next = after.rest();
        let again = matches!(&next, Decision::Rotate(next) if held(after.grant(), next.which) == held(scene.grant(), rotation.which));
        assert!(!(refused && again), "I3: a refused token is never sent again");
    }
}

/// I2 and I4: stored exactly, without the claim, and never backwards.
fn is_well_settled(attempt: &Attempt, after: &Grant, outcome: &Outcome) {
    let before = &attempt.claimed;
    assert_eq!(record::decode(record::encode(after)).as_ref(), Ok(after), "what was written is read again");
    assert_eq!(after.claim, None);
    assert!(after.rotation >= before.rotation && after.history.len() >= before.history.len());
    if let Outcome::Issued(issued) = outcome {
        if attempt.which == Which::Code && issued.refresh.is_none() {
            // A code that buys no refresh token is of no use.
            return assert_eq!(after.rotation, before.rotation);
        }
        let current = after.current.as_ref().expect("a pair");
        assert_eq!(current.access, issued.access);
        assert_eq!(current.refresh.token.fingerprint(), current.refresh.fingerprint);
        assert_eq!(after.rotation, before.rotation.saturating_add(1));
    }
}

/// What was restarted never costs the grant.
pub fn restarts_are_noted(scene: &Scene) {
    let Some(restart) = restarts::due(&scene.snapshot, scene.now) else { return };
    let tried = restarts::Tried { done: Vec::new(), perhaps: restart.targets };
    let grant = restarts::note(&scene.snapshot, &tried, scene.now).expect("a grant");
    assert_eq!(record::decode(record::encode(&grant)), Ok(grant));
}
