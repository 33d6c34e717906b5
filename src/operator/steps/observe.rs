//! Observe: reads everything that a decision needs, and writes nothing. The order matters: the Secrets that we write first, so
//! that their versions are older than everything else; the connection last and live, because a cached one may name the wrong
//! server.

use kube::ResourceExt;

use crate::{
    api::PleoConnection,
    clock::Stopwatch,
    cluster::{StoreError, inputs},
    domain::{
        snapshot::{
            ClientSecretState, Deferred, GrantSecret, InitialGrant, LastReported, LocalObservations, Snapshot,
            TokenSecret,
        },
        spec::ResolvedSpec,
    },
    operator::context::{Context, Doing, ReconcileError},
};

/// A connection as it was read, and all that was seen of it.
pub struct Observation {
    /// The connection, with its status and version.
    pub connection: PleoConnection,
    pub snapshot: Snapshot,
    /// Since then.
    pub age: Stopwatch,
}

/// What a look at a connection brought.
pub enum ObserveResult {
    Found(Box<Observation>),
    /// It is gone.
    Gone,
    /// The API server refuses to show the Secrets.
    Refused {
        /// The connection, as it is now.
        connection: Box<PleoConnection>,
        /// In the API server's words.
        why: String,
    },
}

/// Looks at a connection. `cached` says where its token Secret was last.
///
/// # Errors
/// If the API server gave no answer.
pub async fn observe(ctx: &Context, cached: &PleoConnection) -> Result<ObserveResult, ReconcileError> {
    match look(ctx, cached).await {
        Ok(Some(observation)) => Ok(ObserveResult::Found(Box::new(observation))),
        Ok(None) => Ok(ObserveResult::Gone),
        Err(ReconcileError::Store { doing, source: StoreError::Refused(why) }) => {
            let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
            let connection = ctx.store.read_connection(&namespace, &name).await.doing("read the connection")?;
            let refused = |connection| ObserveResult::Refused {
                connection: Box::new(connection),
                why: format!("it could not {doing}: {why}"),
            };
            Ok(connection.map_or(ObserveResult::Gone, refused))
        }
        Err(error) => Err(error),
    }
}

async fn look(ctx: &Context, cached: &PleoConnection) -> Result<Option<Observation>, ReconcileError> {
    let (namespace, name) = (cached.namespace().unwrap_or_default(), cached.name_any());
    let mut secret_name = ResolvedSpec::read(cached, &ctx.policy.allowed).secret_name;
    loop {
        let token = ctx.store.look_at_token(&namespace, &secret_name, &name).await.doing("read the token Secret")?;
        let grant = ctx.store.look_at_grant(&namespace, &name).await.doing("read the grant Secret")?;
        let connection = ctx.store.read_connection(&namespace, &name).await.doing("read the connection")?;
        let Some(connection) = connection else { return Ok(None) };
        let spec = ResolvedSpec::read(&connection, &ctx.policy.allowed);
        if spec.secret_name == secret_name {
            for edit in [token.edit, grant.edit].into_iter().flatten() {
                ctx.memory.saw_edit(&spec.uid, edit);
            }
            let spec = if ctx.policy.introspection { spec } else { spec.without_introspection() };
            let (grant, reported) = classify_grant(ctx, grant.what, &token.what, &connection, &spec).await?;
            let snapshot = complete(ctx, spec, token.what, grant, reported, &connection).await?;
            return Ok(Some(Observation { connection, snapshot, age: Stopwatch::start(&ctx.clock) }));
        }
        // Renamed since: what was read is another Secret.
        secret_name = spec.secret_name;
    }
}

/// Whose grant it is. One that is older than what was reported was put back from a backup: its token is used.
async fn classify_grant(
    ctx: &Context,
    grant: GrantSecret,
    token: &TokenSecret,
    connection: &PleoConnection,
    spec: &ResolvedSpec,
) -> Result<(GrantSecret, LastReported), ReconcileError> {
    let by_status = connection.status.as_ref().map(LastReported::by_status).unwrap_or_default();
    let reported = |grant: &GrantSecret| by_status.and_by(token, grant, &spec.uid);
    let mut grant = grant.as_seen_by(&spec.uid);
    if grant.ours().is_some_and(|ours| reported(&grant).outdates(&ours.value)) {
        // It was read before the connection; someone may have written both in between.
        let newer = ctx.store.read_grant(&spec.namespace, &spec.name).await.doing("read the grant Secret")?;
        grant = newer.as_seen_by(&spec.uid);
    }
    let reported = reported(&grant);
    Ok((grant.unless_outdated(reported), reported))
}

async fn complete(
    ctx: &Context,
    spec: ResolvedSpec,
    token: TokenSecret,
    grant: GrantSecret,
    reported: LastReported,
    connection: &PleoConnection,
) -> Result<Snapshot, ReconcileError> {
    let client = client_secret(ctx, &spec).await?;
    let initial = initial_grant(ctx, &spec).await?;
    let published_as = connection.status.as_ref().and_then(|status| status.secret_name.clone());
    let (local, repairs) = (local_observations(ctx, &spec.namespace, &grant), ctx.memory.repairs(&spec.uid));
    Ok(Snapshot {
        client,
        initial,
        grant,
        token,
        retired: published_as.filter(|old| *old != spec.secret_name),
        reported,
        links: ctx.policy.links.clone(),
        deferred: Deferred::default(),
        local,
        repairs,
        spec,
    })
}

/// What this process remembers of the claim and the failure in a grant.
pub fn local_observations(ctx: &Context, namespace: &str, grant: &GrantSecret) -> LocalObservations {
    let last_outage = ctx.store.last_failure(namespace);
    grant.ours().map(|grant| ctx.memory.local_observations(grant, &ctx.policy.holder, last_outage)).unwrap_or_default()
}

async fn client_secret(ctx: &Context, spec: &ResolvedSpec) -> Result<ClientSecretState, ReconcileError> {
    let name = &spec.client_secret_name;
    let secret = ctx.store.read_secret(&spec.namespace, name).await.doing("read the client Secret")?;
    Ok(inputs::credentials(secret.as_ref(), name).map_or_else(ClientSecretState::Missing, ClientSecretState::Present))
}

async fn initial_grant(ctx: &Context, spec: &ResolvedSpec) -> Result<InitialGrant, ReconcileError> {
    let Some(reference) = &spec.initial_grant else {
        let why =
            "no grant is there and spec.initialGrant is not set: put a refresh token into a Secret and name it there";
        return Ok(InitialGrant::Missing(why.to_owned()));
    };
    let secret = match ctx.store.read_secret(&spec.namespace, &reference.secret).await {
        // A Secret that we may not read must not cost the working grant its refresh.
        Err(StoreError::Refused(why)) => {
            return Ok(InitialGrant::Missing(format!("the Secret {} cannot be read: {why}", reference.secret)));
        }
        read => read.doing("read the initial-grant Secret")?,
    };
    Ok(inputs::initial_token(secret.as_ref(), reference))
}
