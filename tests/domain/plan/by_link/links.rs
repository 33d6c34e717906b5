//! Consent by link: who is admitted, what ties a visit to one browser, and how a code becomes a pair, once (X5).

use pleo_operator::domain::{
    ledger::{
        authorization::{
            AuthorizationLink, AuthorizationSession, LINK_LIFETIME, SESSION_LIFETIME, SessionEnd, SessionId, challenge,
        },
        grant::RejectionReason,
    },
    plan::{
        decide::Decision,
        link::{self, AuthorizationResponse, CODE_LIFETIME},
    },
    snapshot::{GrantSecret, LastReported},
    token::{AuthorizationCode, CodeVerifier, Fingerprint, LinkKey},
};

use crate::scenes::{PRODUCTION, STAGING, Scene, UID, at, client, our_id, secs, server, token_url};

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

pub(super) fn arrival(code: &str) -> AuthorizationResponse {
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
pub(super) fn consented() -> Scene {
    let mut scene = invited(Scene::dead(RejectionReason::GrantRefused).at(100));
    let accepted = link::accept(scene.grant(), arrival("code-1"), at(100));
    scene.store(accepted);
    scene
}

pub(super) fn end_of_visit(scene: &Scene) -> Option<SessionEnd> {
    scene.grant().by_link.session.as_ref().expect("a visit").end
}

pub(super) fn link_of(scene: &Scene) -> Option<String> {
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
    let way = AuthorizationSession { uid: UID, session_id: &visit, browser: "b", server: &home };
    let state = invitation.state(&way);
    assert_eq!(SessionId::read(&state), Some(visit.clone()));
    assert!(invitation.knows(&state, &way));
    let later = SessionId { ends_at: visit.ends_at + 1, ..visit.clone() };
    let for_another = SessionId { client_id: client("another").id_fingerprint(), ..visit.clone() };
    for other in [
        AuthorizationSession { browser: "c", ..way },
        AuthorizationSession { uid: "another uid", ..way },
        AuthorizationSession { server: &away, ..way },
        AuthorizationSession { session_id: &later, ..way },
        AuthorizationSession { session_id: &for_another, ..way },
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
    let way = AuthorizationSession { uid: UID, session_id: &visit, browser: "b", server: &home };
    let verifier = invitation.verifier(&way);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(verifier.expose().len() == 43 && verifier.expose().bytes().all(plain));
    assert_ne!(verifier, invitation.verifier(&AuthorizationSession { browser: "c", ..way }));
    assert!(!invitation.state(&way).contains(verifier.expose()), "the state does not tell it");
}

/// Servers forget a code after ten minutes at most (RFC 6749 section 4.1.2), and that is what a human has to consent in, too.
#[test]
fn lives_are_as_documented() {
    assert_eq!((LINK_LIFETIME, SESSION_LIFETIME, CODE_LIFETIME), (secs(86_400), secs(900), secs(300)));
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
    let way = AuthorizationSession { uid: UID, session_id: &visit, browser: "b", server: &home };
    let asked = |scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let page = "https://auth.pleo.io/oauth/authorize?tenant=1";
        invitation
            .authorization_request(page, "acme client", "https://pleo.example.com/callback", &scopes, &way)
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
    assert_eq!(invitation.authorization_request("no address", "id", "uri", &[], &way), None);
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
