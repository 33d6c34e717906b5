//! The rules of the authorization server, each named by a test. Pure: no socket, no clock.

use pleo_sandbox::authority::{
    AccessRefusal, Authentication, Authority, AuthorizationRequest, Client, Credentials, Delivery, Life, Lifetimes,
    Outcome, Pair, Presented, Refusal, TokenRequest,
};
use std::time::Duration;

const ACCESS: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(600);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn authority() -> Authority {
    let lifetimes = Lifetimes { access: ACCESS, refresh: REFRESH };
    Authority::new(1, lifetimes, "client", Client::new(Some("secret".into())))
}

fn request(token: &str) -> TokenRequest {
    request_by("client", Some("secret"), token)
}

fn request_by(id: &str, secret: Option<&str>, token: &str) -> TokenRequest {
    TokenRequest {
        credentials: Credentials {
            client_id: id.into(),
            client_secret: secret.map(Into::into),
            authentication: Authentication::Body,
        },
        presented: Presented::RefreshToken(token.into()),
    }
}

/// A whole exchange at one instant.
fn exchange(authority: &mut Authority, now: Duration, request: TokenRequest) -> Result<Pair, Refusal> {
    let id = authority.begin(now, request);
    let result = authority.rotate(now, id);
    let status = if let Err(refusal) = &result { refusal.status() } else { 200 };
    authority.finish(now, id, Delivery::Status(status));
    result
}

fn refresh(authority: &mut Authority, now: Duration, token: &str) -> Result<Pair, Refusal> {
    exchange(authority, now, request(token))
}

#[test]
fn a_refresh_rotates_both_tokens() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let one = refresh(&mut authority, at(1), &first).unwrap();
    let two = refresh(&mut authority, at(2), &one.refresh_token).unwrap();
    assert_ne!(one.access_token, two.access_token);
    assert_ne!(one.refresh_token, two.refresh_token);
    assert_eq!(two.expires_in, ACCESS);
    assert_eq!(authority.check_access(at(3), &two.access_token), Ok("acme"));
    assert_eq!(authority.counters("acme").rotations, 2);
}

#[test]
fn the_old_access_token_is_dead_at_once() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let one = refresh(&mut authority, at(1), &first).unwrap();
    refresh(&mut authority, at(2), &one.refresh_token).unwrap();
    assert_eq!(authority.check_access(at(2), &one.access_token), Err(AccessRefusal::Superseded));
}

#[test]
fn an_access_token_expires_after_its_life() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let pair = refresh(&mut authority, at(0), &first).unwrap();
    assert!(authority.check_access(ACCESS - Duration::from_millis(1), &pair.access_token).is_ok());
    assert_eq!(authority.check_access(ACCESS, &pair.access_token), Err(AccessRefusal::Expired));
}

#[test]
fn a_spent_refresh_token_kills_its_whole_family() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let one = refresh(&mut authority, at(1), &first).unwrap();
    assert_eq!(refresh(&mut authority, at(2), &first), Err(Refusal::SpentToken));
    assert_eq!(refresh(&mut authority, at(3), &one.refresh_token), Err(Refusal::DeadFamily));
    assert_eq!(authority.check_access(at(3), &one.access_token), Err(AccessRefusal::DeadFamily));
    let counters = authority.counters("acme");
    assert_eq!((counters.families_killed, counters.replays, counters.refusals), (1, 2, 2));
    assert_eq!(authority.families("acme")[0].life, Life::KilledByReplay);
}

#[test]
fn an_expired_refresh_token_kills_its_whole_family() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    authority.set_lifetimes("acme", Lifetimes { access: at(10_000), refresh: REFRESH });
    let one = refresh(&mut authority, at(1), &first).unwrap();
    let late = at(1) + REFRESH;
    assert!(authority.check_access(late, &one.access_token).is_ok());
    assert_eq!(refresh(&mut authority, late, &one.refresh_token), Err(Refusal::ExpiredToken));
    assert_eq!(authority.check_access(late, &one.access_token), Err(AccessRefusal::DeadFamily));
}

#[test]
fn a_refresh_token_can_be_made_to_expire_early() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    authority.expire_refresh_tokens(at(5), "acme");
    assert_eq!(refresh(&mut authority, at(5), &first), Err(Refusal::ExpiredToken));
}

#[test]
fn a_revoked_connection_has_no_living_token() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let one = refresh(&mut authority, at(1), &first).unwrap();
    authority.revoke("acme");
    assert_eq!(authority.check_access(at(2), &one.access_token), Err(AccessRefusal::DeadFamily));
    assert_eq!(refresh(&mut authority, at(2), &one.refresh_token), Err(Refusal::DeadFamily));
    assert_eq!(authority.families("acme")[0].life, Life::Revoked);
}

#[test]
fn a_new_consent_leaves_the_earlier_family_alone() {
    let mut authority = authority();
    let old = authority.consent(at(0), "acme", None);
    let new = authority.consent(at(1), "acme", None);
    refresh(&mut authority, at(2), &new).unwrap();
    assert_eq!(refresh(&mut authority, at(3), &new), Err(Refusal::SpentToken));
    assert!(refresh(&mut authority, at(4), &old).is_ok(), "the death of one family is not that of another");
    assert_eq!(authority.counters("acme").families, 2);
}

#[test]
fn an_unknown_token_is_an_invalid_grant_and_kills_nothing() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let refusal = refresh(&mut authority, at(1), "no such token").unwrap_err();
    assert_eq!((refusal, refusal.code(), refusal.status()), (Refusal::UnknownToken, "invalid_grant", 400));
    refresh(&mut authority, at(1), "no such token").unwrap_err();
    assert_eq!(authority.exchanges()[1].presentation, 2);
    assert_eq!(authority.exchanges()[1].connection, None);
    assert!(refresh(&mut authority, at(2), &first).is_ok());
}

#[test]
fn an_access_token_is_no_refresh_token_nor_the_other_way_round() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let one = refresh(&mut authority, at(1), &first).unwrap();
    assert_eq!(refresh(&mut authority, at(2), &one.access_token), Err(Refusal::UnknownToken));
    assert_eq!(authority.check_access(at(2), &one.refresh_token), Err(AccessRefusal::Unknown));
    assert!(refresh(&mut authority, at(3), &one.refresh_token).is_ok());
}

#[test]
fn a_wrong_client_is_refused_and_the_grant_untouched() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let wrong = [
        request_by("client", Some("wrong"), &first),
        request_by("client", None, &first),
        request_by("nobody", Some("secret"), &first),
    ];
    for request in wrong {
        let refusal = exchange(&mut authority, at(1), request).unwrap_err();
        assert_eq!((refusal.code(), refusal.status()), ("invalid_client", 401));
    }
    let one = refresh(&mut authority, at(2), &first).unwrap();
    exchange(&mut authority, at(3), request_by("client", Some("wrong"), &first)).unwrap_err();
    assert!(
        refresh(&mut authority, at(4), &one.refresh_token).is_ok(),
        "a spent token from a wrong client kills nothing"
    );
}

#[test]
fn a_client_authenticates_in_the_ways_it_may_only() {
    let mut authority = authority();
    let secret = Client::new(Some("secret".into()));
    let basic_only = Client { authentications: vec![Authentication::Basic], ..secret };
    authority.set_client("client", basic_only);
    let first = authority.consent(at(0), "acme", None);
    assert_eq!(refresh(&mut authority, at(1), &first), Err(Refusal::InvalidClient));
    let mut basic = request(&first);
    basic.credentials.authentication = Authentication::Basic;
    assert!(exchange(&mut authority, at(2), basic).is_ok());
}

#[test]
fn a_public_client_has_no_secret_to_present() {
    let mut authority = authority();
    authority.set_client("public", Client::new(None));
    let first = authority.consent(at(0), "acme", Some("public"));
    let with_secret = request_by("public", Some("secret"), &first);
    assert_eq!(exchange(&mut authority, at(1), with_secret), Err(Refusal::InvalidClient));
    assert!(exchange(&mut authority, at(2), request_by("public", None, &first)).is_ok());
}

#[test]
fn a_token_of_another_client_is_an_invalid_grant_and_kills_nothing() {
    let mut authority = authority();
    authority.set_client("other", Client::new(Some("its own".into())));
    let first = authority.consent(at(0), "acme", None);
    let foreign = request_by("other", Some("its own"), &first);
    let refusal = exchange(&mut authority, at(1), foreign).unwrap_err();
    assert_eq!((refusal, refusal.code()), (Refusal::ForeignToken, "invalid_grant"));
    assert!(refresh(&mut authority, at(2), &first).is_ok());
}

#[test]
fn overlapping_exchanges_of_one_family_are_counted_and_the_second_kills_it() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let other = authority.consent(at(0), "other", None);
    let one = authority.begin(at(1), request(&first));
    let elsewhere = authority.begin(at(1), request(&other));
    let two = authority.begin(at(2), request(&first));
    let pair = authority.rotate(at(3), one).unwrap();
    assert_eq!(authority.rotate(at(4), two), Err(Refusal::SpentToken));
    for id in [one, two, elsewhere] {
        authority.finish(at(5), id, Delivery::Status(200));
    }
    let counters = authority.counters("acme");
    assert_eq!((counters.overlapping, counters.resent, counters.replays), (1, 1, 1));
    assert_eq!(authority.counters("other").overlapping, 0);
    assert_eq!(authority.check_access(at(5), &pair.access_token), Err(AccessRefusal::DeadFamily));
    assert!(authority.exchange(two).unwrap().overlapped);
}

#[test]
fn exchanges_one_after_the_other_do_not_overlap() {
    let mut authority = authority();
    let mut token = authority.consent(at(0), "acme", None);
    for second in 1..=5 {
        token = refresh(&mut authority, at(second), &token).unwrap().refresh_token;
    }
    let counters = authority.counters("acme");
    assert_eq!((counters.exchanges, counters.overlapping, counters.resent, counters.max_presented), (5, 0, 0, 1));
    assert_eq!(counters.begins, (1..=5).map(at).collect::<Vec<_>>());
    let numbers: Vec<_> = authority.exchanges().iter().map(|record| record.token_number.unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_token_that_is_sent_again_is_counted_even_if_it_was_never_judged() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    for second in 1..=3 {
        let id = authority.begin(at(second), request(&first));
        authority.finish(at(second), id, Delivery::Status(503));
    }
    let counters = authority.counters("acme");
    assert_eq!((counters.resent, counters.max_presented, counters.replays), (2, 3, 0));
    assert!(refresh(&mut authority, at(4), &first).is_ok(), "what was not judged is not spent");
}

#[test]
fn an_exchange_is_judged_once() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let id = authority.begin(at(1), request(&first));
    let pair = authority.rotate(at(1), id).unwrap();
    assert_eq!(authority.rotate(at(1), id), Err(Refusal::AlreadyJudged));
    authority.finish(at(1), id, Delivery::Cut);
    authority.finish(at(2), id, Delivery::Status(200));
    let record = authority.exchange(id).unwrap();
    assert_eq!((record.answer, record.finished_at), (Some(Delivery::Cut), Some(at(1))));
    assert_eq!(record.outcome, Outcome::Rotated { expires_in: 60 });
    assert!(authority.check_access(at(2), &pair.access_token).is_ok());
}

#[test]
fn lifetimes_of_a_connection_hold_for_what_is_issued_from_then_on() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let other = authority.consent(at(0), "other", None);
    authority.set_lifetimes("acme", Lifetimes { access: at(5), refresh: at(10) });
    assert_eq!(refresh(&mut authority, at(1), &first).unwrap().expires_in, at(5));
    assert_eq!(refresh(&mut authority, at(1), &other).unwrap().expires_in, ACCESS);
    assert_eq!(authority.families("acme")[0].refresh_expires_at, at(11));
}

#[test]
fn every_token_ever_issued_is_remembered() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let pair = refresh(&mut authority, at(1), &first).unwrap();
    assert_eq!(authority.issued_tokens(), [first, pair.access_token, pair.refresh_token]);
    assert!(authority.issued_tokens().iter().all(|token| token.len() >= 40));
}

#[test]
fn the_same_seed_and_the_same_story_give_the_same_tokens() {
    let story = || {
        let mut authority = authority();
        let first = authority.consent(at(0), "acme", None);
        refresh(&mut authority, at(1), &first).unwrap();
        authority.issued_tokens().to_vec()
    };
    assert_eq!(story(), story());
}

#[test]
fn no_debug_print_shows_a_token_or_a_secret() {
    let mut authority = authority();
    let first = authority.consent(at(0), "acme", None);
    let pair = refresh(&mut authority, at(1), &first).unwrap();
    let record = serde_json::to_string(authority.exchanges()).unwrap();
    let shown =
        format!("{authority:?} {:?} {pair:?} {:?} {record}", request(&first), Client::new(Some("secret".into())));
    for token in authority.issued_tokens() {
        assert!(!shown.contains(token.as_str()));
    }
    assert!(!shown.contains("\"secret\""), "{shown}");
}

#[test]
fn the_rules_and_the_scripts_know_no_clock_no_socket_and_no_async() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![source.join("authority.rs"), source.join("script.rs")];
    for folder in ["authority", "script"] {
        files.extend(std::fs::read_dir(source.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["tokio", "Instant", "SystemTime", "Timestamp::now", "std::net", "std::fs", "async fn", "HashMap"] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

/// RFC 6749 section 4.1.2: codes are short-lived.
#[test]
fn a_code_that_is_too_old_buys_nothing() {
    let mut authority = authority();
    let asked = AuthorizationRequest {
        client_id: "client".into(),
        redirect_uri: "https://operator.example.com/callback".into(),
        state: None,
        // Of the verifier in RFC 7636 appendix B.
        challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into(),
    };
    let presented = |code: &str| TokenRequest {
        presented: Presented::Code {
            code: code.into(),
            redirect_uri: asked.redirect_uri.clone(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        },
        ..request("")
    };
    let (quick, slow) = (authority.allow(at(0), "acme", asked.clone()), authority.allow(at(0), "acme", asked.clone()));
    assert!(exchange(&mut authority, at(59), presented(&quick)).is_ok());
    assert_eq!(exchange(&mut authority, at(60), presented(&slow)), Err(Refusal::ExpiredToken));
    let (first, second) = (&authority.families("acme")[0], &authority.families("acme")[1]);
    assert_eq!((first.life, first.token_number), (Life::Alive, 1));
    assert_eq!((second.life, second.token_number), (Life::KilledByReplay, 0));
}
