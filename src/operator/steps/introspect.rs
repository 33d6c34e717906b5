//! Introspect: asks whether a token is active, in three cases (RFC 7662). A refresh token that was just issued proves the endpoint; one
//! that an earlier request may have used is asked about before it is sent; and where a client reports that the API rejects the access
//! token, both are asked about.

use std::time::Duration;

use tracing::{info, warn};

use crate::{
    domain::{
        commit::settlement,
        introspection::Introspected,
        ledger::grant::{Grant, Which},
        plan::{
            decide::Rotation,
            introspection::{is_believed, is_in_doubt, is_inactive, proved, wait_until},
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
    observation.snapshot.local = local_observations(ctx, &observation.snapshot.grant);
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
) -> Result<Option<StepResult>, ReconcileError> {
    let snapshot = &observation.snapshot;
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return Ok(Some(StepResult::Reobserve));
    };
    let (Some(url), Some(current)) = (&server.introspection_url, &grant.value.current) else { return Ok(None) };
    let in_doubt = is_in_doubt(&grant.value, rotation.which, rotation.claim_unused, url, client);
    let is_reported = rotation.which == Which::Current
        && rotation.request.is_none()
        && rejection_report::is_open(&grant.value)
        && is_believed(&grant.value, url, client);
    if is_reported && !in_doubt && access_is_active(ctx, server, url, client, &grant.value).await {
        let refuted = rejection_report::refuted(&grant.value);
        return match apply::grant(ctx, observation, refuted).await? {
            StepResult::Done | StepResult::Reobserve => Ok(Some(StepResult::Reobserve)),
            refused @ StepResult::Refused(_) => Ok(Some(refused)),
        };
    }
    if !in_doubt && !is_reported {
        return Ok(None);
    }
    let before = snapshot.local.introspected;
    let answer = ask(ctx, server, url, client, &grant.value).await;
    match answer {
        Introspected::Inactive if !is_inactive(before, answer, ctx.policy.pace) => Ok(Some(StepResult::Reobserve)),
        Introspected::Inactive => reject(ctx, observation, rotation).await.map(Some),
        Introspected::Active if in_doubt && rotation.request.is_none() => {
            let waits = wait_until(current, &snapshot.local, (answer, Duration::ZERO), ctx.now(), ctx.policy.pace);
            Ok(waits.map(|_| StepResult::Reobserve))
        }
        Introspected::Active | Introspected::Refused | Introspected::NoAnswer => Ok(None),
    }
}

/// The refresh token counts as rejected.
async fn reject(
    ctx: &Context,
    observation: &mut Observation,
    rotation: &Rotation,
) -> Result<StepResult, ReconcileError> {
    let snapshot = &observation.snapshot;
    let (Some(grant), Ok(server), ClientSecretState::Present(client)) =
        (snapshot.grant.ours(), &snapshot.spec.server, &snapshot.client)
    else {
        return Ok(StepResult::Reobserve);
    };
    warn!("the server calls the refresh token inactive, twice now; it is not sent");
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

/// Whether the server contradicts the client that reported the access token.
async fn access_is_active(
    ctx: &Context,
    server: &Server,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    grant: &Grant,
) -> bool {
    let Some(access) = grant.current.as_ref().and_then(|current| current.access.clone()) else { return false };
    let answer = question(ctx, server, url, client, QuestionedToken::Access(access)).await;
    info!(answer = answer.label(), "a client reported the access token; asked whether it is active");
    answer == Introspected::Active
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
