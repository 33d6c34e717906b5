//! I8: a token belongs to the client that it was issued to, from the moment at which a server may have accepted it. Whoever else
//! stands in the client Secret presents nothing; and what the server said to the wrong one is not held against the right one.

use pleo_operator::{
    api::{ConditionType, PleoConnectionStatus, ReauthReason},
    domain::{
        commit::settlement::settle,
        ledger::grant::{Grant, Which},
        plan::{decide::Decision, next_refresh::NextRefresh, ownership::Ownership, users::reauth},
        report::notice::notice,
        snapshot::{ClaimOwner, ClientSecretState, GrantSecret, Versioned},
    },
};

use crate::scenes::{
    STAGING, Scene, at, client, ending, fingerprint, invalid_client, invalid_grant, no_connection, our_id, pair,
    server, silence, with_secret, written,
};

fn reason(scene: &Scene) -> ReauthReason {
    reauth::reauth(&scene.snapshot).reason
}

/// Who may present the candidate.
fn of_candidate(scene: &Scene) -> Ownership {
    Ownership::of_candidate(scene.grant().candidate.as_ref().expect("a candidate"), &scene.snapshot)
}

#[test]
fn a_pair_is_bound_to_its_client_by_its_success() {
    let mut scene = Scene::adopted();
    scene.exchange(pair("1"));
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.client_id, Some(our_id()));

    let mut other = scene.clone().at(850).client("another");
    assert_eq!((other.next_refresh(), reason(&other)), (NextRefresh::Never, ReauthReason::ClientChanged));
    assert!(matches!(other.rest(), Decision::Wait(_)));
    let asked = other.with_spec(|spec| spec.refresh_request = Some("now".into()));
    assert_eq!(asked.next_refresh(), NextRefresh::Never, "not even when asked");

    let mut back = asked.client("acme-client");
    back.exchange(pair("2"));
    assert_eq!(reason(&back), ReauthReason::GrantValid);
}

#[test]
fn another_secret_of_the_same_client_changes_nothing() {
    let mut scene = Scene::living().at(850);
    scene.snapshot.client = ClientSecretState::Present(with_secret("rotated"));
    assert!(scene.is_sending());
    assert_eq!(reason(&scene), ReauthReason::GrantValid);
}

#[test]
fn a_ledger_from_before_binds_at_its_next_success() {
    let mut scene =
        Scene::living().with_grant(|grant| grant.current.as_mut().unwrap().refresh.client_id = None).at(850);
    assert!(scene.clone().client("another").is_sending(), "nobody noted whose it is");
    scene.exchange(silence());
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.client_id, None, "not by a try that may have failed");
    let mut scene = scene.at(900);
    scene.exchange(pair("8"));
    assert_eq!(reason(&scene.client("another")), ReauthReason::ClientChanged);
}

#[test]
fn a_candidate_is_bound_by_an_unknown_outcome_and_by_no_other_failure() {
    for (outcome, bound) in [(no_connection(), None), (invalid_client(), None), (silence(), Some(our_id()))] {
        let mut scene = Scene::adopted();
        scene.exchange(outcome.clone());
        assert_eq!(scene.grant().candidate.as_ref().unwrap().client_id, bound, "{outcome:?}");
        let other = scene.at(100).client("another");
        assert_eq!(other.is_sending(), bound.is_none(), "{outcome:?}");
    }
}

/// Its holder may have sent it, and is dead: the claim tells in whose name.
#[test]
fn a_candidate_is_bound_by_a_claim_that_may_have_been_used() {
    let claimed = |whose| Scene::adopted().with_claim("consent-1", at(0), whose, 600).client("another");
    let scene = claimed(ClaimOwner::Elsewhere).at(10);
    assert_eq!((of_candidate(&scene), scene.next_refresh()), (Ownership::OtherClient, NextRefresh::Never));
    assert_eq!(reason(&scene), ReauthReason::ClientChanged);
    assert!(claimed(ClaimOwner::NeverSentHere).is_sending());

    let mut taken_over = scene.client("acme-client");
    taken_over.begin();
    let record = &taken_over.grant().candidate.as_ref().unwrap();
    assert_eq!((&record.client_id, record.attempts.outcome_unknown), (&Some(our_id()), true));
}

/// RFC 6749 section 5.2: `invalid_grant` also means that it was issued to another client.
#[test]
fn a_consent_that_the_wrong_client_presented_is_tried_once_by_the_next() {
    let mut scene = Scene::new().client("another").consent("consent-1");
    scene.exchange(invalid_grant());
    assert_eq!(reason(&scene), ReauthReason::GrantRefused);
    let mut scene = scene.at(10);
    assert!(!matches!(scene.rest(), Decision::Rotate(_)), "not by the same one");

    let mut scene = scene.client("acme-client");
    assert_eq!(reason(&scene), ReauthReason::NotTried);
    let mut refused_by_both = scene.clone();
    scene.exchange(pair("1"));
    assert_eq!((reason(&scene), scene.sent.len()), (ReauthReason::GrantValid, 2));
    assert!(scene.done.contains(&"tidy"), "it was accepted, whoever had it refused before");

    refused_by_both.exchange(invalid_grant());
    for id in ["another", "acme-client", "another"] {
        refused_by_both = refused_by_both.at(1000).client(id);
        assert!(!matches!(refused_by_both.rest(), Decision::Rotate(_)), "{id} had its try");
    }
    assert_eq!(refused_by_both.sent.len(), 2);
}

/// I3: adopted for another client, and the first one is back before it was sent.
#[test]
fn a_consent_is_not_sent_again_by_the_client_that_it_was_refused_from() {
    let mut scene = Scene::new().client("another").consent("consent-1");
    scene.exchange(invalid_grant());
    let mut scene = scene.at(10).client("acme-client");
    assert!(matches!(scene.rest(), Decision::Rotate(rotation) if rotation.which == Which::Candidate));
    let mut scene = scene.client("another");
    assert_eq!(of_candidate(&scene), Ownership::Rejected);
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(reason(&scene), ReauthReason::GrantRefused);
}

/// A backup may not know of that rejection, and the token is still in the initial grant: a user has to authorize all the same.
#[test]
fn a_token_that_no_client_may_send_again_is_not_progress() {
    let mut scene = Scene::new().client("another").consent("consent-1");
    scene.exchange(invalid_grant());
    let mut scene = scene.at(10).client("acme-client");
    scene.rest();
    let scene = scene.client("another").seeing(|seen| {
        let GrantSecret::Ours(grant) = &mut seen.grant else { panic!("no grant") };
        grant.value.last_rejection = None;
    });
    assert_eq!((of_candidate(&scene), reason(&scene)), (Ownership::Rejected, ReauthReason::NotAuthorized));
    let status = scene.status();
    let ready = status.condition(ConditionType::Ready).expect("Ready is always present");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ReauthRequired"));
}

/// A token that a server accepted is no other client's, whatever the server says to that one later.
#[test]
fn a_consent_that_was_accepted_is_not_offered_to_another_client() {
    let mut scene = Scene::adopted().with_spec(|spec| spec.initial_grant.as_mut().unwrap().keep = true);
    scene.exchange(pair("1"));
    let mut other = scene.client("another").at(100);
    assert!(matches!(other.rest(), Decision::Wait(_)));
    assert!(other.grant().knows(
        &fingerprint("consent-1"),
        other.snapshot.spec.token_url().unwrap(),
        Some(&client("another").id_fingerprint())
    ));
}

/// A new authorization for the new client replaces the grant of the old one.
#[test]
fn a_new_authorization_replaces_the_grant_of_another_client() {
    let mut scene = Scene::living().at(100).client("another").consent("consent-2");
    scene.exchange(pair("8"));
    assert_eq!(reason(&scene), ReauthReason::GrantValid);
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.client_id, Some(client("another").id_fingerprint()));
    assert_eq!(reason(&scene.client("acme-client")), ReauthReason::ClientChanged);
}

/// I9: one that is refused costs the grant of the old client nothing.
#[test]
fn a_refused_authorization_costs_the_grant_of_another_client_nothing() {
    let mut scene = Scene::living().at(100).client("another").consent("bad-consent");
    scene.exchange(invalid_grant());
    assert_eq!(reason(&scene), ReauthReason::ClientChanged);
    assert_eq!(reason(&scene.client("acme-client")), ReauthReason::GrantValid);
}

/// Without a client Secret nobody knows whose the grant is: that is no end of the trouble.
#[test]
fn a_client_secret_that_goes_missing_does_not_end_the_trouble() {
    let changed = Scene::living().at(100).client("another");
    let before = changed.status();
    let missing =
        changed.seeing(|seen| seen.client = ClientSecretState::Missing("there is no Secret pleo-client".into()));
    let told = |status: &PleoConnectionStatus| {
        status.conditions.iter().find(|told| told.type_ == "ReauthRequired").unwrap().reason.clone()
    };
    let after = missing.status_after(&before);
    assert_eq!(told(&after), "ClientChanged");
    assert_eq!(notice(&missing.snapshot.spec, &before, &after, missing.now).map(|notice| notice.kind), None);
    let back = missing.client("acme-client").status_after(&after);
    assert_eq!(told(&back), "GrantValid");
}

/// A ledger from before binds when another process takes over a claim that may have been used, in the name that it tells.
#[test]
fn a_live_grant_is_bound_by_a_claim_that_is_taken_over() {
    let mut scene = Scene::living()
        .with_grant(|grant| grant.current.as_mut().unwrap().refresh.client_id = None)
        .with_claim("refresh-7", at(0), ClaimOwner::Elsewhere, 600)
        .at(850);
    scene.begin();
    assert_eq!(scene.grant().current.as_ref().unwrap().refresh.client_id, Some(our_id()));
}

/// I8: what a connection of the same name may have sent is bound to the server that it may have reached.
#[test]
fn a_consent_that_the_connection_before_may_have_sent_goes_to_no_other_server() {
    let before = |outcome_unknown| {
        let scene = Scene::adopted().with_candidate_tried(|attempts| attempts.outcome_unknown = outcome_unknown);
        let old = Grant { connection: "another uid".into(), ..scene.grant().clone() };
        scene
            .seeing(|seen| seen.grant = GrantSecret::Stale(Versioned { value: old, version: "7".into() }))
            .with_spec(|spec| spec.server = Ok(server(STAGING)))
    };
    assert!(matches!(before(true).rest(), Decision::Wait(_)), "production may have accepted it");
    assert!(matches!(before(false).rest(), Decision::Rotate(_)), "nobody has seen it");
}

/// I3: a backup knows of the refusal of one client only; the answer to the other one comes after it was put back.
#[test]
fn a_refusal_is_noted_in_a_backup_that_knows_the_refusal_of_another_client() {
    let mut scene = Scene::new().client("another").consent("consent-1");
    scene.exchange(invalid_grant());
    let backup = scene.grant().clone();
    let mut scene = scene.at(10).client("acme-client");
    let (attempt, started_at) = scene.begin();
    let restored = written(settle(&backup, &attempt, &ending(invalid_grant(), started_at, at(11))));
    let mut scene = scene.holding(restored);
    assert!(matches!(scene.rest(), Decision::Wait(_)), "both had their try");
    assert_eq!(reason(&scene), ReauthReason::GrantRefused);
}

#[test]
fn a_grant_is_ours_by_its_uid() {
    let scene = Scene::living();
    let grant = &scene.snapshot.grant;
    assert!(matches!(grant.clone().as_seen_by(&scene.snapshot.spec.uid), GrantSecret::Ours(_)));
    assert!(matches!(grant.clone().as_seen_by("another"), GrantSecret::Stale(_)));
}
