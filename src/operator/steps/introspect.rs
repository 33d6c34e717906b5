//! Introspect: asks whether a token is active, in three cases (RFC 7662). A refresh token that was just issued proves the endpoint; one
//! that an earlier request may have used is asked about before it is sent; and where a client reports that the API rejects the access
//! token, both are asked about.

use std::time::Duration;

use futures::future::join;
use tracing::{info, warn};

use crate::{
    domain::{
        commit::settlement,
        governor::Shown,
        introspection::Introspected,
        ledger::{
            grant::{Grant, Which},
            held::Pair,
        },
        plan::{
            introspection::{is_believed, is_in_doubt, is_inactive, proved, wait_until},
            next_refresh::Rotation,
            rejection_report,
        },
        snapshot::ClientSecretState,
        spec::{IntrospectionUrl, Server},
        token::ClientCredentials,
    },
    operator::{
        context::{Context, ReconcileError},
        steps::{
            apply::{self, StepResult},
            observe::{Observation, local_observations},
        },
        workqueue::InFlight,
    },
    pleo::{IntrospectionRequest, QuestionedToken},
};

/// Asks about the token that was just issued, and notes whether the endpoint is believed from now on.
///
/// # Errors
/// If the API server gave no answer.
pub async fn prove(ctx: &Context, observation: &mut Observation) -> Result<StepResult, ReconcileError> {
    let snapshot = &observation.snapshot;
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return Ok(StepResult::Reobserve);
    };
    let Some(url) = &server.introspection_url else { return Ok(StepResult::Reobserve) };
    let answer = ask(ctx, server, url, client, &grant.value).await;
    let noted = proved(&grant.value, url, client, answer);
    observation.snapshot.local =
        local_observations(ctx, &observation.snapshot.spec.namespace, &observation.snapshot.grant);
    match noted {
        Some(noted) => apply::grant(ctx, observation, noted).await,
        None => Ok(StepResult::Done),
    }
}

/// Asks about the token that is to be sent, if an earlier request may have used it, or if it is sent early, for a client's report.
/// None: it is to be sent.
///
/// # Errors
/// If the API server gave no answer.
pub async fn before_sending(
    ctx: &Context,
    observation: &mut Observation,
    rotation: &Rotation,
    request: &InFlight,
) -> Result<Option<StepResult>, ReconcileError> {
    let snapshot = &observation.snapshot;
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return Ok(Some(StepResult::Reobserve));
    };
    let (Some(url), Some(current)) = (&server.introspection_url, &grant.value.current) else { return Ok(None) };
    if is_in_doubt(&grant.value, rotation.which, rotation.claim_unused, url, client) {
        let before = snapshot.local.introspected;
        let answer = ask(ctx, server, url, client, &grant.value).await;
        return match answer {
            Introspected::Inactive if !is_inactive(before, answer, ctx.policy.pace) => Ok(Some(StepResult::Reobserve)),
            Introspected::Inactive => reject(ctx, observation, rotation, request).await.map(Some),
            Introspected::Active if rotation.request.is_none() => {
                let waits = wait_until(current, &snapshot.local, (answer, Duration::ZERO), ctx.now(), ctx.policy.pace);
                Ok(waits.map(|_| StepResult::Reobserve))
            }
            Introspected::Active | Introspected::Refused | Introspected::NoAnswer => Ok(None),
        };
    }
    let is_reported = rotation.which == Which::Current
        && rotation.request.is_none()
        && rejection_report::due(&grant.value).is_some()
        && is_believed(&grant.value, url, client);
    if !is_reported || !speaks_against_report(ctx, server, url, client, current).await {
        return Ok(None);
    }
    let refuted = rejection_report::refuted(&grant.value);
    match apply::grant(ctx, observation, refuted).await? {
        StepResult::Done | StepResult::Reobserve => Ok(Some(StepResult::Reobserve)),
        refused @ StepResult::Refused(_) => Ok(Some(refused)),
    }
}

/// The refresh token counts as rejected.
async fn reject(
    ctx: &Context,
    observation: &mut Observation,
    rotation: &Rotation,
    request: &InFlight,
) -> Result<StepResult, ReconcileError> {
    let snapshot = &observation.snapshot;
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return Ok(StepResult::Reobserve);
    };
    warn!("the server calls the refresh token inactive, twice now; it is not sent");
    request.note(&snapshot.spec.uid, Shown::Rejected);
    let now = ctx.now();
    let id = ctx.memory.next_attempt(&ctx.policy.holder);
    let terms = ctx.terms(&snapshot.spec, server, client, &grant.value, rotation);
    let Some(rejected) = settlement::reject_unsent(&grant.value, rotation, id, now, terms) else {
        return Ok(StepResult::Reobserve);
    };
    match apply::grant(ctx, observation, rejected).await? {
        // A user may authorize at any moment: not on an old look.
        StepResult::Done | StepResult::Reobserve => Ok(StepResult::Reobserve),
        refused @ StepResult::Refused(_) => Ok(refused),
    }
}

/// Whether nothing is to be sent early for a client's report: the access token is active; or the refresh token is not, so that the server
/// is in trouble or the authorization was revoked, and the planned refresh shows which.
async fn speaks_against_report(
    ctx: &Context,
    server: &Server,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    current: &Pair,
) -> bool {
    let refresh = QuestionedToken::Refresh(current.refresh.token.clone());
    let access = current.access.clone().map(QuestionedToken::Access);
    let about_access = async {
        match access {
            Some(access) => question(ctx, server, url, client, access).await,
            None => Introspected::NoAnswer,
        }
    };
    // At the same time: what is sent must not be decided on an old look.
    let (access, refresh) = join(about_access, question(ctx, server, url, client, refresh)).await;
    info!(access = access.label(), refresh = refresh.label(), "a client reported the access token; asked about both");
    access == Introspected::Active || refresh == Introspected::Inactive
}

async fn ask(
    ctx: &Context,
    server: &Server,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    grant: &Grant,
) -> Introspected {
    let Some(current) = &grant.current else { return Introspected::NoAnswer };
    let answer = question(ctx, server, url, client, QuestionedToken::Refresh(current.refresh.token.clone())).await;
    ctx.memory.introspected(&grant.connection, &current.refresh.fingerprint, answer);
    info!(answer = answer.label(), "asked whether the refresh token is active");
    answer
}

async fn question(
    ctx: &Context,
    server: &Server,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    token: QuestionedToken,
) -> Introspected {
    let (server, url, client) = (server.clone(), url.clone(), client.clone());
    let answer = ctx.endpoint.introspect(IntrospectionRequest { server, url, client, token }).await;
    ctx.metrics.introspection(answer);
    answer
}
