//! The beginning of an attempt: the claim on a token, as a change of the grant. It is stored, by compare-and-swap, before the
//! token is sent.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    ledger::{
        authorization::{Code, CodeRecord, SessionEnd},
        grant::{Claim, Grant, Holder, Which},
        held::{AttemptId, Attempts, StoredToken},
    },
    plan::{authentication::Methods, next_refresh::Rotation, schedule::Pace},
    spec::TokenUrl,
    time::later,
    token::{AuthorizationGrant, Fingerprint},
};

/// An attempt under way: all that is needed to write down how it ended, even if the grant Secret was deleted meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub id: AttemptId,
    pub which: Which,
    /// That token's fingerprint.
    pub fingerprint: Fingerprint,
    pub server: TokenUrl,
    /// The grant as it was stored with the claim.
    pub claimed: Grant,
    pub terms: Terms,
}

/// What an attempt depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    pub holder: Holder,
    /// The client's credentials, in case the server refuses them.
    pub client: Fingerprint,
    /// The client itself: what it is given belongs to it.
    pub client_id: Fingerprint,
    /// How the client authenticates.
    pub methods: Methods,
    /// The generation of the spec, in case the server calls the request wrong.
    pub generation: i64,
    /// How long transient failures are retried.
    pub retry_timeout: Duration,
    pub pace: Pace,
}

/// The claim on a token: what to store, and the token itself, which is not sent unless that was stored.
#[derive(Debug)]
pub struct Claiming {
    /// To be stored first; holds the grant as it is with the claim.
    pub attempt: Attempt,
    /// To be sent once: sending moves it. From here on, a code is stored nowhere else.
    pub token: AuthorizationGrant,
    /// The same, where the server may not authenticate the client: sent only then, and only once.
    pub fallback: Option<AuthorizationGrant>,
}

/// Claims the token that was decided on. None if the grant does not hold it.
pub fn claim(grant: &Grant, rotation: &Rotation, id: AttemptId, now: Timestamp, terms: Terms) -> Option<Claiming> {
    let refresh = |held: &StoredToken| {
        (AuthorizationGrant::Refresh(held.token.clone()), held.fingerprint.clone(), held.server.clone())
    };
    let (token, fingerprint, server) = match rotation.which {
        Which::Candidate => refresh(grant.candidate.as_ref()?),
        Which::Current => refresh(&grant.current.as_ref()?.refresh),
        Which::Code => {
            let Code { code, verifier, record } = grant.by_link.code.clone()?;
            let CodeRecord { fingerprint, server, redirect_uri, .. } = record;
            (AuthorizationGrant::Code { code, verifier, redirect_uri }, fingerprint, server)
        }
    };
    let mut claimed = grant.clone();
    if rotation.which == Which::Code {
        claimed.by_link.code = None;
    }
    if let Some(abandoned) = &grant.claim {
        claimed.end_session(&abandoned.fingerprint, SessionEnd::Lost);
    }
    if let Some(abandoned) = grant.claim.as_ref().filter(|_| !rotation.claim_unused) {
        claimed.last_sent_at = claimed.last_sent_at.max(Some(abandoned.started_at));
        // Its holder may have sent its token, whichever of the two that was.
        let doubtful = claimed.holding(&abandoned.fingerprint);
        if let Some(attempts) = doubtful.and_then(|which| claimed.attempts_mut(which)) {
            attempts.outcome_unknown = true;
        }
        if let (Some(which), Some(client_id)) = (doubtful, &abandoned.client_id) {
            claimed.bind(which, client_id);
        }
    }
    if let Some(attempts) = claimed.attempts_mut(rotation.which).filter(|_| rotation.resumes) {
        let Attempts { outcome_unknown, ref unknown_rejections, .. } = *attempts;
        *attempts = Attempts { outcome_unknown, unknown_rejections: unknown_rejections.clone(), ..Attempts::default() };
    }
    if rotation.request.is_some() {
        claimed.handled_request.clone_from(&rotation.request);
    }
    claimed.claim = Some(Claim {
        attempt: id.clone(),
        holder: terms.holder.clone(),
        started_at: now,
        ends_at: later(now, terms.pace.claim_length()),
        fingerprint: fingerprint.clone(),
        client_id: Some(terms.client_id.clone()),
    });
    let attempt = Attempt { id, which: rotation.which, fingerprint, server, claimed, terms };
    let fallback = attempt.terms.methods.fallback.map(|_| token.clone());
    Some(Claiming { attempt, token, fallback })
}
