//! Ledgers in format 1, as the operator wrote them before format 2: an upgrade costs no token, no authorization and no write. The
//! fixtures are random grants, each with what the operator that wrote it answered.

use pleo_operator::domain::{
    ledger::{
        grant::Which,
        held::StoredToken,
        record::{Data, Unreadable, decode, encode},
    },
    plan::next_refresh::{NextRefresh, next_refresh},
};
use serde_json::Value;

use crate::{
    random::arbitrary::{CLIENTS, TOKENS},
    scenes::{PACE, PRODUCTION, STAGING, Scene, client, fingerprint, our_id, token_url},
};

fn fixtures() -> impl Iterator<Item = (Data, Value)> {
    include_str!("fixtures/format-1.jsonl").lines().map(|line| {
        let fixture: Value = serde_json::from_str(line).unwrap();
        let members = fixture["data"].as_object().unwrap().iter();
        let data = members.map(|(key, value)| (key.clone(), value.as_str().unwrap().as_bytes().to_vec()));
        (data.collect(), fixture["answers"].clone())
    })
}

#[test]
fn every_token_of_a_ledger_in_format_1_is_read_and_written_in_format_2() {
    for (before, _) in fixtures() {
        let grant = decode(before.clone()).unwrap();
        let after = encode(&grant);
        assert_eq!(decode(after.clone()).as_ref(), Ok(&grant));
        let secrets =
            |data: &Data| data.iter().filter(|(key, _)| *key != "ledger").map(|(_, v)| v.clone()).collect::<Vec<_>>();
        assert_eq!(secrets(&after), secrets(&before));
        let ledger = |data: &Data| serde_json::from_slice::<Value>(&data["ledger"]).unwrap();
        let (old, new) = (ledger(&before), ledger(&after));
        for member in ["connection", "rotation", "claim", "handledRequest", "lastSentAt", "restarts", "novelty"] {
            assert_eq!(new.get(member), old.get(member), "{member}");
        }
        let reason = |ledger: &Value| {
            ledger["lastFailure"]["reason"].as_str().map(|reason| reason.replace("Refused", "Rejected"))
        };
        assert_eq!(reason(&new), reason(&old));
    }
}

/// I1, I3, I8, I9.
#[test]
fn a_ledger_in_format_1_is_believed_as_before() {
    for (number, (data, before)) in fixtures().enumerate() {
        let grant = decode(data).unwrap();
        let bit = |yes: bool| if yes { '1' } else { '0' };
        let [mut knows, mut rejected, mut has_newer_pair_than, mut has_seen] = [const { String::new() }; 4];
        for token in TOKENS.iter().copied().map(fingerprint) {
            has_seen.push(bit(grant.has_seen(&token)));
            for url in [PRODUCTION, STAGING].map(token_url) {
                has_newer_pair_than.push(bit(grant.has_newer_pair_than(&token, &url)));
                for id in CLIENTS.map(|id| client(id).id_fingerprint()) {
                    knows.push(bit(grant.knows(&token, &url, Some(&id))));
                    rejected.push(bit(grant.was_rejected_from(&token, &url, &id)));
                }
                knows.push(bit(grant.knows(&token, &url, None)));
            }
        }
        assert_eq!(knows, before["knows"], "fixture {number}: {grant:#?}");
        assert_eq!(has_newer_pair_than, before["outdoes"], "fixture {number}");
        assert_eq!(has_seen, before["remembers"], "fixture {number}");
        assert_eq!(grant.lost_its_pair(), before["lostItsPair"], "fixture {number}");
        // More is held to be rejected than before, and nothing less.
        let rejected_before = before["rejectedFrom"].as_str().unwrap();
        assert!(rejected.chars().zip(rejected_before.chars()).all(|(now, before)| now >= before), "fixture {number}");
    }
}

#[test]
fn a_grant_in_format_1_is_refreshed_when_it_would_have_been() {
    for (number, (data, before)) in fixtures().enumerate() {
        let grant = decode(data).unwrap();
        let rejected = |held: &&StoredToken| grant.was_rejected_from(&held.fingerprint, &held.server, &our_id());
        if grant.candidate.as_ref().filter(rejected).is_some() {
            // No operator left such a thing, and it would not be sent now.
            continue;
        }
        let scene = Scene::new().holding(grant).published().at(300);
        let next = match next_refresh(&scene.snapshot, scene.now, PACE) {
            NextRefresh::Now(rotation) => {
                let which = match rotation.which {
                    Which::Candidate => "candidate",
                    Which::Current => "current",
                    Which::Code => "code",
                };
                format!("now, the {which}, resumes: {}", rotation.resumes)
            }
            NextRefresh::At(time, reason) => format!("at {time}: {reason:?}"),
            NextRefresh::Held | NextRefresh::Never => "never".into(),
        };
        assert_eq!(next, before["next"], "fixture {number}");
    }
}

/// I3, I8: what a hand left there that is no flag is not taken for a token that nobody has seen.
#[test]
fn a_flag_of_format_1_that_is_none_is_damage() {
    let (data, _) =
        fixtures().find(|(data, _)| String::from_utf8_lossy(&data["ledger"]).contains(r#""refused":true"#)).unwrap();
    for damage in ["1", "\"true\"", "null"] {
        let mut damaged = data.clone();
        let ledger = String::from_utf8(damaged["ledger"].clone()).unwrap();
        let ledger = ledger.replace(r#""refused":true"#, &format!(r#""refused":{damage}"#));
        damaged.insert("ledger".into(), ledger.into_bytes());
        assert!(matches!(decode(damaged), Err(Unreadable::Damaged(_))), "{damage}");
    }
}
