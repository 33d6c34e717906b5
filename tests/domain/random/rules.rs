//! What holds for whatever was seen. The rules are written down once more, from the documentation and not from the code:
//! when a token may be sent, and how late a wake-up may be.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::PleoConnectionStatus,
    domain::{
        commit::settlement::{Settlement, settle},
        failure::{FailureKind, Outcome},
        ledger::{
            grant::{Grant, Which},
            held::{Attempts, Pair},
            known_token::{KnownToken, Verdict},
        },
        plan::{
            decide::Decision,
            next_refresh::{Rotation, WaitReason},
        },
        report::status,
        snapshot::{ClaimOwner, ClientSecretState, GrantSecret, TokenSecret},
        spec::TokenUrl,
        token::Fingerprint,
    },
};
use proptest::{prelude::*, proptest};

use crate::{
    random::arbitrary,
    scenes::{PACE, Scene, claimed, holder},
};

/// Clocks of two nodes may differ by this much.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

struct Held<'a> {
    fingerprint: &'a Fingerprint,
    server: &'a TokenUrl,
    client_id: Option<&'a Fingerprint>,
    attempts: &'a Attempts,
}

fn held(grant: &Grant, which: Which) -> Option<Held<'_>> {
    match which {
        // Held by nobody but who sends it.
        Which::Code => None,
        Which::Candidate => grant.candidate.as_ref().map(|held| Held {
            fingerprint: &held.fingerprint,
            server: &held.server,
            client_id: held.client_id.as_ref(),
            attempts: &held.attempts,
        }),
        Which::Current => grant.current.as_ref().map(|held| Held {
            fingerprint: &held.refresh.fingerprint,
            server: &held.refresh.server,
            client_id: held.refresh.client_id.as_ref(),
            attempts: &held.refresh.attempts,
        }),
    }
}

/// What is remembered of a consent at a server.
fn remembered<'a>(grant: &'a Grant, held: &Held<'_>) -> impl Iterator<Item = &'a KnownToken> {
    grant.history.iter().filter(|old| old.fingerprint == *held.fingerprint && old.server == *held.server)
}

fn plus(time: Timestamp, by: Duration) -> Timestamp {
    time + SignedDuration::try_from(by).unwrap()
}

/// Everything that the rules forbid about sending this token at this moment.
fn forbidden(scene: &Scene, rotation: &Rotation) -> Vec<&'static str> {
    let (seen, now) = (&scene.snapshot, scene.now);
    let mut broken = Vec::new();
    let mut rule = |holds: bool, name: &'static str| {
        if !holds {
            broken.push(name);
        }
    };
    let GrantSecret::Ours(grant) = &seen.grant else { return vec!["only a grant of ours is used"] };
    let grant = &grant.value;
    let Some(held) = held(grant, rotation.which) else { return vec!["only a token that is held can be sent"] };
    let ClientSecretState::Present(client) = &seen.client else { return vec!["nothing is sent without a client"] };
    rule(!seen.spec.suspend, "nothing is sent while suspended");
    rule(!seen.spec.deleting, "nothing is sent for a connection that is being deleted");
    rule(matches!(seen.token, TokenSecret::Ours(_)), "nothing is sent before the token Secret is there");
    rule(grant.connection == seen.spec.uid, "a predecessor's grant is never used");
    rule(seen.spec.server.is_ok(), "nothing is sent for a wrong spec");
    rule(seen.spec.token_url() == Some(held.server), "I8: only to the server that it came from");
    let client_id = client.id_fingerprint();
    rule(held.client_id.is_none_or(|owner| *owner == client_id), "I8: only from the client that it was issued to");
    let was_rejected = remembered(grant, &held).any(|old| old.rejected_from.contains(&client_id));
    rule(!was_rejected || rotation.which == Which::Current, "I3: not again from a client that it was refused from");
    let refused = grant.last_rejection.as_ref().map(|refused| &refused.fingerprint);
    rule(refused != Some(held.fingerprint), "I3: a refused token is never sent again");

    if let Some(claim) = &grant.claim {
        let may_be_sent = seen.local.claim_owner != Some(ClaimOwner::NeverSentHere);
        let is_anothers =
            claim.fingerprint == *held.fingerprint && claim.client_id.as_ref().is_some_and(|id| *id != client_id);
        let is_bound = held.client_id.is_some() || !may_be_sent || !is_anothers;
        rule(is_bound, "I8: not while another client may have presented it");
        let seen_for = seen.local.claim_seen_for;
        let length = Duration::try_from(claim.ends_at.duration_since(claim.started_at)).unwrap();
        let free = match seen.local.claim_owner {
            Some(ClaimOwner::UnderWayHere) => false,
            Some(ClaimOwner::NeverSentHere) => true,
            Some(ClaimOwner::DeadHere) => seen_for >= PACE.settle_time(),
            Some(ClaimOwner::Elsewhere) | None => seen_for >= length + Duration::from_secs(5),
        };
        rule(free, "I1: nothing is sent while another's claim stands");
    }
    if let Some(sent) = grant.last_sent_at.filter(|sent| *sent <= now + TOLERANCE) {
        let half = grant.current.as_ref().map(|current| current.issue.lifetime() / 2).unwrap_or(Duration::MAX);
        let apart = half.min(Duration::from_secs(5)).max(Duration::from_secs(1));
        rule(now >= plus(sent, apart), "two exchanges are kept apart");
    }

    let asked = seen.spec.refresh_request.is_some() && seen.spec.refresh_request != grant.handled_request;
    let halt = held.attempts.halt();
    let lifted = halt.is_none_or(|halt| {
        asked || halt.generation != seen.spec.generation || halt.client != client.fingerprint(&seen.spec.uid)
    });
    let probes = halt.is_some_and(|halt| halt.reason.is_probed() && halt.retry.is_some());
    rule(lifted || probes, "a halted token waits for a change, or for its probe");
    if let Some(retry) = held.attempts.retry().filter(|retry| retry.failed_at <= now + TOLERANCE) {
        let skips = asked || halt.is_some() && lifted;
        let wait = if skips { retry.settle_ms.min(retry.wait_ms) } else { retry.wait_ms };
        rule(now >= plus(retry.failed_at, Duration::from_millis(wait)), "a failed try is waited for");
    }
    if let (Which::Current, Some(current), None) = (rotation.which, &grant.current, &held.attempts.retry()) {
        let half_life = plus(current.issue.issued_at, current.issue.lifetime() / 2);
        let claimed = grant.claim.as_ref().is_some_and(|claim| claim.fingerprint == *held.fingerprint);
        let wrong_clock = current.issue.issued_at > now + TOLERANCE;
        let reported = grant
            .rejection_report
            .as_ref()
            .is_some_and(|report| report.rotation == grant.rotation && !report.is_refuted && report.due_at <= now);
        let in_doubt = held.attempts.outcome_unknown || claimed;
        let reason = asked || reported || halt.is_some() || in_doubt || wrong_clock || now >= half_life;
        rule(reason, "a current token is not spent before half its life without a reason");
    }
    broken
}

/// The last moment for a wake-up, where nothing keeps the current token from being refreshed.
fn latest_wake_up(scene: &Scene) -> Option<Timestamp> {
    let seen = &scene.snapshot;
    let grant = &seen.grant.ours()?.value;
    let Pair { refresh: current, issue, .. } = grant.current.as_ref()?;
    let free = !seen.spec.suspend
        && !seen.spec.deleting
        && seen.spec.token_url() == Some(&current.server)
        && seen.client.id().is_some_and(|id| current.client_id.as_ref().is_none_or(|owner| *owner == id))
        && matches!(seen.token, TokenSecret::Ours(_))
        && grant.claim.is_none()
        && current.attempts.halt().is_none()
        && current.attempts.retry().is_none();
    // Spacing may hold it up beyond the end of a very short token, but never for more than 5 s.
    let spaced = grant.last_sent_at.filter(|sent| *sent <= scene.now + TOLERANCE).unwrap_or(Timestamp::MIN);
    let spaced = spaced.checked_add(SignedDuration::from_secs(5)).unwrap();
    free.then(|| issue.expires_at().max(spaced))
}

/// A consent that was refused because the spec named the wrong server, or the Secret the wrong client, is tried once at the
/// right one: it was never presented there, or by that client.
fn was_tried_elsewhere_only(before: &Scene, after: &Scene, which: Which) -> bool {
    let (Some(known), Some(sent)) = (before.snapshot.grant.ours(), held(after.grant(), which)) else { return false };
    let mut tried = known.value.history.iter().filter(|old| old.fingerprint == *sent.fingerprint).peekable();
    let client_id = before.snapshot.client.id();
    let was_another = |old: &KnownToken| {
        let by_others =
            client_id.as_ref().is_some_and(|id| !old.rejected_from.is_empty() && !old.rejected_from.contains(id));
        old.server != *sent.server || old.verdict == Verdict::Rejected && by_others
    };
    tried.peek().is_some()
        && tried.all(|old| was_another(old) && matches!(old.verdict, Verdict::Pending | Verdict::Rejected))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1, I3, I8, and every other rule about sending.
    #[test]
    fn nothing_is_ever_sent_against_the_rules(scene in arbitrary::scene()) {
        if let Decision::Rotate(rotation) = scene.decide() {
            prop_assert_eq!(forbidden(&scene, &rotation), Vec::<&str>::new());
        }
    }

    /// The same once everything that can be done without sending was done: published, adopted, tidied.
    #[test]
    fn nothing_is_ever_sent_against_the_rules_also_after_an_adoption(scene in arbitrary::scene()) {
        let before = scene.clone();
        let mut scene = scene;
        if let Decision::Rotate(rotation) = scene.rest() {
            let mut broken = forbidden(&scene, &rotation);
            if was_tried_elsewhere_only(&before, &scene, rotation.which) {
                broken.retain(|rule| !rule.starts_with("I3"));
            }
            prop_assert_eq!(broken, Vec::<&str>::new());
        }
    }

    /// I6: never late, and always ahead, so that a wake-up is never a busy loop.
    #[test]
    fn a_wake_up_lies_ahead_and_is_never_late(scene in arbitrary::scene()) {
        if let Decision::Wait(wait) = scene.decide() {
            prop_assert!(wait.until.is_none_or(|until| until > scene.now), "{wait:?} at {}", scene.now);
            if let Some(latest) = latest_wake_up(&scene).filter(|_| wait.reason != WaitReason::Server) {
                prop_assert!(wait.until.is_some_and(|until| until <= latest), "{wait:?}, latest {latest}");
            }
        }
    }

    #[test]
    fn waiting_for_a_retry_or_a_claim_ends(scene in arbitrary::scene()) {
        let bound = SignedDuration::from_secs(86_400);
        if let Decision::Wait(wait) = scene.decide()
            && matches!(wait.reason, WaitReason::Retry | WaitReason::Claim)
        {
            prop_assert!(wait.until.is_some_and(|until| until <= scene.now + bound), "{wait:?} at {}", scene.now);
        }
    }

    /// I6: what was decided is decided again, and nothing is done twice.
    #[test]
    fn a_decision_is_made_of_nothing_but_what_was_seen(scene in arbitrary::scene()) {
        prop_assert_eq!(scene.decide(), scene.decide());
        prop_assert_eq!(scene.next_refresh(), scene.next_refresh());
        let status = scene.status();
        prop_assert_eq!(scene.status_after(&status), status);
    }

    /// No livelock: [`Scene::rest`] panics if there is no rest within a dozen steps.
    #[test]
    fn every_scene_comes_to_rest(scene in arbitrary::scene()) {
        let mut scene = scene;
        let end = scene.rest();
        let done = scene.done.len();
        prop_assert_eq!(scene.rest(), end);
        prop_assert_eq!(scene.done.len(), done, "and stays there");
        for step in ["publish", "retire", "tidy", "adopt"] {
            let times = scene.done.iter().filter(|done| **done == step).count();
            let most = if step == "publish" { 2 } else { 1 };
            prop_assert!(times <= most, "{:?}", scene.done);
        }
    }

    /// I4: what pods get is what the grant holds, or nothing.
    #[test]
    fn at_rest_the_token_secret_equals_the_grant(scene in arbitrary::scene()) {
        let mut scene = scene;
        let end = scene.rest();
        let (GrantSecret::Ours(grant), TokenSecret::Ours(published)) = (&scene.snapshot.grant, &scene.snapshot.token)
        else { return Ok(()) };
        if end == Decision::Ignore {
            return Ok(());
        }
        let content = published.value.content.as_ref().expect("repaired");
        let access = content.access.as_ref().map(|access| access.token.clone());
        prop_assert_eq!(access, grant.value.current.as_ref().and_then(|current| current.access.clone()));
        prop_assert_eq!(content.rotation, grant.value.rotation);
        if let Some(current) = &grant.value.current {
            let refresh = current.refresh.token.expose().as_bytes().to_vec();
            prop_assert!(!content.encode().into_values().any(|value| value == refresh), "never the refresh token");
        }
    }

    /// Every status: two conditions always, two more while True; and nothing in it is a secret.
    #[test]
    fn every_status_is_well_formed(scene in arbitrary::scene(), storage in prop::option::of(Just("no"))) {
        let status = status::of(&scene.snapshot, &PleoConnectionStatus::default(), storage, scene.now, PACE);
        let kinds: Vec<_> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        let (always, sometimes) = kinds.split_at(2);
        prop_assert_eq!(always, ["Ready", "ReauthRequired"]);
        prop_assert!([&[][..], &["Stalled"], &["GrantExpiring"], &["Stalled", "GrantExpiring"]].contains(&sometimes));
        for condition in &status.conditions {
            prop_assert!(!condition.message.is_empty() && condition.message.len() < 32_768);
            prop_assert_eq!(condition.observed_generation, Some(scene.snapshot.spec.generation));
            prop_assert!(condition.type_ != "Stalled" || condition.status == "True");
        }
        let usable = scene.snapshot.token.published().is_some_and(|published| published.usable(scene.now).is_some());
        prop_assert_eq!(status.conditions[0].status == "True", usable);
        let all = format!("{} {:?} {:?}", serde_json::to_string(&status).unwrap(), scene, scene.decide());
        let found = arbitrary::TOKENS.iter().find(|token| all.contains(**token) && !scene_names(&scene, token));
        prop_assert_eq!(found, None);
    }

    /// Settling, against whatever stands there by then.
    #[test]
    fn no_ending_breaks_what_others_wrote(
        before in arbitrary::grant(),
        meanwhile in arbitrary::grant(),
        same in any::<bool>(),
        which in prop::sample::select(&[Which::Candidate, Which::Current]),
        ending in super::outcomes::ending(),
    ) {
        if held(&before, which).is_none() {
            return Ok(());
        }
        let (stored, attempt) = claimed(&before, which, "ours", ending.started_at);
        let stored = if same { stored } else { meanwhile };
        let Settlement::Write(after) = settle(&stored, &attempt, &ending) else {
            prop_assert!(!same, "our claim stands there, so there is something to write");
            return Ok(());
        };
        let others_claim = stored.claim.as_ref().filter(|claim| claim.attempt != attempt.id);
        prop_assert_eq!(after.claim.as_ref(), others_claim, "no write removes another's claim, and ours is gone");
        prop_assert!(after.rotation == stored.rotation || after.rotation == stored.rotation + 1);
        for old in &stored.history {
            let tells_it = |new: &&KnownToken| new.fingerprint == old.fingerprint && new.server == old.server;
            let is_proved = matches!(ending.outcome, Outcome::Issued(_)) && old.fingerprint == attempt.fingerprint;
            let tells_as_much = |new: &KnownToken| {
                let is_bound = |verdict| !matches!(verdict, Verdict::Pending | Verdict::Rejected);
                // Another client may have had more luck since.
                let accepted_since = old.verdict == Verdict::Rejected && is_bound(new.verdict);
                let is_rejected = new.is_rejected() >= old.is_rejected() || is_proved || accepted_since;
                // Where no client may try it, none has to be named; nor where it was accepted in the end.
                let from_each = match new.verdict {
                    Verdict::RejectedForAll | Verdict::RejectedAfterUse => true,
                    Verdict::Rejected => new.rejected_from.is_empty(),
                    Verdict::Accepted { .. } => is_proved,
                    Verdict::Pending | Verdict::OutcomeUnknown => false,
                };
                let clients = from_each || old.rejected_from.iter().all(|id| new.rejected_from.contains(id));
                is_rejected && clients && is_bound(new.verdict) >= is_bound(old.verdict)
            };
            prop_assert!(after.history.iter().filter(tells_it).any(tells_as_much), "nothing adopted is forgotten: {old:?} in {:?}", after.history);
        }
        match &ending.outcome {
            Outcome::Issued(issued) if after.rotation > stored.rotation => {
                let current = after.current.as_ref().expect("a pair");
                prop_assert_eq!(&current.refresh.server, &attempt.server, "I8");
                prop_assert_eq!(&current.access, &issued.access);
                prop_assert_eq!(current.refresh.token.fingerprint(), current.refresh.fingerprint.clone());
                prop_assert!(!current.refresh.attempts.outcome_unknown, "a clean success");
            }
            Outcome::Issued(_) => {
                prop_assert!(stored.holding(&attempt.fingerprint).is_none(), "I2: the token still stands there");
            }
            Outcome::Failed(failure) => {
                let refused = matches!(failure.kind, FailureKind::Rejected(_));
                prop_assert!(!refused || after.holding(&attempt.fingerprint) != Some(which) || stored.holding(&attempt.fingerprint) != Some(which));
                let kept = |which| held(&after, which).map(|held| held.fingerprint.clone());
                for which in [Which::Candidate, Which::Current] {
                    let before = held(&stored, which).map(|held| held.fingerprint.clone());
                    let wiped = refused && before.as_ref() == Some(&attempt.fingerprint);
                    prop_assert!(wiped || kept(which) == before, "I9: only a refused token goes");
                }
            }
        }
    }
}

/// Names in a scene that are no secrets: messages that the generators made up.
fn scene_names(scene: &Scene, token: &str) -> bool {
    scene.snapshot.spec.name.contains(token) || holder("this pod").identity.contains(token)
}
