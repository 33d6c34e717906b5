//! How a grant is stored in its Secret: the tokens under keys of their own, everything else as JSON under `ledger`.
//! A ledger of a newer format, or one that contradicts the tokens beside it, is never guessed at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    authentication::KnownMethod,
    authorization::{AuthorizationLink, Code, CodeRecord, LinkAuthorization, Session},
    format_1,
    grant::{Claim, FailureRecord, Grant, Rejection, Restarted},
    held::{Attempts, Issue, Pair, StoredToken},
    introspection::KnownIntrospection,
    known_token::KnownToken,
    rejection_report::RejectionReport,
};
use crate::domain::{
    spec::TokenUrl,
    token::{AccessToken, AuthorizationCode, CodeVerifier, Fingerprint, LinkKey, RefreshToken},
};

/// The data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

const FORMAT: u64 = 2;
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

/// Everything but the secrets. `unknown` has the members that a newer operator added: they are kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    format: u64,
    connection: String,
    rotation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<PairRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidate: Option<TokenRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_rejection: Option<Rejection>,
    #[serde(default)]
    history: Vec<KnownToken>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    last_failure: Option<FailureRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handled_request: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_sent_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    authentication: Option<KnownMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    introspection: Option<KnownIntrospection>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    rejection_report: Option<RejectionReport>,
    #[serde(default, skip_serializing_if = "ByLinkRecord::is_empty")]
    by_link: ByLinkRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "known")]
    restarts: Vec<Restarted>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenRecord {
    fingerprint: Fingerprint,
    server: TokenUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<Fingerprint>,
    attempts: Attempts,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairRecord {
    #[serde(flatten)]
    refresh: TokenRecord,
    #[serde(flatten)]
    issue: Issue,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByLinkRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link_made_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<CodeRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "understood")]
    session: Option<Session>,
}

impl ByLinkRecord {
    fn is_empty(&self) -> bool {
        self.link_made_at.is_none() && self.code.is_none() && self.session.is_none()
    }
}

/// The entries that this operator understands: what was restarted is best effort, and must never cost the grant.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Restarted>, D::Error> {
    let entries = Value::deserialize(deserializer)?;
    let entries = entries.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(entries.iter().filter_map(|entry| serde_json::from_value(entry.clone()).ok()).collect())
}

/// Nor must what a page or the status shows.
fn understood<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// A grant as the data of its Secret.
pub fn encode(grant: &Grant) -> Data {
    let mut data = Data::new();
    let mut put = |key: &str, token: &str| data.insert(key.to_owned(), token.as_bytes().to_vec());
    // Taken apart by name, so that a part that is forgotten here does not compile.
    let Grant {
        connection,
        rotation,
        current,
        candidate,
        claim,
        last_rejection,
        history,
        last_failure,
        handled_request,
        last_sent_at,
        authentication,
        introspection,
        rejection_report,
        by_link: LinkAuthorization { link, code, session },
        restarts,
        unknown,
    } = grant.clone();
    let current = current.map(|Pair { refresh, access, issue }| {
        access.iter().for_each(|access| drop(put(ACCESS, access.expose())));
        PairRecord { refresh: record(refresh, |token| drop(put(REFRESH, token.expose()))), issue }
    });
    let candidate = candidate.map(|held| record(held, |token| drop(put(CANDIDATE, token.expose()))));
    let code = code.map(|Code { code, verifier, record }| {
        put(CODE, code.expose());
        put(VERIFIER, verifier.expose());
        record
    });
    let link_made_at = link.map(|AuthorizationLink { key, made_at }| {
        put(LINK_KEY, key.expose());
        made_at
    });
    let stored = Stored {
        format: FORMAT,
        connection,
        rotation,
        current,
        candidate,
        claim,
        last_rejection,
        history,
        last_failure,
        handled_request,
        last_sent_at,
        authentication,
        introspection,
        rejection_report,
        by_link: ByLinkRecord { link_made_at, code, session },
        restarts,
        unknown,
    };
    // Structs of strings, numbers and lists always have a JSON form; an empty ledger would be read as damaged.
    data.insert(LEDGER.to_owned(), serde_json::to_vec(&stored).unwrap_or_default());
    data
}

fn record(held: StoredToken, put: impl FnOnce(&RefreshToken)) -> TokenRecord {
    let StoredToken { token, fingerprint, server, client_id, attempts } = held;
    put(&token);
    TokenRecord { fingerprint, server, client_id, attempts }
}

/// A grant from the data of its Secret.
///
/// # Errors
/// Says why it must be left alone.
pub fn decode(mut data: Data) -> Result<Grant, Unreadable> {
    let stored = ledger(&mut data)?;
    let mut text = |key: &str| {
        let text = data.remove(key).map(String::from_utf8).transpose();
        text.map_err(|_| Unreadable::Damaged("a token in it is no text"))
    };
    let (access, refresh, candidate) = (text(ACCESS)?, text(REFRESH)?, text(CANDIDATE)?);
    let current = match stored.current {
        Some(PairRecord { refresh: record, issue }) => held(Some(record), refresh)
            .map(|held| held.map(|refresh| Pair { refresh, access: access.map(AccessToken::new), issue })),
        None => held(None, refresh).map(|_| None),
    };
    let current =
        current.map_err(|Mismatch| Unreadable::Damaged("its refresh_token is not the one that its ledger names"))?;
    let candidate = held(stored.candidate, candidate)
        .map_err(|Mismatch| Unreadable::Damaged("its candidate_refresh_token is not the one that its ledger names"))?;
    // What a user can bring again is worth nothing if it is damaged, and costs nothing.
    let code = read_code(stored.by_link.code, text(CODE)?, text(VERIFIER)?);
    let key = text(LINK_KEY)?.map(LinkKey::new);
    let link = stored.by_link.link_made_at.zip(key).map(|(made_at, key)| AuthorizationLink { key, made_at });
    Ok(Grant {
        connection: stored.connection,
        rotation: stored.rotation,
        current,
        candidate,
        claim: stored.claim,
        last_rejection: stored.last_rejection,
        history: stored.history,
        last_failure: stored.last_failure,
        handled_request: stored.handled_request,
        last_sent_at: stored.last_sent_at,
        authentication: stored.authentication,
        introspection: stored.introspection,
        rejection_report: stored.rejection_report,
        by_link: LinkAuthorization { link, code, session: stored.by_link.session },
        restarts: stored.restarts,
        unknown: stored.unknown,
    })
}

fn ledger(data: &mut Data) -> Result<Stored, Unreadable> {
    let ledger = data.remove(LEDGER).ok_or(Unreadable::Damaged("its key `ledger` is missing"))?;
    let value: Value =
        serde_json::from_slice(&ledger).map_err(|_| Unreadable::Damaged("its key `ledger` is no JSON"))?;
    let value = match value.get("format").and_then(Value::as_u64) {
        Some(1) => format_1::upgrade(value),
        Some(FORMAT) => value,
        Some(0) | None => return Err(Unreadable::Damaged("its ledger names no format")),
        Some(newer) => return Err(Unreadable::Newer(newer)),
    };
    serde_json::from_value(value).map_err(|_| Unreadable::Damaged("its ledger lacks a part or has one of a wrong type"))
}

/// A token and its record do not belong to each other.
struct Mismatch;

fn held(record: Option<TokenRecord>, token: Option<String>) -> Result<Option<StoredToken>, Mismatch> {
    match (record, token.map(RefreshToken::new)) {
        (Some(record), Some(token)) if token.fingerprint() == record.fingerprint => {
            let TokenRecord { fingerprint, server, client_id, attempts } = record;
            Ok(Some(StoredToken { token, fingerprint, server, client_id, attempts }))
        }
        (None, None) => Ok(None),
        (Some(_) | None, Some(_)) | (Some(_), None) => Err(Mismatch),
    }
}

fn read_code(record: Option<CodeRecord>, code: Option<String>, verifier: Option<String>) -> Option<Code> {
    let (record, code, verifier) = (record?, AuthorizationCode::new(code?), CodeVerifier::new(verifier?));
    (code.fingerprint() == record.fingerprint).then_some(Code { code, verifier, record })
}
