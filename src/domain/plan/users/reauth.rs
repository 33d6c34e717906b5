//! Whether a user must authorize again, why, and the remediation: the condition `ReauthRequired`.

use crate::{
    api::{ReauthReason, names},
    domain::{
        finding::Finding,
        ledger::{
            grant::{Grant, Rejection},
            held::StoredToken,
        },
        plan::{adoption, ownership::Ownership},
        snapshot::{GrantSecret, InitialGrant, InitialToken, Sharing, Snapshot},
        spec::{ResolvedSpec, Server},
    },
};

/// Whether a user must authorize (again), and why.
pub fn reauth(snapshot: &Snapshot) -> Finding<ReauthReason> {
    let news = new_token(snapshot).is_some();
    match &snapshot.grant {
        GrantSecret::Ours(grant) => reauth_of_grant(&grant.value, snapshot, news),
        GrantSecret::Stale(_) if news => not_tried(),
        GrantSecret::Stale(_) => Finding {
            reason: ReauthReason::GrantRestored,
            message: format!(
                "the Secret {} is older than this connection (restored from a backup, or a deleted namesake's); presenting an old token now could revoke a working authorization: {}",
                names::grant_secret(&snapshot.spec.name),
                way_back(snapshot)
            ),
        },
        GrantSecret::Absent if news => not_tried(),
        GrantSecret::Absent => not_authorized(snapshot),
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => Finding {
            reason: ReauthReason::NotTried,
            message: "the grant cannot be read; see the condition Ready".to_owned(),
        },
    }
}

fn reauth_of_grant(grant: &Grant, snapshot: &Snapshot, news: bool) -> Finding<ReauthReason> {
    let current = grant
        .current
        .as_ref()
        .map(|current| (Ownership::of_current(current, snapshot), current.refresh.server.as_str()));
    let is_rejected = |held: Option<&StoredToken>| held.is_some_and(is_rejected_by_unknown_code);
    let rejected_pair = is_rejected(grant.current.as_ref().map(|pair| &pair.refresh));
    if current.is_some_and(|(ownership, _)| ownership == Ownership::Ours) && !rejected_pair {
        let message = "the server has not rejected the grant".to_owned();
        return Finding { reason: ReauthReason::GrantValid, message };
    }
    let candidate = grant.candidate.as_ref();
    let candidate = candidate.map(|held| (Ownership::of_candidate(held, snapshot), held.server.as_str()));
    let code = grant.by_link.code.as_ref().map(|code| Ownership::of_code(code, snapshot));
    let waits = grant.by_link.session.as_ref().is_some_and(|visit| visit.end.is_none());
    let rejected_candidate = is_rejected(grant.candidate.as_ref());
    let is_ours = candidate.is_some_and(|(ownership, _)| ownership == Ownership::Ours) && !rejected_candidate;
    if code == Some(Ownership::OtherClient) && !is_ours && !news {
        return client_changed("the code that a browser brought was issued to", snapshot);
    }
    if is_ours || code == Some(Ownership::Ours) || waits || news {
        return not_tried();
    }
    let whose =
        if current.is_some() { "the grant was issued to" } else { "the refresh token may have been accepted from" };
    match current.or(candidate) {
        Some((Ownership::OtherServer, other)) => Finding {
            reason: ReauthReason::ServerChanged,
            message: format!(
                "the grant belongs to {other}, and the spec names another server; it is kept: change the spec back, or {}",
                way_back(snapshot)
            ),
        },
        Some((Ownership::OtherClient, _)) => client_changed(whose, snapshot),
        Some((Ownership::Ours, _)) if rejected_pair || rejected_candidate => unknown_rejection(snapshot),
        Some((Ownership::Ours | Ownership::Rejected, _)) | None => match &grant.last_rejection {
            Some(refused) => rejected(refused, snapshot),
            None => not_authorized(snapshot),
        },
    }
}

/// Whether the server rejected it repeatedly with a code that is not known.
fn is_rejected_by_unknown_code(held: &StoredToken) -> bool {
    held.attempts.is_rejected_by_unknown_code()
}

fn unknown_rejection(snapshot: &Snapshot) -> Finding<ReauthReason> {
    let message = format!(
        "the server rejected the refresh token three times, with an error code that is not known here (see status.lastFailure); it is kept and tried hourly, or when the annotation {} is changed: {}",
        names::REFRESH_REQUESTED_ANNOTATION,
        way_back(snapshot)
    );
    Finding { reason: ReauthReason::UnknownRejection, message }
}

fn client_changed(whose: &str, snapshot: &Snapshot) -> Finding<ReauthReason> {
    let message = format!(
        "{whose} another client than the client_id in the Secret {}, and nothing is sent; it is kept: put the old client_id back if it was the right one, or {}",
        snapshot.spec.client_secret_name,
        way_back(snapshot)
    );
    Finding { reason: ReauthReason::ClientChanged, message }
}

fn rejected(refused: &Rejection, snapshot: &Snapshot) -> Finding<ReauthReason> {
    let what = match refused.reason.reauth() {
        ReauthReason::RotationLost => {
            "the server rejected the refresh token after an attempt whose response was lost, and with it the new pair; this is not a mistake of yours"
        }
        ReauthReason::TokenInvalid => "the server called the refresh token invalid (invalid_token)",
        ReauthReason::GrantRefused
        | ReauthReason::GrantValid
        | ReauthReason::NotTried
        | ReauthReason::NotAuthorized
        | ReauthReason::UnknownRejection
        | ReauthReason::ServerChanged
        | ReauthReason::ClientChanged
        | ReauthReason::GrantRestored => {
            "the server rejected the refresh token (invalid_grant): it has expired, was revoked, or was issued to another client"
        }
    };
    let message = format!("{what}; it was wiped and is not sent again by this client: {}", way_back(snapshot));
    Finding { reason: refused.reason.reauth(), message }
}

fn not_tried() -> Finding<ReauthReason> {
    let message = "there is a refresh token that no server has accepted or rejected yet".to_owned();
    Finding { reason: ReauthReason::NotTried, message }
}

fn not_authorized(snapshot: &Snapshot) -> Finding<ReauthReason> {
    let message = match &snapshot.initial {
        InitialGrant::Missing(why) => match in_a_browser(snapshot) {
            Ok(browser) => format!("{why}; or {}", browser.trim_end_matches(',')),
            Err(Some(no_link)) => format!("{why} (there is no link: {no_link})"),
            Err(None) => why.clone(),
        },
        InitialGrant::Invalid(why) => why.clone(),
        InitialGrant::Present(_) => format!("there is no grant of this connection's own: {}", way_back(snapshot)),
    };
    Finding { reason: ReauthReason::NotAuthorized, message }
}

/// What brings a connection back whose grant is gone.
pub fn way_back(snapshot: &Snapshot) -> String {
    let spec = &snapshot.spec;
    let whose = match news(snapshot).map(|token| &token.sharing) {
        Some(Sharing::With(other)) => format!(" (the one in the initial grant belongs to the connection {other})"),
        Some(Sharing::Alone | Sharing::Unchecked(_)) | None => String::new(),
    };
    let by_hand = match &spec.initial_grant {
        Some(initial) => {
            format!("put a new refresh token into the Secret {}, key {}{whose}", initial.secret, initial.key)
        }
        None => "put a new refresh token into a Secret and name it in spec.initialGrant.secretRef".to_owned(),
    };
    match in_a_browser(snapshot) {
        Ok(browser) => format!("{browser} or {by_hand}"),
        Err(Some(why)) => format!("{by_hand} (there is no link: {why})"),
        Err(None) => by_hand,
    }
}

/// How to authorize without a token; or why there is no link, where others have one.
fn in_a_browser(snapshot: &Snapshot) -> Result<String, Option<&str>> {
    let ResolvedSpec { namespace, name, server, .. } = &snapshot.spec;
    match server {
        Ok(Server { authorization_url: Ok(_), .. }) => {
            let is_called = is_required(snapshot);
            let has_link = is_called && snapshot.can_have_link();
            let link = if has_link { "open the link in status.authorizationURL, " } else { "" };
            Ok(format!("{link}run `kubectl pleo connect {name} -n {namespace}`,"))
        }
        Ok(Server { authorization_url: Err(why), .. }) => Err(snapshot.links.as_ref().map(|_| why.as_str())),
        Err(_) => Err(None),
    }
}

/// There is a link only where no grant lives.
fn is_required(snapshot: &Snapshot) -> bool {
    let current = snapshot.grant.ours().and_then(|grant| grant.value.current.as_ref());
    current.is_none_or(|current| {
        Ownership::of_current(current, snapshot) != Ownership::Ours || is_rejected_by_unknown_code(&current.refresh)
    })
}

/// The token in the initial grant that is about to be adopted.
pub fn new_token(snapshot: &Snapshot) -> Option<&InitialToken> {
    news(snapshot).filter(|token| token.sharing == Sharing::Alone)
}

/// The token in the initial grant, where it is news; for a spec without a usable server, where it was never adopted.
pub fn news(snapshot: &Snapshot) -> Option<&InitialToken> {
    if let Some(server) = snapshot.spec.token_url() {
        return adoption::news(&snapshot.initial, &snapshot.grant, server, &snapshot.client);
    }
    let InitialGrant::Present(token) = &snapshot.initial else { return None };
    let known = match &snapshot.grant {
        GrantSecret::Absent => false,
        GrantSecret::Ours(grant) | GrantSecret::Stale(grant) => grant.value.has_seen(&token.fingerprint),
        GrantSecret::NotOwned | GrantSecret::Unreadable(_) => true,
    };
    (!known).then_some(token)
}
