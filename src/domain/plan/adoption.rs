//! Taking a token from the initial grant: it becomes the candidate, beside the current pair, and is sent first.
//! A working grant is never given up for one that was not accepted (I9).

use jiff::Timestamp;

use crate::domain::{
    ledger::{
        grant::Grant,
        held::{Pair, StoredToken},
        known_token::{KnownToken, Verdict},
    },
    snapshot::{ClientSecretState, GrantSecret, InitialGrant, InitialToken, Sharing, Snapshot, Versioned, repair},
    spec::{InitialGrantRef, TokenUrl},
    token::Fingerprint,
};

/// A grant to write, and the fingerprint that no other connection may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adoption {
    /// The grant with the new candidate.
    pub grant: Grant,
    /// The version of the grant Secret to replace; none: create it.
    pub replaces: Option<String>,
    pub fingerprint: Fingerprint,
}

/// The key of a user's Secret that is to be removed, now that its token is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenRemoval {
    pub fingerprint: Fingerprint,
    /// The Secret.
    pub secret: String,
    pub key: String,
    pub version: String,
    /// The copy that `kubectl apply` keeps holds the token too, and goes with it.
    pub copied: bool,
}

/// The token in the initial grant, where it is news: the grant does not know it, and does not live by a newer authorization.
pub fn news<'a>(
    initial: &'a InitialGrant,
    grant: &GrantSecret,
    server: &TokenUrl,
    client: &ClientSecretState,
) -> Option<&'a InitialToken> {
    let InitialGrant::Present(token) = initial else { return None };
    let client_id = client.id();
    let is_news = match grant {
        GrantSecret::Absent => true,
        GrantSecret::Ours(Versioned { value: grant, .. }) => {
            let is_known = grant.knows(&token.fingerprint, server, client_id.as_ref());
            !is_known && !grant.has_newer_pair_than(&token.fingerprint, server)
        }
        GrantSecret::Stale(known) => !known.value.knows(&token.fingerprint, server, client_id.as_ref()),
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => false,
    };
    is_news.then_some(token)
}

/// The adoption that is due, if one is.
pub fn due(snapshot: &Snapshot) -> Option<Adoption> {
    let server = snapshot.spec.token_url()?;
    let news = news(&snapshot.initial, &snapshot.grant, server, &snapshot.client);
    let token = news.filter(|token| token.sharing == Sharing::Alone)?;
    let (mut grant, replaces) = base(snapshot)?;
    let fingerprint = token.fingerprint.clone();
    grant.drop_candidate(None);
    grant.note_authorization(&fingerprint, server);
    grant.candidate = Some(StoredToken::new(token.token.clone(), server.clone(), None));
    Some(Adoption { grant, replaces, fingerprint })
}

/// The grant to go on from, and the version of its Secret to replace (none: create it). None where there is a Secret that is
/// not ours to write.
pub fn base(snapshot: &Snapshot) -> Option<(Grant, Option<String>)> {
    let uid = &snapshot.spec.uid;
    match &snapshot.grant {
        GrantSecret::Absent => Some((Grant::new(uid, rotation_so_far(snapshot)), None)),
        GrantSecret::Ours(known) => Some((known.value.clone(), Some(known.version.clone()))),
        GrantSecret::Stale(known) => {
            // Nothing of it is used but the memory of what must not be adopted again, its working token included, and what
            // became of its candidate.
            let mut old = known.value.clone();
            old.drop_candidate(None);
            let current = old.current.take().map(|Pair { refresh, .. }| KnownToken {
                verdict: Verdict::Accepted { rotation: old.rotation },
                ..KnownToken::new(refresh.fingerprint, refresh.server)
            });
            let history = old.history.into_iter().chain(current).collect();
            Some((Grant { history, ..Grant::new(uid, rotation_so_far(snapshot)) }, Some(known.version.clone())))
        }
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => None,
    }
}

/// The rotation that pods and users saw last, so that it never goes back for them when a new grant begins.
fn rotation_so_far(snapshot: &Snapshot) -> u64 {
    snapshot.reported.and_by(&snapshot.token, &snapshot.grant, &snapshot.spec.uid).rotation
}

/// The key to remove, if it is time.
pub fn token_removal(snapshot: &Snapshot, now: Timestamp) -> Option<TokenRemoval> {
    removable(snapshot).filter(|token_removal| removed_again_at(snapshot, token_removal, now).is_none())
}

/// When a key is to be removed that another program put back.
pub fn next(snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    removed_again_at(snapshot, &removable(snapshot)?, now)
}

fn removed_again_at(snapshot: &Snapshot, token_removal: &TokenRemoval, now: Timestamp) -> Option<Timestamp> {
    snapshot.repairs.removal.as_ref()?.again_at(&token_removal.fingerprint, repair::PATIENT, now)
}

/// A token that was removed and is back: who puts it there, and how that ends.
pub fn returned(snapshot: &Snapshot) -> Option<(&Fingerprint, String)> {
    let reference = snapshot.spec.initial_grant.as_ref().filter(|reference| !reference.keep)?;
    let InitialGrant::Present(token) = &snapshot.initial else { return None };
    let removed = snapshot.repairs.removal.as_ref().filter(|removed| removed.what == token.fingerprint)?;
    let message = format!(
        "the refresh token that was adopted and removed is in the Secret {} again, key {}: another program puts it back; set spec.initialGrant.keep to true, or remove it where that program takes it from. It is used up and not sent again",
        reference.secret, reference.key
    );
    Some((&removed.what, message))
}

/// The key whose token was just accepted, where it may be removed: not for ever after, so that a GitOps tool that puts it back
/// later is not fought.
fn removable(snapshot: &Snapshot) -> Option<TokenRemoval> {
    let removable = |reference: &&InitialGrantRef| !reference.keep && !snapshot.deferred.token_removal;
    let reference = snapshot.spec.initial_grant.as_ref().filter(removable)?;
    let InitialGrant::Present(token) = &snapshot.initial else { return None };
    let grant = &snapshot.grant.ours()?.value;
    let accepted = Verdict::Accepted { rotation: grant.rotation };
    let just_accepted = |old: &KnownToken| old.fingerprint == token.fingerprint && old.verdict == accepted;
    grant.history.iter().any(just_accepted).then(|| TokenRemoval {
        fingerprint: token.fingerprint.clone(),
        secret: reference.secret.clone(),
        key: reference.key.clone(),
        version: token.version.clone(),
        copied: token.copied,
    })
}
