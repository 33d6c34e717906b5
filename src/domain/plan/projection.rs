//! What pods get: the token Secret as it should be. It is derived from the grant: it can always be made again, it never has
//! the refresh token, and after a terminal failure it has no token at all (I4).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::schedule::refresh_due;
use crate::{
    api::{TokenState, names},
    domain::{
        ledger::grant::Grant,
        snapshot::{
            GrantSecret, Snapshot,
            published::{Access, Content, Published},
            repair,
        },
        spec::ResolvedSpec,
        time::between,
        token::Fingerprint,
    },
};

/// What the token Secret should say, or nothing where it must be left alone.
pub fn desired(snapshot: &Snapshot, now: Timestamp) -> Option<Content> {
    let own = snapshot.token.published().filter(|published| published.owner.as_deref() == Some(&snapshot.spec.uid));
    // Without a grant of ours, the token in the pods' hands is as good as before, until it ends.
    let kept = own.and_then(|published| {
        let content = published.content.clone()?;
        // A number that another program wrote would make the next grant look like an old backup.
        let rotation = if published.is_edited { snapshot.reported.rotation } else { content.rotation };
        Some(Content { rotation, ..content })
    });
    let rotation = kept.as_ref().map_or(0, |content| content.rotation);
    let usable = kept.filter(|content| content.access.is_some()).map(|content| content.at(now));
    match &snapshot.grant {
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => None,
        GrantSecret::Ours(grant) => Some(of_grant(&grant.value, &snapshot.spec).at(now)),
        GrantSecret::Stale(_) => {
            Some(usable.unwrap_or_else(|| Content::without_token(TokenState::ReauthRequired, rotation)))
        }
        GrantSecret::Absent => Some(usable.unwrap_or_else(|| Content::without_token(TokenState::Pending, rotation))),
    }
}

/// What pods are to be notified of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// What the token Secret says, in one word.
    pub mark: String,
    /// It is so recent that the kubelet may not have synced it yet.
    pub is_fresh: bool,
}

/// The longest that a kubelet takes to sync a Secret.
const KUBELET_DELAY: Duration = Duration::from_secs(120);

/// What pods are to be notified of; nothing before there was a token.
pub fn news(snapshot: &Snapshot, now: Timestamp) -> Option<News> {
    let is_ours = contested(snapshot, now).is_none();
    let content = snapshot.token.published()?.content.as_ref().filter(|_| is_ours)?;
    let grant = snapshot.grant.ours().map(|grant| &grant.value);
    let since = match content.state {
        TokenState::Pending => return None,
        TokenState::Ready => grant.and_then(|grant| grant.current.as_ref()).map(|current| current.issue.issued_at),
        TokenState::Expired => content.access.as_ref().map(|access| access.expires_at),
        TokenState::ReauthRequired => grant.and_then(|grant| grant.last_rejection.as_ref()).map(|refused| refused.at),
    };
    let is_fresh = since.is_some_and(|since| between(since, now) < KUBELET_DELAY);
    Some(News { mark: content.mark(), is_fresh })
}

fn of_grant(grant: &Grant, spec: &ResolvedSpec) -> Content {
    let current = grant.current.as_ref();
    let access = current.and_then(|current| {
        let due = refresh_due(&current.issue, spec.refresh_before, &spec.uid, grant.rotation);
        Some(Access {
            token: current.access.clone()?,
            token_type: current.issue.token_type.clone(),
            expires_at: whole_seconds(current.issue.expires_at()),
            refresh_at: Some(whole_milliseconds(due)).filter(|_| !spec.suspend),
        })
    });
    let state = if current.is_none() && grant.last_rejection.is_some() {
        TokenState::ReauthRequired
    } else {
        TokenState::Pending
    };
    Content { access, rotation: grant.rotation, state }
}

/// Rounded down, so that no program trusts a token beyond its expiry.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Whether the Secret is as it should be. Labels that others added are theirs.
pub fn is_intact(published: &Published, desired: &Content, spec: &ResolvedSpec) -> bool {
    let holds = |have: &BTreeMap<String, String>, want: BTreeMap<String, String>| {
        want.iter().all(|(key, value)| have.get(key) == Some(value))
    };
    published.content.as_ref() == Some(desired)
        && published.unknown_keys.is_empty()
        && published.owner.as_deref() == Some(&spec.uid)
        && holds(&published.labels, labels(spec))
        && holds(&published.annotations, spec.secret_annotations.clone())
}

/// Names what a token Secret is to hold: to write the same once more is a repair.
pub fn written(desired: &Content, spec: &ResolvedSpec) -> Fingerprint {
    let Content { access, rotation, state } = desired;
    let (token, kind, end) = match access {
        Some(Access { token, token_type, expires_at, refresh_at }) => {
            (token.fingerprint().to_string(), token_type.as_str(), format!("{expires_at} {refresh_at:?}"))
        }
        None => Default::default(),
    };
    let (rotation, state) = (rotation.to_string(), state.as_str());
    let metadata = labels(spec).into_iter().chain(spec.secret_annotations.clone());
    let metadata: Vec<String> = metadata.flat_map(|(key, value)| [key, value]).collect();
    let parts = ["written", &spec.secret_name, &spec.uid, &token, kind, &end, &rotation, state];
    Fingerprint::of(&parts.into_iter().chain(metadata.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// When what pods get may be repaired, where another program changes it all the time; none: now.
pub fn repaired_again_at(snapshot: &Snapshot, desired: &Content, now: Timestamp) -> Option<Timestamp> {
    let longest = if snapshot.token.published().is_some() { repair::PATIENT } else { repair::URGENT };
    snapshot.repairs.publication.as_ref()?.again_at(&written(desired, &snapshot.spec), longest, now)
}

/// Until when pods get something else than they should, because another program keeps changing it.
pub fn contested(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    let desired = desired(snapshot, now)?;
    let published = snapshot.token.published().and_then(|published| published.content.as_ref());
    let is_right =
        published.is_some_and(|content| content.access == desired.access && content.rotation == desired.rotation);
    repaired_again_at(snapshot, &desired, now).filter(|_| !is_right)
}

/// The labels of the token Secret: the operator's own win over the template's.
pub fn labels(spec: &ResolvedSpec) -> BTreeMap<String, String> {
    let mut labels = spec.secret_labels.clone();
    labels.extend(own_labels(&spec.name));
    labels
}

/// The labels by which a Secret of ours is known.
pub fn own_labels(connection: &str) -> BTreeMap<String, String> {
    [(names::MANAGED_BY_LABEL, names::OPERATOR), (names::CONNECTION_LABEL, connection)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
