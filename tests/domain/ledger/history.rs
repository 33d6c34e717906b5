//! The memory of consents: the newest one that is proved wins, wherever the spec pointed meanwhile; and what was known is known
//! again after a backup was put back while an exchange was under way.

use pleo_operator::domain::{
    commit::{
        attempt::Attempt,
        settlement::{Settlement, settle},
    },
    failure::Outcome,
    ledger::{
        grant::{Grant, RejectionReason, Which},
        known_token::{KnownToken, Verdict},
    },
    plan::{
        decide::Decision,
        link::{self, AuthorizationResponse},
        next_refresh::NextRefresh,
    },
    snapshot::{GrantSecret, Versioned},
    token::{AuthorizationCode, CodeVerifier, Fingerprint},
};

use crate::scenes::{
    PRODUCTION, STAGING, Scene, UID, accepted, at, candidate, claimed, current, ending, fingerprint, invalid_client,
    invalid_grant, known, marked, no_connection, our_id, pair, rejection, reply, secs, server, silence, token_url,
    written,
};

/// A living grant that was bought with `consent-1`.
fn living() -> Grant {
    let mut grant = Grant::new(UID, 7);
    grant.current = Some(current("refresh-7", PRODUCTION, at(0), secs(900)));
    grant.history.push(accepted("consent-1", PRODUCTION, 1));
    grant
}

/// The same, and `consent-2` waits beside it.
fn renewed() -> Grant {
    let mut grant = living();
    grant.candidate = Some(candidate("consent-2", PRODUCTION));
    grant.history.push(known("consent-2", PRODUCTION));
    grant
}

/// A human comes back with `code-1` from the server that the spec names.
fn with_code(scene: &mut Scene) {
    let arrival = AuthorizationResponse {
        client_id: our_id(),
        id: "0123456789abcdef0123456789abcdef".into(),
        browser: Fingerprint::of(&["browser", "b"]),
        code: AuthorizationCode::new("code-1"),
        verifier: CodeVerifier::new("a verifier"),
        server: scene.snapshot.spec.token_url().expect("a server").clone(),
        redirect_uri: "https://pleo.example.com/callback".into(),
    };
    let accepted = link::accept(scene.grant(), arrival, scene.now);
    scene.store(accepted);
}

fn code() -> Fingerprint {
    AuthorizationCode::new("code-1").fingerprint()
}

/// What is stored if this backup was put back while the attempt was under way.
fn put_back(backup: &Grant, attempt: &Attempt, outcome: Outcome) -> Settlement {
    settle(backup, attempt, &ending(outcome, at(100), at(105)))
}

fn live_token(grant: &Grant) -> Option<&str> {
    grant.current.as_ref().map(|current| current.refresh.token.expose())
}

fn sends(scene: &Scene, token: &str) -> bool {
    let held = |which: Which| match which {
        Which::Candidate => scene.grant().candidate.as_ref().map(|held| held.token.expose()),
        Which::Current => live_token(scene.grant()),
        Which::Code => None,
    };
    matches!(scene.next_refresh(), NextRefresh::Now(rotation) if held(rotation.which) == Some(token))
}

fn sent(scene: &Scene) -> Vec<&str> {
    scene.sent.iter().map(|(token, _)| token.as_str()).collect()
}

/// I2: the backup tells of an older consent that is proved, and of none that is newer.
#[test]
fn a_pair_is_stored_into_a_backup_that_does_not_know_its_consent() {
    let (_, attempt) = claimed(&renewed(), Which::Candidate, "here-1", at(100));
    let grant = written(put_back(&living(), &attempt, pair("8")));
    assert_eq!(live_token(&grant), Some("refresh-8"));
    let proved = [accepted("consent-1", PRODUCTION, 1), accepted("consent-2", PRODUCTION, 8)];
    assert_eq!(grant.history, proved, "and its consent is known again: it is never adopted twice (I1)");

    let mut scene = Scene::new().holding(living()).published().at(100);
    with_code(&mut scene);
    let (attempt, _) = scene.begin();
    let grant = written(put_back(&living(), &attempt, pair("8")));
    assert_eq!(live_token(&grant), Some("refresh-8"));
    assert_eq!(
        grant.history[1],
        KnownToken { verdict: Verdict::Accepted { rotation: 8 }, ..KnownToken::new(code(), token_url(PRODUCTION)) }
    );
}

/// A consent that was adopted after the backup was put back is newer than ours, whatever the backup knows.
#[test]
fn a_pair_gives_way_to_a_newer_consent_that_was_proved_since_a_backup_was_put_back() {
    let (_, attempt) = claimed(&renewed(), Which::Candidate, "here-1", at(100));
    let mut backup = living();
    backup.history.push(accepted("consent-3", PRODUCTION, 8));
    backup.current = Some(current("refresh-of-3", PRODUCTION, at(103), secs(900)));
    assert_eq!(put_back(&backup, &attempt, pair("8")), Settlement::Superseded);
    backup.history[1].verdict = Verdict::Pending;
    let grant = written(put_back(&backup, &attempt, pair("8")));
    let order: Vec<_> = grant.history.iter().map(|old| old.fingerprint.clone()).collect();
    assert_eq!(order, ["consent-1", "consent-2", "consent-3"].map(fingerprint), "in the order of consents");
}

/// I3: or it would be adopted once more, for it still stands in the initial grant.
#[test]
fn a_refusal_is_noted_in_a_backup_that_does_not_know_its_consent() {
    let (_, attempt) = claimed(&renewed(), Which::Candidate, "here-1", at(100));
    let grant = written(put_back(&living(), &attempt, invalid_grant()));
    let refused =
        KnownToken { rejected_from: vec![our_id()], ..marked(known("consent-2", PRODUCTION), Verdict::Rejected) };
    assert_eq!(grant.history, [accepted("consent-1", PRODUCTION, 1), refused]);
    assert_eq!(live_token(&grant), Some("refresh-7"), "I9");
    assert_eq!(put_back(&grant, &attempt, invalid_grant()), Settlement::Superseded, "once");
}

/// I7: what was not refused may be adopted once more, so it is not remembered.
#[test]
fn a_consent_that_a_backup_forgot_and_no_server_refused_is_adopted_again() {
    for outcome in [no_connection(), silence(), reply(429, ""), invalid_client()] {
        let (_, attempt) = claimed(&renewed(), Which::Candidate, "here-1", at(100));
        assert_eq!(put_back(&living(), &attempt, outcome), Settlement::Superseded);
    }
    let (_, attempt) = claimed(&renewed(), Which::Current, "here-1", at(100));
    let grant = written(put_back(&living(), &attempt, pair("8")));
    assert_eq!((grant.history.len(), live_token(&grant)), (1, Some("refresh-8")), "nobody has sent consent-2");
}

/// What servers have seen is known again, and nothing that was known in either is lost.
#[test]
fn what_servers_saw_before_a_backup_was_put_back_is_known_again() {
    let mut before = renewed();
    let mark = |token: &str| marked(known(token, PRODUCTION), Verdict::Rejected);
    let doubtful = marked(known("consent-d", PRODUCTION), Verdict::OutcomeUnknown);
    before.history.extend([mark("consent-r"), doubtful.clone(), known("consent-unseen", PRODUCTION)]);
    let (_, attempt) = claimed(&before, Which::Candidate, "here-1", at(100));
    let mut backup = living();
    backup.history[0] = marked(known("consent-1", PRODUCTION), Verdict::RejectedForAll);
    let grant = written(put_back(&backup, &attempt, pair("8")));
    let first = marked(known("consent-1", PRODUCTION), Verdict::RejectedAfterUse);
    let second = accepted("consent-2", PRODUCTION, 8);
    assert_eq!(grant.history, [first, second, mark("consent-r"), doubtful]);
}

/// I3: also where the backup knows the token, and not that it was rejected since.
#[test]
fn a_rejection_is_known_again_after_a_backup_from_before_it() {
    let mut before = living();
    before.history.push(KnownToken {
        rejected_from: vec![our_id()],
        ..marked(known("consent-r", PRODUCTION), Verdict::Rejected)
    });
    let (_, attempt) = claimed(&before, Which::Current, "here-1", at(100));
    let mut backup = living();
    backup.history.push(known("consent-r", PRODUCTION));
    backup.candidate = Some(candidate("consent-r", PRODUCTION));
    let grant = written(put_back(&backup, &attempt, pair("8")));
    assert_eq!(grant.history, before.history);
    assert!(!sends(&Scene::new().holding(grant).published(), "consent-r"));
}

/// I3: a token that another client tries now was rejected all the same from the first one.
#[test]
fn a_rejection_of_a_token_that_was_opened_again_is_not_forgotten() {
    let opened = KnownToken { rejected_from: vec![our_id()], ..known("consent-r", PRODUCTION) };
    let mut before = living();
    before.history.push(opened.clone());
    let (_, attempt) = claimed(&before, Which::Current, "here-1", at(100));
    let grant = written(put_back(&living(), &attempt, pair("8")));
    assert_eq!(grant.history[1], opened);
}

/// The rejection came first, and from another client: the pair counts.
#[test]
fn a_token_that_another_client_had_accepted_stays_accepted() {
    let rejected =
        KnownToken { rejected_from: vec![our_id()], ..marked(known("consent-2", PRODUCTION), Verdict::Rejected) };
    let accepted = KnownToken { rejected_from: vec![our_id()], ..accepted("consent-2", PRODUCTION, 7) };
    for (now, then) in [(&rejected, &accepted), (&accepted, &rejected)] {
        let (mut before, mut stored) = (renewed(), living());
        before.history.push(KnownToken::new(fingerprint("consent-3"), token_url(PRODUCTION)));
        (before.history[1], before.candidate) = (then.clone(), Some(candidate("consent-3", PRODUCTION)));
        stored.history.push(now.clone());
        let (_, attempt) = claimed(&before, Which::Candidate, "here-1", at(100));
        let grant = written(put_back(&stored, &attempt, pair("8")));
        assert_eq!(grant.history[1], accepted);
    }
}

/// Where no backup was put back, the memory is as the writers before left it.
#[test]
fn nothing_is_called_back_to_mind_that_was_not_forgotten() {
    let (mut stored, attempt) = claimed(&renewed(), Which::Candidate, "here-1", at(100));
    stored.history.insert(0, known("consent-0", STAGING));
    let grant = written(settle(&stored, &attempt, &ending(pair("8"), at(100), at(105))));
    let mut expected = stored.history;
    expected[2].verdict = Verdict::Accepted { rotation: 8 };
    assert_eq!(grant.history, expected);
}

/// A token waits for a server that cannot be reached; the spec goes on to another server, and a human consents there by link
/// before anybody looks. That consent is the newer one.
#[test]
fn a_token_that_follows_the_spec_is_older_than_a_consent_that_was_given_there_since() {
    let mut scene = Scene::new().consent("consent-1");
    scene.exchange(no_connection());
    let mut scene = scene.at(100).with_spec(|spec| spec.server = Ok(server(STAGING)));
    with_code(&mut scene);
    scene.exchange(pair("2"));
    let places = |grant: &Grant, token: &Fingerprint| {
        let noted = grant.history.iter().enumerate().filter(|(_, old)| old.fingerprint == *token);
        noted.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let grant = scene.grant();
    assert_eq!((places(grant, &fingerprint("consent-1")), places(grant, &code())), (vec![0, 1], vec![2]));
    assert_eq!((&grant.candidate, live_token(grant)), (&None, Some("refresh-2")));
    let mut scene = scene.at(300);
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(sent(&scene), ["consent-1", "code-1"], "the older one is not tried any more");
}

/// The same where it has not followed yet.
#[test]
fn a_token_does_not_follow_the_spec_to_where_a_newer_consent_is_proved() {
    let mut scene = Scene::new().consent("consent-1").with_spec(|spec| spec.suspend = true);
    scene.rest();
    let mut scene = scene.at(100).with_spec(|spec| (spec.suspend, spec.server) = (false, Ok(server(STAGING))));
    with_code(&mut scene);
    let (stored, attempt) = claimed(scene.grant(), Which::Code, "here-1", at(100));
    let grant = written(settle(&stored, &attempt, &ending(pair("2"), at(100), at(101))));
    assert_eq!(grant.candidate, None, "dropped, and it still stands in the initial grant");
    scene.store(grant);
    scene.rest();
    assert!(!scene.done.ends_with(&["adopt"]) && !scene.is_sending(), "{:?}", scene.done);
}

/// I7: only a living grant that came of a newer consent is a reason to stay.
#[test]
fn a_token_follows_the_spec_to_where_nothing_newer_lives() {
    let follows = |newer: KnownToken, lives_at: Option<&str>| {
        let mut scene = Scene::adopted().with_grant(|grant| {
            grant.history.push(newer);
            grant.current = lives_at.map(|url| current("refresh-7", url, at(0), secs(900)));
        });
        scene = scene.with_spec(|spec| spec.server = Ok(server(STAGING)));
        scene.rest();
        sends(&scene, "consent-1")
    };
    assert!(follows(accepted("consent-2", PRODUCTION, 1), Some(PRODUCTION)));
    assert!(follows(accepted("consent-2", STAGING, 1), None), "it is dead");
    assert!(follows(accepted("consent-2", STAGING, 1), Some(PRODUCTION)), "it was dead before that one came");
    assert!(follows(known("consent-2", STAGING), Some(STAGING)), "what lives there is older");
    assert!(!follows(accepted("consent-2", STAGING, 1), Some(STAGING)));
}

/// I2: what a dead consent bought is no reason to drop the pair of one that was tried after it.
#[test]
fn a_token_that_follows_the_spec_is_newer_than_what_is_dead_there() {
    let mut grant = Scene::adopted().grant().clone();
    let dead = |token| marked(known(token, STAGING), Verdict::RejectedAfterUse);
    grant.history.extend([known("a lost code", STAGING), accepted("consent-2", STAGING, 1), dead("refresh-2")]);
    grant.note_authorization(&fingerprint("consent-1"), &token_url(STAGING));
    grant.candidate = Some(candidate("consent-1", STAGING));
    let (mut stored, attempt) = claimed(&grant, Which::Candidate, "here-1", at(0));
    stored.candidate = Some(candidate("consent-3", STAGING));
    stored.history.push(known("consent-3", STAGING));
    let after = written(settle(&stored, &attempt, &ending(pair("8"), at(0), at(1))));
    assert_eq!(live_token(&after), Some("refresh-8"));
}

/// What was proved elsewhere says nothing of who came first here.
#[test]
fn a_token_that_follows_the_spec_has_its_place_by_the_consents_of_that_server() {
    let place = |others: Vec<KnownToken>| {
        let mut grant = Scene::adopted().grant().clone();
        grant.history.extend(others);
        grant.note_authorization(&fingerprint("consent-1"), &token_url(STAGING));
        grant.history.iter().rposition(|old| old.fingerprint == fingerprint("consent-1")).expect("it is noted")
    };
    let waits = |token| known(token, STAGING);
    assert_eq!(place(vec![waits("code"), accepted("consent-2", PRODUCTION, 1)]), 1);
    assert_eq!(place(vec![waits("lost"), accepted("consent-2", STAGING, 1), waits("code")]), 3);
    assert_eq!(place(vec![known("consent-2", PRODUCTION), waits("code")]), 2);
    assert_eq!(place(vec![marked(waits("refused"), Verdict::Rejected)]), 2);
}

/// I7: a namesake's consents are no consents to this connection.
#[test]
fn a_token_that_a_namesake_never_sent_is_adopted_though_a_newer_one_was_proved() {
    let mut old = Grant::new("another uid", 30);
    old.current = Some(current("refresh-30", STAGING, at(0), secs(900)));
    old.history = vec![known("consent-1", PRODUCTION), accepted("consent-2", STAGING, 1)];
    let mut scene = Scene::new().consent("consent-1").with_spec(|spec| spec.server = Ok(server(STAGING)));
    scene = scene.seeing(|seen| {
        seen.grant = GrantSecret::Stale(Versioned { value: old, version: "7".into() });
    });
    scene.exchange(pair("1"));
    assert_eq!((sent(&scene), live_token(scene.grant())), (vec!["consent-1"], Some("refresh-1")));
}

/// A tool puts the older token back while the newer one is under way, where the spec points elsewhere by then.
#[test]
fn an_older_candidate_is_dropped_when_a_newer_consent_is_proved() {
    let mut grant = Grant::new(UID, 0);
    grant.history = vec![known("consent-1", PRODUCTION), known("consent-2", STAGING)];
    grant.candidate = Some(candidate("consent-2", STAGING));
    let (mut stored, attempt) = claimed(&grant, Which::Candidate, "here-1", at(0));
    stored.drop_candidate(None);
    stored.note_authorization(&fingerprint("consent-1"), &token_url(STAGING));
    stored.candidate = Some(candidate("consent-1", STAGING));
    let after = written(settle(&stored, &attempt, &ending(pair("2"), at(0), at(1))));
    assert_eq!((&after.candidate, live_token(&after)), (&None, Some("refresh-2")));
}

/// What came by the current token says nothing of the candidate beside it.
#[test]
fn a_candidate_stays_when_the_living_grant_is_refreshed() {
    let mut grant = renewed();
    grant.current = Some(current("consent-1", PRODUCTION, at(0), secs(900)));
    let (stored, attempt) = claimed(&grant, Which::Current, "here-1", at(850));
    let after = written(settle(&stored, &attempt, &ending(pair("8"), at(850), at(851))));
    assert!(after.candidate.is_some());
}

/// I3: also where it had been refused at another server before, and where the backup holds it for that one.
#[test]
fn a_refusal_is_noted_for_the_server_that_spoke_it() {
    let away = marked(known("consent-2", STAGING), Verdict::Rejected);
    let mut before = renewed();
    before.history.insert(1, away.clone());
    let (_, attempt) = claimed(&before, Which::Candidate, "here-1", at(100));
    let mut backup = living();
    backup.history.push(marked(away, Verdict::Pending));
    let mut holding = backup.clone();
    holding.candidate = Some(candidate("consent-2", STAGING));
    for backup in [backup, holding] {
        let grant = written(put_back(&backup, &attempt, invalid_grant()));
        assert!(grant.knows(&fingerprint("consent-2"), &token_url(PRODUCTION), Some(&our_id())));
    }
}

/// The order of consents is the same whether a token followed the spec before a backup was put back, or after it.
#[test]
fn a_token_that_followed_the_spec_in_a_backup_keeps_its_place() {
    let mut scene = Scene::adopted().with_spec(|spec| spec.server = Ok(server(STAGING)));
    with_code(&mut scene);
    let (_, attempt) = claimed(scene.grant(), Which::Code, "here-1", at(100));
    let mut backup = Scene::adopted().grant().clone();
    backup.note_authorization(&fingerprint("consent-1"), &token_url(STAGING));
    backup.candidate = Some(candidate("consent-1", STAGING));
    let grant = written(put_back(&backup, &attempt, pair("2")));
    let order: Vec<_> = grant.history.iter().map(|old| old.fingerprint.clone()).collect();
    assert_eq!(order, [fingerprint("consent-1"), fingerprint("consent-1"), code()]);
    assert_eq!(grant.candidate, None);
}

#[test]
fn a_grant_remembers_what_it_holds_what_it_adopted_and_what_was_refused_and_nothing_else() {
    let mut grant = Grant::new("uid", 1);
    grant.current = Some(current("refresh-1", PRODUCTION, at(0), secs(900)));
    grant.history.push(accepted("consent-1", PRODUCTION, 1));
    grant.last_rejection = Some(rejection("refresh-0", RejectionReason::GrantRefused));
    let knows = |text: &str| grant.has_seen(&fingerprint(text));
    assert!(knows("refresh-1") && knows("consent-1") && knows("refresh-0"));
    assert!(!knows("refresh-2"));
}

#[test]
fn a_refusal_is_noted_for_its_own_consent_only() {
    let mut grant = Grant::new("uid", 1);
    grant.history = vec![accepted("consent-1", PRODUCTION, 1), known("consent-2", PRODUCTION)];
    grant.candidate = Some(candidate("consent-2", PRODUCTION));
    grant.drop_candidate(Some(&our_id()));
    let refused: Vec<bool> = grant.history.iter().map(KnownToken::is_rejected).collect();
    assert_eq!(refused, [false, true]);
}
