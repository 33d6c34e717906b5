//! Introspect: asks whether a refresh token is active, in two cases. A token that was just issued proves the endpoint; a token that
//! an earlier request may have used is asked about before it is sent (RFC 7662).

use std::time::Duration;

use tracing::{info, warn};

use crate::{
    domain::{
        commit::settlement,
        introspection::Introspected,
        ledger::grant::Grant,
        plan::{
            decide::Rotation,
            introspection::{is_in_doubt, is_inactive, proved, wait_until},
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
    pleo::IntrospectionRequest,
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

/// Asks about the token that is to be sent, if an earlier request may have used it. None: it is to be sent.
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
    let url = server.introspection_url.as_ref();
    let (Some(url), Some(current)) = (
        url.filter(|url| is_in_doubt(&grant.value, rotation.which, rotation.claim_unused, url, client)),
        &grant.value.current,
    ) else {
        return Ok(None);
    };
    let before = snapshot.local.introspected;
    let answer = ask(ctx, server, url, client, &grant.value).await;
    match answer {
        Introspected::Inactive if !is_inactive(before, answer, ctx.policy.pace) => Ok(Some(StepResult::Reobserve)),
        Introspected::Inactive => {
            warn!("the server calls the refresh token inactive, twice now; it is not sent");
            let now = ctx.now();
            let id = ctx.memory.next_attempt(&ctx.policy.holder);
            let terms = ctx.terms(&snapshot.spec, server, client, &grant.value, rotation);
            let Some(rejected) = settlement::reject_unsent(&grant.value, rotation, id, now, terms) else {
                return Ok(Some(StepResult::Reobserve));
            };
            match apply::grant(ctx, observation, rejected).await? {
                // A user may authorize at any moment: not on an old look.
                StepResult::Done | StepResult::Reobserve => Ok(Some(StepResult::Reobserve)),
                refused @ StepResult::Refused(_) => Ok(Some(refused)),
            }
        }
        Introspected::Active if rotation.request.is_none() => {
            let waits = wait_until(current, &snapshot.local, (answer, Duration::ZERO), ctx.now(), ctx.policy.pace);
            Ok(waits.map(|_| StepResult::Reobserve))
        }
        Introspected::Active | Introspected::Refused | Introspected::NoAnswer => Ok(None),
    }
}

async fn ask(
    ctx: &Context,
    server: &Server,
    url: &IntrospectionUrl,
    client: &ClientCredentials,
    grant: &Grant,
) -> Introspected {
    let Some(current) = &grant.current else { return Introspected::NoAnswer };
    let question = IntrospectionRequest {
        server: server.clone(),
        url: url.clone(),
        client: client.clone(),
        token: current.refresh.token.clone(),
    };
    let answer = ctx.endpoint.introspect(question).await;
    ctx.metrics.introspection(answer);
    ctx.memory.introspected(&grant.connection, &current.refresh.fingerprint, answer);
    info!(answer = answer.label(), "asked whether the refresh token is active");
    answer
}
