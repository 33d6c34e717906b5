//! A ledger that somebody edited: whatever stands there, and whatever the time, no decision panics, none breaks a rule,
//! and every connection comes to rest.

use std::time::Duration;

use jiff::Timestamp;
use pleo_operator::domain::{
    ledger::{
        authorization::AuthorizationLink,
        grant::RejectionReason,
        record::{LEDGER, decode, encode},
    },
    plan::{
        decide::Decision,
        link::{self, AuthorizationResponse},
    },
    snapshot::{ClaimOwner, Deferred, GrantSecret, Snapshot, TokenSecret, Versioned},
    token::{AuthorizationCode, CodeVerifier, LinkKey},
};
use serde_json::Value;

use super::{
    scenes::{
        PRODUCTION, STAGING, Scene, UID, at, candidate, claim_of, deployment, fingerprint, our_id, server, token_url,
    },
    support::judge,
    support::text::edit,
};

/// A scene by name in the first line; then edits of its ledger (`/pointer value`), and what else was seen, a line each.
pub fn run(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut scene = named(lines.next().unwrap_or_default());
    let mut data = encode(scene.grant());
    let mut ledger: Value = serde_json::from_slice(&data[LEDGER]).expect("what encode writes");
    let mut published = "published";
    for line in lines {
        match line.split_once(' ') {
            _ if line.starts_with('/') => edit(&mut ledger, line),
            Some(("token", how)) => published = how,
            Some((what, more)) => see(&mut scene, what, more),
            None => see(&mut scene, line, ""),
        }
    }
    data.insert(LEDGER.to_owned(), ledger.to_string().into_bytes());
    let grant = match decode(data) {
        Ok(value) => GrantSecret::Ours(Versioned { value, version: "edited".into() }),
        Err(why) => GrantSecret::Unreadable(why),
    };
    scene.snapshot.grant = grant.as_seen_by(UID);
    if scene.snapshot.grant.ours().is_some_and(|grant| judge::contradicts_itself(&grant.value)) {
        return "contradiction";
    }
    let scene = with_token_secret(scene, published);
    let decision = judge::whatever_the_time(&scene);
    judge::live_on(&scene);
    judge::restarts_are_noted(&scene);
    match decision {
        _ if matches!(scene.snapshot.grant, GrantSecret::Unreadable(_)) => "unreadable",
        Decision::Ignore => "leave",
        Decision::Publish(_) => "publish",
        Decision::Adopt(_) => "adopt",
        Decision::DeleteOldSecret(_) => "retire",
        Decision::RemoveAdoptedToken(_) => "tidy",
        Decision::Rotate(_) => "rotate",
        Decision::Restart(_) => "restart",
        Decision::ProveIntrospection => "prove",
        Decision::DropAuthorizationCode(_) => "forget",
        Decision::CreateLink => "invite",
        Decision::Wait(_) => "wait",
    }
}

fn named(name: &str) -> Scene {
    match name {
        "adopted" => Scene::adopted(),
        "beside" => Scene::living().with_grant(|grant| grant.candidate = Some(candidate("consent-2", PRODUCTION))),
        "twice" => Scene::living().with_grant(|grant| grant.candidate = Some(candidate("refresh-7", PRODUCTION))),
        "claimed" => Scene::living().with_grant(|grant| grant.claim = Some(claim_of("refresh-7", at(600)))),
        "dead" => Scene::dead(RejectionReason::GrantRefused),
        "invited" => Scene::dead(RejectionReason::GrantRefused).with_grant(|grant| {
            grant.by_link.link = Some(AuthorizationLink { key: LinkKey::new("key"), made_at: at(0) });
        }),
        "code" => with_code(Scene::dead(RejectionReason::GrantRefused)),
        "code-beside" => with_code(Scene::living()),
        "code-claimed" => with_code(Scene::dead(RejectionReason::GrantRefused)).with_grant(|grant| {
            grant.by_link.code = None;
            grant.claim = Some(claim_of("code-1", at(600)));
        }),
        "doubt" => Scene::living().with_current_tried(|attempts| attempts.outcome_unknown = true),
        _ => Scene::living(),
    }
}

/// A browser has brought a code.
fn with_code(scene: Scene) -> Scene {
    let arrival = AuthorizationResponse {
        client_id: our_id(),
        id: "visit".into(),
        browser: fingerprint("browser"),
        code: AuthorizationCode::new("code-1"),
        verifier: CodeVerifier::new("verifier"),
        server: token_url(PRODUCTION),
        redirect_uri: "https://pleo.example.com/callback".into(),
    };
    scene.with_grant(|grant| *grant = link::accept(grant, arrival, at(0)))
}

/// What was seen beside the ledger. What is no such word changes nothing.
fn see(scene: &mut Scene, what: &str, more: &str) {
    let seen: &mut Snapshot = &mut scene.snapshot;
    let number: u64 = more.parse().unwrap_or_default();
    match what {
        "now" => scene.now = more.parse::<Timestamp>().unwrap_or_else(|_| at(i64::try_from(number % 100_000).unwrap())),
        "claimant" => seen.local.claim_owner = claim_owner(more),
        "claim-seen-ms" => seen.local.claim_seen_for = Duration::from_millis(number),
        "failure-seen-ms" => {
            let passed = Duration::from_millis(number);
            (seen.local.candidate_failure_seen_for, seen.local.current_failure_seen_for) = (passed, passed);
        }
        "code-seen-ms" => seen.local.code_seen_for = Duration::from_millis(number),
        "current-seen-ms" => seen.local.current_seen_for = Duration::from_millis(number),
        "consent" => *scene = scene.clone().consent(more),
        "staging" => seen.spec.server = Ok(server(STAGING)),
        "request" => seen.spec.refresh_request = Some(more.to_owned()),
        "refresh-before-ms" => seen.spec.refresh_before = Some(Duration::from_millis(number)),
        "generation" => seen.spec.generation = more.parse().unwrap_or_default(),
        "suspend" => seen.spec.suspend = true,
        "links" => seen.links = Some("https://pleo.example.com".to_owned()),
        "deleting" => seen.spec.deleting = true,
        "restart" => drop(seen.spec.restart_targets.insert(deployment(more))),
        "retired" => seen.retired = Some(more.to_owned()),
        "told" => seen.reported.rotation = number,
        "refused-rotation" => seen.reported.rejected_rotation = Some(number),
        "put-off" => {
            seen.deferred = Deferred { token_removal: true, old_secret_deletion: true, restarts: Some(more.to_owned()) }
        }
        _ => {}
    }
}

fn claim_owner(whose: &str) -> Option<ClaimOwner> {
    match whose {
        "under-way" => Some(ClaimOwner::UnderWayHere),
        "never-sent" => Some(ClaimOwner::NeverSentHere),
        "dead" => Some(ClaimOwner::DeadHere),
        "elsewhere" => Some(ClaimOwner::Elsewhere),
        _ => None,
    }
}

fn with_token_secret(scene: Scene, how: &str) -> Scene {
    let readable = matches!(scene.snapshot.grant, GrantSecret::Ours(_) | GrantSecret::Stale(_));
    match how {
        "absent" => scene.seeing(|seen| seen.token = TokenSecret::Absent),
        "foreign" => scene.seeing(|seen| seen.token = TokenSecret::NotOwned),
        "edited" => scene.seeing(|seen| {
            if let TokenSecret::Ours(published) = &mut seen.token {
                published.value.content = None;
            }
        }),
        // As it was before the ledger was edited.
        "old" => scene,
        _ if readable => scene.published(),
        _ => scene,
    }
}
