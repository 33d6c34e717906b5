//! Format 1 of the ledger, as format 2: the same facts under other names (`Refused` is `Rejected`), the history by flags instead of a verdict, and a wait
//! beside a halt instead of within it. What is damaged stays damaged.

use serde_json::{Map, Value, json};

/// The ledger in format 2. The tokens beside it are the same.
pub(super) fn upgrade(mut ledger: Value) -> Value {
    let Some(members) = ledger.as_object_mut() else { return ledger };
    let mut by_link = Map::new();
    for (old, new) in [("code", "code"), ("visit", "session")] {
        by_link.extend(members.remove(old).map(|value| (new.to_owned(), value)));
    }
    let made_at = members.remove("invitation").and_then(|mut link| link.get_mut("madeAt").map(Value::take));
    by_link.extend(made_at.map(|made_at| ("linkMadeAt".to_owned(), made_at)));
    by_link.get_mut("session").and_then(|session| session.get_mut("end")).map(reason);
    members.insert("byLink".to_owned(), by_link.into());
    members.get_mut("lastFailure").and_then(|failure| failure.get_mut("reason")).map(reason);
    for (old, new) in [("live", "current"), ("refused", "lastRejection"), ("adopted", "history")] {
        rename(members, old, new);
    }
    for held in ["current", "candidate"].iter().copied() {
        if let Some(held) = members.get_mut(held).and_then(Value::as_object_mut) {
            rename(held, "lifeMs", "lifetimeMs");
            held.get_mut("attempts").and_then(Value::as_object_mut).map(attempts);
        }
    }
    let history = members.get_mut("history").and_then(Value::as_array_mut);
    history.into_iter().flatten().filter_map(Value::as_object_mut).for_each(known_token);
    members.insert("format".to_owned(), json!(2));
    ledger
}

fn rename(members: &mut Map<String, Value>, old: &str, new: &str) {
    let value = members.remove(old);
    members.extend(value.map(|value| (new.to_owned(), value)));
}

fn reason(reason: &mut Value) {
    if *reason == json!("Refused") {
        *reason = json!("Rejected");
    }
}

/// `retry` and `halt` were members of their own, and null where there was none.
fn attempts(attempts: &mut Map<String, Value>) {
    rename(attempts, "inDoubt", "outcomeUnknown");
    let mut take = |member: &str| attempts.remove(member).filter(|value| !value.is_null());
    let next = match (take("retry"), take("halt")) {
        (retry, Some(mut halt)) => {
            if let Some(halt) = halt.as_object_mut() {
                halt.extend(retry.map(|retry| ("retry".to_owned(), retry)));
            }
            json!({ "halted": halt })
        }
        (Some(retry), None) => json!({ "retry": retry }),
        (None, None) => json!("whenDue"),
    };
    attempts.insert("next".to_owned(), next);
}

/// `acceptedAs` was a rotation; 0 for a token that came by rotation, and was rejected.
fn known_token(known: &mut Map<String, Value>) {
    rename(known, "refusedAs", "rejectedFrom");
    // What is no boolean is damage, and null is no verdict.
    let mut flag = |member: &str| known.remove(member).map_or(Some(false), |value| value.as_bool());
    let (Some(rejected), Some(in_doubt)) = (flag("refused"), flag("inDoubt")) else {
        known.insert("verdict".to_owned(), Value::Null);
        return;
    };
    let accepted_as = known.remove("acceptedAs").filter(|value| !value.is_null());
    let verdict = match (accepted_as, rejected, in_doubt) {
        (Some(_), true, _) => json!("rejectedAfterUse"),
        (Some(rotation), false, _) => json!({ "accepted": { "rotation": rotation } }),
        (None, true, true) => json!("rejectedForAll"),
        (None, true, false) => json!("rejected"),
        (None, false, true) => json!("outcomeUnknown"),
        (None, false, false) => json!("pending"),
    };
    known.insert("verdict".to_owned(), verdict);
}
