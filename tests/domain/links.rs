//! Consent by link: who is admitted, what ties a visit to one browser, and how a code becomes a pair, once (X5).

use pleo_operator::{
    api::ReauthReason,
    domain::{
        commit::{
            attempt::Attempt,
            settlement::{Settlement, settle},
        },
        ledger::{
            authorization::{
                AuthorizationLink, AuthorizationSession, LINK_LIFETIME, SESSION_LIFETIME, SessionEnd, SessionId,
                challenge,
            },
            grant::{FailureRecord, Grant, RejectionReason, Which},
            held::AttemptId,
            record,
        },
        plan::{
            decide::Decision,
            link::{self, AuthorizationResponse, CODE_LIFETIME},
            reauth,
        },
        snapshot::{ClaimOwner, GrantSecret, LastReported, LocalObservations},
        token::{AuthorizationCode, CodeVerifier, Fingerprint, LinkKey},
    },
};

use super::scenes::{
    PRODUCTION, STAGING, Scene, UID, at, client, ending, fingerprint, invalid_grant, known, no_connection, our_id,
    pair, reply, secs, server, silence, token_url, written,
};

const LINKS: &str = "https://pleo.example.com";
const ID: &str = "0123456789abcdef0123456789abcdef";

fn invitation() -> AuthorizationLink {
    AuthorizationLink { key: LinkKey::new("a key"), made_at: at(0) }
}

fn invited(scene: Scene) -> Scene {
    let mut scene = scene.seeing(|seen| seen.links = Some(LINKS.into()));
    assert!(matches!(scene.rest(), Decision::Wait(_)), "{:?}", scene.done);
    scene
}

fn arrival(code: &str) -> AuthorizationResponse {
    AuthorizationResponse {
        client_id: our_id(),
        id: ID.into(),
        browser: Fingerprint::of(&["browser", "b"]),
        code: AuthorizationCode::new(code),
        verifier: CodeVerifier::new("a verifier"),
        server: token_url(PRODUCTION),
        redirect_uri: format!("{LINKS}/callback"),
    }
}

/// A dead connection to which a human has consented anew.
fn consented() -> Scene {
    let mut scene = invited(Scene::dead(RejectionReason::GrantRefused).at(100));
    let accepted = link::accept(scene.grant(), arrival("code-1"), at(100));
    scene.store(accepted);
    scene
}

fn end_of_visit(scene: &Scene) -> Option<SessionEnd> {
    scene.grant().by_link.session.as_ref().expect("a visit").end
}

fn link_of(scene: &Scene) -> Option<String> {
    scene.status().authorization_url
}

#[test]
fn a_link_is_there_only_while_a_human_is_needed() {
    let dead = invited(Scene::dead(RejectionReason::GrantRefused));
    let link = link_of(&dead).expect("a link");
    let (address, ticket) = link.split_once("?ticket=").expect("a ticket");
    assert_eq!((address, ticket.len()), ("https://pleo.example.com/authorize/finance/acme", 43));
    assert!(dead.grant().by_link.link.as_ref().unwrap().admits(ticket, UID, dead.now));

    let moved = Scene::living().with_spec(|spec| spec.server = Ok(server(STAGING)));
    for scene in [Scene::new(), moved] {
        assert!(link_of(&invited(scene)).is_some());
    }
    let no_page = Scene::dead(RejectionReason::GrantRefused)
        .with_spec(|spec| spec.server.as_mut().unwrap().authorization_url = Err("there is none".into()));
    let suspended = Scene::dead(RejectionReason::GrantRefused).with_spec(|spec| spec.suspend = true);
    for scene in [Scene::living(), no_page, suspended] {
        let scene = invited(scene);
        assert_eq!((link_of(&scene), &scene.done), (None, &vec![]));
    }
    let mut unwanted = Scene::dead(RejectionReason::GrantRefused);
    assert!(matches!(unwanted.rest(), Decision::Wait(_)) && unwanted.done.is_empty(), "nobody serves the pages");
}

/// What may be a backup is not written over: the right one may still be put in its place (I9).
#[test]
fn a_grant_that_was_put_back_is_left_as_it_is() {
    let mut scene = Scene::living().seeing(|seen| {
        seen.links = Some(LINKS.into());
        seen.grant = seen.grant.clone().unless_outdated(LastReported { rotation: 8, rejected_rotation: None });
    });
    assert!(matches!(scene.snapshot.grant, GrantSecret::Stale(_)));
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert!(!scene.done.contains(&"invite") && link_of(&scene).is_none(), "{:?}", scene.done);
}

/// I6: one write a day.
#[test]
fn a_link_ends_after_a_day_and_a_new_one_takes_its_place() {
    let mut scene = invited(Scene::dead(RejectionReason::GrantRefused));
    let (first, day) = (link_of(&scene).unwrap(), i64::try_from(LINK_LIFETIME.as_secs()).unwrap());
    let Decision::Wait(wait) = scene.rest() else { panic!("nothing to do") };
    assert_eq!(wait.until, Some(at(day)));
    scene.done.clear();
    let mut scene = scene.at(day - 1);
    assert!(matches!(scene.rest(), Decision::Wait(_)) && scene.done.is_empty());
    let mut scene = scene.at(day);
    assert!(matches!(scene.rest(), Decision::Wait(_)));
    assert_eq!(scene.done, ["invite"]);
    let second = link_of(&scene).unwrap();
    assert_ne!(first, second);
    let ticket = |link: &str| link.split_once("?ticket=").unwrap().1.to_owned();
    let admits = |link: &str| scene.grant().by_link.link.as_ref().unwrap().admits(&ticket(link), UID, scene.now);
    assert!(admits(&second) && !admits(&first));
}

#[test]
fn a_ticket_admits_to_one_connection_until_it_ends() {
    let invitation = invitation();
    let ticket = invitation.ticket(UID);
    assert!(invitation.admits(&ticket, UID, at(0)));
    assert!(!invitation.admits(&ticket, "another uid", at(0)));
    assert!(!invitation.admits(&ticket, UID, invitation.ends_at()));
    let other = AuthorizationLink { key: LinkKey::new("another key"), ..invitation.clone() };
    for wrong in ["", "x", &ticket[1..], &format!("{ticket}x"), &other.ticket(UID)] {
        assert!(!invitation.admits(wrong, UID, at(0)), "{wrong}");
    }
}

/// RFC 9700 section 4.7: a state is worth nothing in another browser, for another connection, or with another end.
#[test]
fn a_state_is_known_only_as_it_was_made() {
    let (invitation, visit) = (invitation(), SessionId::new(ID.into(), &client("acme-client"), at(0)));
    let (home, away) = (token_url(PRODUCTION), token_url(STAGING));
    let way = AuthorizationSession { uid: UID, visit: &visit, browser: "b", server: &home };
    let state = invitation.state(&way);
    assert_eq!(SessionId::read(&state), Some(visit.clone()));
    assert!(invitation.knows(&state, &way));
    let later = SessionId { ends_at: visit.ends_at + 1, ..visit.clone() };
    let for_another = SessionId { client_id: client("another").id_fingerprint(), ..visit.clone() };
    for other in [
        AuthorizationSession { browser: "c", ..way },
        AuthorizationSession { uid: "another uid", ..way },
        AuthorizationSession { server: &away, ..way },
        AuthorizationSession { visit: &later, ..way },
        AuthorizationSession { visit: &for_another, ..way },
    ] {
        assert!(!invitation.knows(&state, &other), "{other:?}");
    }
    let mac = state.rsplit_once('.').unwrap().1;
    for wrong in ["", "..", ID, "x.1.y", &format!("{ID}.zz.{mac}"), &format!("{ID}.-1.{mac}"), &state[1..]] {
        assert!(!invitation.knows(wrong, &way), "{wrong}");
    }
    let client_id = our_id();
    let (short, not_hex) =
        (format!("{}.1.{client_id}.{mac}", &ID[1..]), format!("{}.1.{client_id}.{mac}", "z".repeat(32)));
    let (no_client, no_fingerprint) = (format!("{ID}.1.{mac}"), format!("{ID}.1.acme.{mac}"));
    for wrong in ["", "..", ID, "x.1.y", &format!("{ID}.zz.{mac}"), &short, &not_hex, &no_client, &no_fingerprint] {
        assert_eq!(SessionId::read(wrong), None, "{wrong}");
    }
    assert!(!visit.is_over(at(0)) && visit.is_over(at(i64::try_from(SESSION_LIFETIME.as_secs()).unwrap())));
}

/// RFC 7636 appendix B; and a verifier for each visit, of the right form.
#[test]
fn a_challenge_is_made_as_pkce_wants_it() {
    let example = CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(challenge(&example), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let (invitation, visit) = (invitation(), SessionId::new(ID.into(), &client("acme-client"), at(0)));
    let home = token_url(PRODUCTION);
    let way = AuthorizationSession { uid: UID, visit: &visit, browser: "b", server: &home };
    let verifier = invitation.verifier(&way);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(verifier.expose().len() == 43 && verifier.expose().bytes().all(plain));
    assert_ne!(verifier, invitation.verifier(&AuthorizationSession { browser: "c", ..way }));
    assert!(!invitation.state(&way).contains(verifier.expose()), "the state does not tell it");
}

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

/// Servers forget a code after ten minutes at most (RFC 6749 section 4.1.2), and that is what a human has to consent in, too.
#[test]
fn lives_are_as_documented() {
    assert_eq!((LINK_LIFETIME, SESSION_LIFETIME, CODE_LIFETIME), (secs(86_400), secs(900), secs(300)));
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

/// I5.
#[test]
fn a_key_and_a_code_are_never_printed() {
    let scene = consented();
    let shown = format!("{:?} {:?} {:?}", scene.snapshot, invitation(), scene.status());
    for secret in ["code-1", "a verifier", "a key", "key-1"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

/// RFC 6749 section 4.1.1, RFC 7636 section 4.3: to the letter, and no scope where none is named.
#[test]
fn the_question_is_asked_as_the_server_wants_it() {
    let (invitation, visit, home) =
        (invitation(), SessionId::new(ID.into(), &client("acme-client"), at(0)), token_url(PRODUCTION));
    let way = AuthorizationSession { uid: UID, visit: &visit, browser: "b", server: &home };
    let asked = |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let page = "https://auth.pleo.io/oauth/authorize?tenant=1";
        invitation
            .question(page, "acme client", "https://pleo.example.com/callback", &scopes, &way)
            .expect("an address")
    };
    let (state, verifier) = (invitation.state(&way), invitation.verifier(&way));
    let expected = format!(
        "https://auth.pleo.io/oauth/authorize?tenant=1&response_type=code&client_id=acme+client\
         &redirect_uri=https%3A%2F%2Fpleo.example.com%2Fcallback&state={state}&code_challenge={}\
         &code_challenge_method=S256",
        challenge(&verifier)
    );
    assert_eq!(asked(&[]), expected);
    assert_eq!(asked(&["expenses:read", "users:read"]), format!("{expected}&scope=expenses%3Aread+users%3Aread"));
    assert_eq!(invitation.question("no address", "id", "uri", &[], &way), None);
}

#[test]
fn a_link_is_not_shown_at_its_very_end() {
    let (invitation, spec) = (invitation(), Scene::new().snapshot.spec);
    let just_before = invitation.ends_at() - jiff::SignedDuration::from_nanos(1);
    assert!(invitation.link(LINKS, &spec, just_before).is_some());
    assert_eq!(invitation.link(LINKS, &spec, invitation.ends_at()), None);
}

/// What is counted, and what is said of a consent that came to nothing.
#[test]
fn every_end_of_a_visit_is_counted_by_its_name_and_bad_ones_say_what_to_do() {
    let labels = ["connected", "rejected", "misconfigured", "failed", "lost", "replaced", "too_late"];
    assert_eq!(SessionEnd::ALL.map(SessionEnd::label), labels);
    for end in SessionEnd::ALL {
        let is_good = matches!(end, SessionEnd::Connected | SessionEnd::Replaced);
        assert_eq!(end.advice().is_none(), is_good, "{end:?}");
        assert!(end.advice().is_none_or(|advice| advice.contains("open the link again")), "{end:?}");
    }
}

/// An end is told once: when it comes, and of the visit that it ends.
#[test]
fn the_end_of_a_visit_is_told_once() {
    let open = consented();
    let mut closed = open.grant().clone();
    closed.by_link.code = None;
    closed.by_link.session.as_mut().unwrap().end = Some(SessionEnd::Rejected);
    let mut another = closed.clone();
    another.by_link.session.as_mut().unwrap().id = "another visit".into();
    assert_eq!(link::ended(open.grant(), &closed), Some(SessionEnd::Rejected));
    assert_eq!(link::ended(&closed, &closed), None);
    assert_eq!(link::ended(open.grant(), open.grant()), None);
    assert_eq!(link::ended(open.grant(), &another), None);
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
