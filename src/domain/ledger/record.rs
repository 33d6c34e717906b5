//! How a grant is stored in its Secret: the tokens under keys of their own, everything else as JSON under `ledger`.
//! A ledger of a newer format, or one that contradicts the tokens beside it, is never guessed at.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{
    adopted::Adopted,
    authorization::{AuthorizationLink, AuthorizationLinkRecord, Code, CodeRecord, Visit},
    grant::{Candidate, CandidateRecord, Claim, FailureRecord, Grant, Live, LiveRecord, Refused, Restarted},
};
use crate::domain::token::{AccessToken, AuthorizationCode, CodeVerifier, LinkKey, RefreshToken};

/// The data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

const FORMAT: u32 = 1;
/// The key of the ledger, the only one that holds no secret.
pub const LEDGER: &str = "ledger";
const REFRESH: &str = "refresh_token";
const ACCESS: &str = "access_token";
const CANDIDATE: &str = "candidate_refresh_token";
const CODE: &str = "authorization_code";
const VERIFIER: &str = "code_verifier";
const LINK_KEY: &str = "link_key";
/// All keys that a grant Secret may have from us. Others are someone else's, and are kept.
pub const KEYS: [&str; 7] = [LEDGER, REFRESH, ACCESS, CANDIDATE, CODE, VERIFIER, LINK_KEY];

/// Why a grant Secret is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unreadable {
    /// Written by a newer operator.
    #[error("it has format {0}, and this operator knows {FORMAT} at most: upgrade the operator")]
    Newer(u64),
    /// Edited by hand, or cut short.
    #[error("{0}")]
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    format: u32,
    connection: String,
    rotation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live: Option<LiveRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidate: Option<CandidateRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<CodeRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    #[serde(default)]
    adopted: Vec<Adopted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handled_request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_sent_at: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invitation: Option<AuthorizationLinkRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    visit: Option<Visit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known")]
    restarts: Vec<Restarted>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// The entries that this operator understands: what was restarted is a courtesy, and must never cost the grant.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Restarted>, D::Error> {
    let entries = Value::deserialize(deserializer)?;
    let entries = entries.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(entries.iter().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect())
}

/// Nor must what a page shows.
fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Visit>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// A grant as the data of its Secret.
pub fn encode(grant: &Grant) -> Data {
    // Taken apart by name, so that a part that is forgotten here does not compile.
    let Grant {
        connection,
        rotation,
        live,
        candidate,
        code,
        claim,
        refused,
        adopted,
        last_failure,
        handled_request,
        last_sent_at,
        invitation,
        visit,
        restarts,
        unknown,
    } = grant.clone();
    let mut data = Data::new();
    let mut put = |key: &str, token: &str| data.insert(key.to_owned(), token.as_bytes().to_vec());
    if let Some(live) = &live {
        put(REFRESH, live.refresh.expose());
        if let Some(access) = &live.access {
            put(ACCESS, access.expose());
        }
    }
    if let Some(candidate) = &candidate {
        put(CANDIDATE, candidate.token.expose());
    }
    if let Some(code) = &code {
        put(CODE, code.code.expose());
        put(VERIFIER, code.verifier.expose());
    }
    if let Some(invitation) = &invitation {
        put(LINK_KEY, invitation.key.expose());
    }
    let stored = Stored {
        format: FORMAT,
        connection,
        rotation,
        live: live.map(|live| live.record),
        candidate: candidate.map(|candidate| candidate.record),
        code: code.map(|code| code.record),
        claim,
        refused,
        adopted,
        last_failure,
        handled_request,
        last_sent_at,
        invitation: invitation.map(|invitation| invitation.record),
        visit,
        restarts,
        unknown,
    };
    // Structs of strings, numbers and lists always have a JSON form; an empty ledger would be read as damaged.
    data.insert(LEDGER.to_owned(), serde_json::to_vec(&stored).unwrap_or_default());
    data
}

/// A grant from the data of its Secret.
///
/// # Errors
/// Says why it must be left alone.
pub fn decode(mut data: Data) -> Result<Grant, Unreadable> {
    let ledger = data.remove(LEDGER).ok_or(Unreadable::Damaged("its key `ledger` is missing"))?;
    let value: Value =
        serde_json::from_slice(&ledger).map_err(|_| Unreadable::Damaged("its key `ledger` is no JSON"))?;
    match value.get("format").and_then(Value::as_u64) {
        Some(1) => {}
        Some(newer @ 2..) => return Err(Unreadable::Newer(newer)),
        Some(0) | None => return Err(Unreadable::Damaged("its ledger names no format")),
    }
    let stored: Stored = serde_json::from_value(value)
        .map_err(|_| Unreadable::Damaged("its ledger lacks a part or has one of a wrong type"))?;
    let mut token = |key: &str| {
        let text = data.remove(key).map(String::from_utf8).transpose();
        text.map_err(|_| Unreadable::Damaged("a token in it is no text"))
    };
    let (refresh, access, candidate) = (token(REFRESH)?, token(ACCESS)?, token(CANDIDATE)?);
    let live = match (stored.live, refresh.map(RefreshToken::new)) {
        (Some(record), Some(refresh)) if refresh.fingerprint() == record.fingerprint => {
            Some(Live { refresh, access: access.map(AccessToken::new), record })
        }
        (None, None) => None,
        _ => return Err(Unreadable::Damaged("its refresh_token is not the one that its ledger speaks of")),
    };
    let candidate = match (stored.candidate, candidate.map(RefreshToken::new)) {
        (Some(record), Some(token)) if token.fingerprint() == record.fingerprint => Some(Candidate { token, record }),
        (None, None) => None,
        _ => return Err(Unreadable::Damaged("its candidate_refresh_token is not the one that its ledger speaks of")),
    };
    // What a user can bring again is worth nothing if it is damaged, and costs nothing.
    let code = read_code(stored.code, token(CODE)?, token(VERIFIER)?);
    let key = token(LINK_KEY)?.map(LinkKey::new);
    let invitation = stored.invitation.zip(key).map(|(record, key)| AuthorizationLink { key, record });
    Ok(Grant {
        connection: stored.connection,
        rotation: stored.rotation,
        live,
        candidate,
        code,
        claim: stored.claim,
        refused: stored.refused,
        adopted: stored.adopted,
        last_failure: stored.last_failure,
        handled_request: stored.handled_request,
        last_sent_at: stored.last_sent_at,
        invitation,
        visit: stored.visit,
        restarts: stored.restarts,
        unknown: stored.unknown,
    })
}

fn read_code(record: Option<CodeRecord>, code: Option<String>, verifier: Option<String>) -> Option<Code> {
    let (record, code, verifier) = (record?, AuthorizationCode::new(code?), CodeVerifier::new(verifier?));
    (code.fingerprint() == record.fingerprint).then_some(Code { code, verifier, record })
}
