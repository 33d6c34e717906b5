//! How a grant and a token stand in their Secrets: nothing is lost on the way there and back, what cannot be understood
//! is left alone and never guessed at, and no token shows where one looks at a value.

use std::collections::BTreeMap;

use pleo_operator::{
    api::TokenState,
    domain::{
        ledger::{
            grant::{Grant, Holder},
            record::{Data, Unreadable, decode, encode},
        },
        snapshot::published::{Access, Content, Published},
        token::AccessToken,
    },
};
use proptest::{prelude::*, proptest};
use serde_json::{Value, json};

use crate::{
    random::arbitrary,
    scenes::{PRODUCTION, Scene, UID, accepted, at, candidate, claim_of, current, known, no_connection, secs},
};

fn whole() -> Grant {
    let mut grant = Scene::living().grant().clone();
    grant.candidate = Some(candidate("consent-2", PRODUCTION));
    grant.history = vec![accepted("consent-1", PRODUCTION, 1), known("consent-2", PRODUCTION)];
    grant.claim = Some(claim_of("consent-2", at(7)));
    grant
}

fn with_ledger(grant: &Grant, change: impl FnOnce(&mut Value)) -> Data {
    let mut data = encode(grant);
    let mut ledger = serde_json::from_slice(&data["ledger"]).unwrap();
    change(&mut ledger);
    data.insert("ledger".into(), ledger.to_string().into_bytes());
    data
}

#[test]
fn tokens_stand_under_keys_of_their_own_and_nowhere_else() {
    let data = encode(&whole());
    assert_eq!(data.keys().collect::<Vec<_>>(), ["access_token", "candidate_refresh_token", "ledger", "refresh_token"]);
    assert_eq!((&data["refresh_token"][..], &data["access_token"][..]), (&b"refresh-7"[..], &b"access-7"[..]));
    let ledger = std::str::from_utf8(&data["ledger"]).unwrap();
    for token in ["refresh-7", "access-7", "consent-1", "consent-2"] {
        assert!(!ledger.contains(token), "{ledger}");
    }
}

/// A newer operator's additions to the ledger are kept.
#[test]
fn members_of_the_ledger_that_we_do_not_know_are_preserved() {
    let data = with_ledger(&whole(), |ledger| {
        ledger["novelty"] = json!({"a": [1, null, "x"]});
        ledger["other"] = json!(true);
    });
    let grant = decode(data).unwrap();
    assert_eq!(grant.unknown.len(), 2);
    let again: Value = serde_json::from_slice(&encode(&grant)["ledger"]).unwrap();
    assert_eq!((&again["novelty"], &again["other"]), (&json!({"a": [1, null, "x"]}), &json!(true)));
}

/// What was restarted is a courtesy: an entry that cannot be read, as of a kind that a newer operator knows, costs no grant.
#[test]
fn restarts_that_we_do_not_understand_cost_no_grant() {
    let good = json!({"target": {"kind": "Deployment", "name": "web"}, "rotation": 7, "at": "2026-03-02T12:00:00Z"});
    let newer = json!({"target": {"kind": "Rollout", "name": "web"}, "rotation": 7, "at": "2026-03-02T12:00:00Z"});
    for (restarts, understood) in
        [(json!([newer, good, 1]), 1), (json!("many"), 0), (json!(null), 0), (json!([{"at": 5}]), 0)]
    {
        let grant = decode(with_ledger(&whole(), |ledger| ledger["restarts"] = restarts.clone())).unwrap();
        assert_eq!(grant.restarts.len(), understood, "{restarts}");
    }
}

#[test]
fn a_newer_format_is_left_alone_and_says_what_to_do() {
    for format in [3_u64, 4, u64::MAX] {
        let newer = decode(with_ledger(&whole(), |ledger| ledger["format"] = json!(format)));
        assert_eq!(newer, Err(Unreadable::Newer(format)));
        assert!(newer.unwrap_err().to_string().contains("upgrade the operator"));
    }
    let only_newer = Data::from([("ledger".into(), br#"{"format":3,"everything":"is new"}"#.to_vec())]);
    assert_eq!(decode(only_newer), Err(Unreadable::Newer(3)));
}

#[test]
fn a_damaged_grant_is_left_alone_and_never_a_panic() {
    let key = |key: &str, value: Option<&[u8]>| {
        let mut data = encode(&whole());
        match value {
            Some(value) => data.insert(key.into(), value.to_vec()),
            None => data.remove(key),
        };
        data
    };
    let ledger = |change: fn(&mut Value)| with_ledger(&whole(), change);
    let damaged = [
        ("no ledger", key("ledger", None)),
        ("an empty ledger", key("ledger", Some(b""))),
        ("no JSON", key("ledger", Some(b"{\"format\":2"))),
        ("no text", key("ledger", Some(b"\xff\xfe"))),
        ("no object", key("ledger", Some(b"[1]"))),
        ("null", key("ledger", Some(b"null"))),
        ("a deep ledger", key("ledger", Some("[".repeat(100_000).as_bytes()))),
        ("no format", ledger(|ledger| drop(ledger.as_object_mut().unwrap().remove("format")))),
        ("a format in words", ledger(|ledger| ledger["format"] = json!("1"))),
        ("a negative format", ledger(|ledger| ledger["format"] = json!(-1))),
        ("no connection", ledger(|ledger| drop(ledger.as_object_mut().unwrap().remove("connection")))),
        ("a rotation in words", ledger(|ledger| ledger["rotation"] = json!("seven"))),
        ("a negative rotation", ledger(|ledger| ledger["rotation"] = json!(-7))),
        ("a time that is none", ledger(|ledger| ledger["current"]["issuedAt"] = json!("yesterday"))),
        (
            "an unknown halt",
            ledger(|ledger| ledger["current"]["attempts"]["next"] = json!({"halted": {"reason": "Bored"}})),
        ),
        ("no current record", ledger(|ledger| drop(ledger.as_object_mut().unwrap().remove("current")))),
        ("no candidate record", ledger(|ledger| drop(ledger.as_object_mut().unwrap().remove("candidate")))),
        ("no refresh token", key("refresh_token", None)),
        ("no candidate", key("candidate_refresh_token", None)),
        ("another refresh token", key("refresh_token", Some(b"refresh-6"))),
        ("a newline at its end", key("refresh_token", Some(b"refresh-7\n"))),
        ("another candidate", key("candidate_refresh_token", Some(b"consent-1"))),
        ("a refresh token that is no text", key("refresh_token", Some(b"\xff"))),
        ("an access token that is no text", key("access_token", Some(b"\xff"))),
        ("nothing at all", Data::new()),
    ];
    for (what, data) in damaged {
        let told = decode(data);
        assert!(matches!(told, Err(Unreadable::Damaged(_))), "{what}: {told:?}");
        let words = told.unwrap_err().to_string();
        assert!(!words.contains("refresh-7") && !words.contains("consent-2"), "{words}");
    }
}

#[test]
fn a_grant_without_an_access_token_is_whole() {
    let mut data = encode(&whole());
    data.remove("access_token");
    assert_eq!(decode(data).unwrap().current.unwrap().access, None);
}

/// I5.
#[test]
fn nothing_that_holds_a_token_can_print_it() {
    let scene = Scene::living().at(850).consent("consent-3").with_grant(|grant| *grant = whole());
    let (_, attempt) =
        crate::scenes::claimed(scene.grant(), pleo_operator::domain::ledger::grant::Which::Current, "x", at(0));
    let ending = crate::scenes::ending(crate::scenes::pair("8"), at(0), at(1));
    let content = Content {
        access: Some(Access {
            token: AccessToken::new("access-9"),
            token_type: "Bearer".into(),
            expires_at: at(0),
            refresh_at: None,
        }),
        rotation: 1,
        state: TokenState::Ready,
    };
    let settled = pleo_operator::domain::commit::settlement::settle(scene.grant(), &attempt, &ending);
    let mut adopting = scene.clone();
    adopting.snapshot.local = Default::default();
    let printed = format!(
        "{:?} {:#?} {attempt:?} {ending:?} {content:?} {settled:?} {:?} {:?}",
        scene.snapshot,
        scene.snapshot,
        scene.decide(),
        adopting.decide(),
    );
    for secret in
        ["refresh-7", "refresh-8", "access-7", "access-8", "access-9", "consent-2", "consent-3", "client-secret"]
    {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn what_pods_get_is_the_access_token_and_what_they_need_to_use_it() {
    let scene = Scene::living();
    let data = scene.content().encode();
    assert_eq!(
        data.keys().collect::<Vec<_>>(),
        ["access_token", "expires_at", "refresh_at", "rotation", "state", "token_type"]
    );
    assert_eq!(data["access_token"], b"access-7", "exactly as received, no newline added");
    assert_eq!(data["expires_at"], b"2026-03-02T12:15:00Z");
    assert_eq!(
        (&data["rotation"][..], &data["state"][..], &data["token_type"][..]),
        (&b"7"[..], &b"Ready"[..], &b"Bearer"[..])
    );
}

#[test]
fn without_a_token_the_other_keys_go_with_it() {
    for state in [TokenState::Pending, TokenState::ReauthRequired] {
        let content = Content { access: None, rotation: 3, state };
        assert_eq!(content.encode().keys().collect::<Vec<_>>(), ["rotation", "state"]);
        assert_eq!(
            content.absent_keys().collect::<Vec<_>>(),
            ["access_token", "token_type", "expires_at", "refresh_at"]
        );
    }
}

#[test]
fn the_end_of_a_token_is_told_in_whole_seconds_and_never_too_late() {
    let mut grant = Grant::new(UID, 1);
    let issued_at = at(0) + jiff::SignedDuration::from_millis(999);
    grant.current = Some(current("refresh-1", PRODUCTION, issued_at, secs(900)));
    let scene = Scene::new().holding(grant).published();
    assert_eq!(scene.content().encode()["expires_at"], b"2026-03-02T12:15:00Z");
}

/// Programs hold their calls from then on. A retry moves nothing: it would be one more write.
#[test]
fn pods_learn_when_the_refresh_is_planned_and_nothing_while_it_is_not() {
    let scene = Scene::living();
    let planned = scene.content().access.clone().unwrap().refresh_at;
    let due = scene.waits().until.unwrap();
    assert_eq!(planned.unwrap().as_millisecond(), due.as_millisecond());

    let mut suspended = scene.clone().with_spec(|spec| spec.suspend = true);
    suspended.rest();
    assert_eq!(suspended.content().encode().get("refresh_at"), None);

    let mut failing = scene;
    failing.go_to(due);
    failing.exchange(no_connection());
    assert_eq!(failing.content().access.clone().unwrap().refresh_at, planned);
    assert_eq!(failing.done, ["send"], "no write for it");
}

fn read(data: Data) -> Option<Content> {
    Published::read(data, BTreeMap::new(), BTreeMap::new(), None).content
}

#[test]
fn a_token_secret_that_was_edited_beyond_recognition_says_nothing() {
    let content = Scene::living().content().clone();
    assert_eq!(read(content.encode()), Some(content.clone()));
    for (key, value) in [
        ("expires_at", &b"tomorrow"[..]),
        ("refresh_at", b"soon"),
        ("rotation", b"seven"),
        ("rotation", b"-1"),
        ("rotation", b""),
        ("state", b"Fine"),
        ("state", b""),
        ("access_token", b"\xff"),
    ] {
        let mut data = content.encode();
        data.insert(key.into(), value.to_vec());
        assert_eq!(read(data), None, "{key}");
        let mut data = content.encode();
        data.remove(key);
        assert_eq!(read(data).is_some(), key == "refresh_at", "{key} is missing");
    }
    assert_eq!(read(Data::new()), None);
    let mut more = content.encode();
    more.insert("refresh_token".into(), b"x".to_vec());
    let published = Published::read(more, BTreeMap::new(), BTreeMap::new(), None);
    assert_eq!((published.content, published.unknown_keys), (Some(content), vec!["refresh_token".to_owned()]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_grant_is_read_back_as_it_was_written(grant in arbitrary::grant()) {
        prop_assert_eq!(decode(encode(&grant)), Ok(grant));
    }

    #[test]
    fn tokens_of_any_characters_are_read_back_as_they_were_written(token in "\\PC{1,40}", access in ".{0,40}") {
        let mut grant = Grant::new(UID, 1);
        let mut current = current(&token, PRODUCTION, at(0), secs(900));
        current.access = Some(AccessToken::new(access));
        grant.current = Some(current);
        grant.candidate = Some(candidate(&token, PRODUCTION));
        prop_assert_eq!(decode(encode(&grant)), Ok(grant));
    }

    #[test]
    fn whatever_stands_there_decoding_never_panics(
        ledger in prop::collection::vec(any::<u8>(), 0..200),
        refresh in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let mut data = Data::from([("ledger".to_owned(), ledger)]);
        data.extend(refresh.map(|refresh| ("refresh_token".to_owned(), refresh)));
        prop_assert!(decode(data.clone()).is_err());
        prop_assert_eq!(read(data), None);
    }

    /// Cut short, or one byte changed: read as it was, or left alone.
    #[test]
    fn one_byte_of_damage_is_never_a_panic_and_never_another_token(
        grant in arbitrary::grant(),
        place in any::<prop::sample::Index>(),
        byte: u8,
        cut: bool,
    ) {
        let mut data = encode(&grant);
        let ledger = data.get_mut("ledger").unwrap();
        let place = place.index(ledger.len());
        if cut { ledger.truncate(place) } else { ledger[place] = byte }
        if let Ok(read) = decode(data) {
            let tokens = |grant: Grant| {
                [grant.current.map(|pair| pair.refresh), grant.candidate].map(|held| held.map(|held| held.token))
            };
            prop_assert_eq!(tokens(read), tokens(grant));
        }
    }

    #[test]
    fn every_content_is_read_back_as_it_was_written(
        access in prop::option::of((
            "\\PC{0,40}",
            "[A-Za-z]{1,20}",
            -60_000_000_000_i64..200_000_000_000,
            prop::option::of(-60_000_000_000_000_i64..200_000_000_000_000),
        )),
        rotation: u64,
        state in prop::sample::select(TokenState::ALL),
    ) {
        let access = access.map(|(token, token_type, end, due)| Access {
            token: AccessToken::new(token),
            token_type,
            expires_at: jiff::Timestamp::from_second(end).unwrap(),
            refresh_at: due.map(|due| jiff::Timestamp::from_millisecond(due).unwrap()),
        });
        let content = Content { access, rotation, state };
        prop_assert_eq!(read(content.encode()), Some(content));
    }
}

#[test]
fn a_holder_is_told_by_both_its_names() {
    let holder = Holder { identity: "pod-a".into(), process: "7".into() };
    assert_eq!(holder.to_string(), "pod-a_7");
}

#[test]
fn tokens_are_told_apart_by_what_they_are() {
    use std::collections::HashSet;

    use pleo_operator::domain::token::RefreshToken;
    let (one, other) = (RefreshToken::new("one"), RefreshToken::new("other"));
    assert!(one == RefreshToken::new("one") && one != other);
    assert_eq!(HashSet::from([one.clone(), one.clone(), other.clone()]).len(), 2);
    assert_eq!(one.fingerprint().to_string(), one.fingerprint().as_str());
    assert_eq!(one.fingerprint().as_str().len(), 40);
    assert_eq!(format!("{one:?}"), "[redacted]");
}
