//! Taking a token from the initial grant: it becomes the candidate, beside the live pair, and is proved first.
//! A living grant is never given up for one that has not been proved (I9).

use super::{
    consents::Adopted,
    grant::{Attempts, Candidate, CandidateRecord, Grant},
    observed::{GrantSecret, InitialGrant, InitialToken, Observed, Sharing, Versioned},
    token::Fingerprint,
    wish::{InitialGrantRef, TokenUrl},
};

/// A grant to write, and the fingerprint that no other connection may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Adoption {
    /// The grant with the new candidate.
    pub grant: Grant,
    /// The version of the grant Secret to replace; none: create it.
    pub replaces: Option<String>,
    /// The token that was adopted.
    pub fingerprint: Fingerprint,
}

/// The key of a user's Secret that is to be removed, now that its token is spent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tidying {
    /// The Secret.
    pub secret: String,
    /// The key in it.
    pub key: String,
    /// The version that was read.
    pub version: String,
    /// The copy that `kubectl apply` keeps holds the token too, and goes with it.
    pub copied: bool,
}

/// The token in the initial grant, where it is news: the grant does not know it, and lives by no newer consent.
pub fn news<'a>(initial: &'a InitialGrant, grant: &GrantSecret, server: &TokenUrl) -> Option<&'a InitialToken> {
    let InitialGrant::Present(token) = initial else { return None };
    let is_news = match grant {
        GrantSecret::Absent => true,
        GrantSecret::Ours(Versioned { value: grant, .. }) => {
            !grant.knows(&token.fingerprint, server) && !grant.outdoes(&token.fingerprint, server)
        }
        GrantSecret::Predecessor(known) => !known.value.knows(&token.fingerprint, server),
        GrantSecret::Foreign | GrantSecret::Unreadable(_) => false,
    };
    is_news.then_some(token)
}

/// The adoption that is due, if one is.
pub fn due(observed: &Observed) -> Option<Adoption> {
    let server = observed.wish.token_url()?;
    let token = news(&observed.initial, &observed.grant, server).filter(|token| token.sharing == Sharing::Alone)?;
    let (mut grant, replaces) = base(observed)?;
    let fingerprint = token.fingerprint.clone();
    grant.drop_candidate(false);
    grant.note_consent(&fingerprint, server);
    grant.candidate = Some(Candidate {
        token: token.token.clone(),
        record: CandidateRecord {
            fingerprint: fingerprint.clone(),
            server: server.clone(),
            attempts: Attempts::default(),
        },
    });
    Some(Adoption { grant, replaces, fingerprint })
}

/// The grant to go on from, and the version of its Secret to replace (none: create it). None where there is a Secret that is
/// not ours to write.
pub fn base(observed: &Observed) -> Option<(Grant, Option<String>)> {
    let uid = &observed.wish.uid;
    match &observed.grant {
        GrantSecret::Absent => Some((Grant::new(uid, rotation_so_far(observed)), None)),
        GrantSecret::Ours(known) => Some((known.value.clone(), Some(known.version.clone()))),
        GrantSecret::Predecessor(known) => {
            // Nothing of it is used but the memory of what must not be adopted again, its living token included.
            let old = &known.value;
            let live = old.live.as_ref().map(|live| Adopted {
                fingerprint: live.record.fingerprint.clone(),
                server: live.record.server.clone(),
                accepted_as: Some(old.rotation),
                refused: false,
                in_doubt: false,
            });
            let adopted = old.adopted.iter().cloned().chain(live).collect();
            Some((Grant { adopted, ..Grant::new(uid, rotation_so_far(observed)) }, Some(known.version.clone())))
        }
        GrantSecret::Foreign | GrantSecret::Unreadable(_) => None,
    }
}

/// What pods and users were told last, so that the number never goes back for them when a grant begins anew.
fn rotation_so_far(observed: &Observed) -> u64 {
    observed.told.and_by(&observed.token, &observed.grant, &observed.wish.uid).rotation
}

/// The key to remove, if it is time: right after its token was accepted, and not for ever after, so that a GitOps tool
/// that puts it back is not fought.
pub fn tidying(observed: &Observed) -> Option<Tidying> {
    let removable = |reference: &&InitialGrantRef| !reference.keep && !observed.put_off.tidying;
    let reference = observed.wish.initial_grant.as_ref().filter(removable)?;
    let InitialGrant::Present(token) = &observed.initial else { return None };
    let grant = &observed.grant.ours()?.value;
    let just_accepted =
        |old: &Adopted| old.fingerprint == token.fingerprint && old.accepted_as == Some(grant.rotation) && !old.refused;
    grant.adopted.iter().any(just_accepted).then(|| Tidying {
        secret: reference.secret.clone(),
        key: reference.key.clone(),
        version: token.version.clone(),
        copied: token.copied,
    })
}
