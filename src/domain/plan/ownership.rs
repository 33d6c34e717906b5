//! Who may present a token, and where: it belongs to the server that issued it (I8) and to the client that it was issued to. A
//! server responds with `invalid_grant` to another client's token as well (RFC 6749 section 5.2), and would be believed.

use crate::domain::{
    ledger::{
        authorization::Code,
        grant::Claim,
        held::{Pair, StoredToken},
    },
    snapshot::{ClaimOwner, Snapshot},
    spec::TokenUrl,
    token::Fingerprint,
};

/// Whether the connection as it is now may present a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// It may.
    Ours,
    /// It belongs to another server than the spec's.
    OtherServer,
    /// It belongs to another client than that of the client Secret.
    OtherClient,
    /// The server rejected it from this very client (I3).
    Rejected,
}

impl Ownership {
    /// Whose the current pair is.
    pub fn of_current(pair: &Pair, snapshot: &Snapshot) -> Self {
        Self::of_token(&pair.refresh, snapshot)
    }

    /// Whose the candidate is.
    pub fn of_candidate(candidate: &StoredToken, snapshot: &Snapshot) -> Self {
        let client_id = snapshot.client.id();
        let rejected = |client_id: &Fingerprint| {
            let grant = snapshot.grant.ours().map(|grant| &grant.value);
            grant.is_some_and(|grant| grant.was_rejected_from(&candidate.fingerprint, &candidate.server, client_id))
        };
        match Self::of_token(candidate, snapshot) {
            Self::Ours if client_id.as_ref().is_some_and(rejected) => Self::Rejected,
            ownership @ (Self::Ours | Self::OtherServer | Self::OtherClient | Self::Rejected) => ownership,
        }
    }

    fn of_token(held: &StoredToken, snapshot: &Snapshot) -> Self {
        Self::of(&held.server, held.client_id.as_ref(), &held.fingerprint, snapshot)
    }

    /// Whose a code is.
    pub fn of_code(code: &Code, snapshot: &Snapshot) -> Self {
        let record = &code.record;
        Self::of(&record.server, record.client_id.as_ref(), &record.fingerprint, snapshot)
    }

    /// Where the spec names no usable server, or there is no client Secret, nothing speaks against it; nor is anything sent.
    fn of(server: &TokenUrl, client_id: Option<&Fingerprint>, token: &Fingerprint, snapshot: &Snapshot) -> Self {
        if snapshot.spec.token_url().is_some_and(|wanted| wanted != server) {
            return Self::OtherServer;
        }
        let owner = client_id.or_else(|| claimed_by(token, snapshot));
        match (owner, snapshot.client.id()) {
            (Some(owner), Some(client_id)) if *owner != client_id => Self::OtherClient,
            _ => Self::Ours,
        }
    }
}

/// The client of a claim that may have presented this token.
fn claimed_by<'a>(token: &Fingerprint, snapshot: &'a Snapshot) -> Option<&'a Fingerprint> {
    if snapshot.local.claim_owner == Some(ClaimOwner::NeverSentHere) {
        return None;
    }
    let claim: &Claim = snapshot.grant.ours()?.value.claim.as_ref()?;
    claim.client_id.as_ref().filter(|_| claim.fingerprint == *token)
}
