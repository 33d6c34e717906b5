//! An authorization on the user's own machine: the authorization code flow with PKCE and a loopback address (RFC 8252). The new
//! refresh token is written into the initial grant with the rights of that user, and the operator adopts it. It is never printed.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    args::ConnectArgs,
    cluster::{CliError, Cluster},
    loopback::{self, Loopback},
};
use crate::{
    api::{PleoConnection, names},
    clock::{SystemClock, WallClock},
    cluster::inputs,
    domain::{
        failure::Outcome,
        ledger::{
            authentication::{Experience, KnownMethod, Method},
            authorization::{AuthorizationLink, AuthorizationSession, SessionId},
            grant::{Grant, Which},
            known_token::Verdict,
            record,
        },
        plan::authentication::{Methods, is_unauthenticated, may_be_the_method, methods},
        spec::{AllowedServers, ResolvedSpec, Server},
        token::{
            AuthorizationCode, AuthorizationGrant, ClientCredentials, Fingerprint, LinkKey, RefreshToken, read_input,
        },
    },
    pleo::{Fence, HttpTokenEndpoint, TokenEndpoint, TokenRequest},
    web::words,
};

/// How long the answer of the authorization server is awaited.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the operator may take to adopt the new grant.
const ADOPTION: Duration = Duration::from_secs(120);

/// From the browser to a connection that works.
///
/// # Errors
/// Says what is missing, and that nothing was changed; or that the operator does not follow.
pub async fn connect(cluster: &Cluster, args: &ConnectArgs) -> Result<String, CliError> {
    let connection = cluster.connection(&args.name).await?;
    let spec = ResolvedSpec::read(&connection, &AllowedServers::every());
    let server = spec.server.clone().map_err(|why| CliError::Message(format!("the spec cannot be used: {why}")))?;
    let authorization_url = server.authorization_url.clone().map_err(|why| {
        CliError::Message(format!(
            "{why}: write where users are sent to authorize, such as https://auth.example.com/oauth/authorize"
        ))
    })?;
    let secret = cluster.secret(&spec.client_secret_name).await?;
    let client = inputs::credentials(secret.as_ref(), &spec.client_secret_name).map_err(CliError::Message)?;

    let place = Place::of(&spec);
    dry_run_writes(cluster, &spec, &place).await?;
    let flow = Flow::new(&spec, &server, &client, &authorization_url, &args.redirect_uri);
    let port = Loopback::open(&args.redirect_uri).await?;
    eprintln!("Authorize in a browser on this machine:\n\n  {}\n", flow.address);
    if !args.no_browser {
        let address = flow.address.clone();
        drop(std::thread::spawn(move || open(&address)));
    }
    let (known, redirect_uri) = (flow.known.clone(), args.redirect_uri.clone());
    let code = port.wait(args.timeout, move |query| known.handle_callback(query)).await?.map_err(CliError::Message)?;
    let verifier = flow.known.link.verifier(&flow.known.session());
    let presented = AuthorizationGrant::Code { code, verifier, redirect_uri };
    let known = method_that_works(&connection, &server, &client);
    let token = exchange_code(&spec, server, client, presented, known).await?;
    store_token(cluster, &spec, &place, &token).await?;
    eprintln!("The new grant is in the cluster; waiting for the operator to take it.");
    follow(cluster, &args.name, &token.fingerprint()).await
}

/// An authorization in progress.
struct Flow {
    address: String,
    known: Arc<Known>,
}

/// What the answer is checked against.
struct Known {
    link: AuthorizationLink,
    uid: String,
    session_id: SessionId,
    server: Server,
}

impl Flow {
    fn new(
        spec: &ResolvedSpec,
        server: &Server,
        client: &ClientCredentials,
        authorization_url: &str,
        redirect_uri: &str,
    ) -> Self {
        let random = || Uuid::new_v4().simple().to_string();
        let now = SystemClock.now();
        let known = Known {
            link: AuthorizationLink { key: LinkKey::new(random() + &random()), made_at: now },
            uid: spec.uid.clone(),
            session_id: SessionId::new(random(), client, now),
            server: server.clone(),
        };
        let asked = known.link.authorization_request(
            authorization_url,
            &client.id,
            redirect_uri,
            &spec.scopes,
            &known.session(),
        );
        Self { address: asked.unwrap_or_else(|| authorization_url.to_owned()), known: Arc::new(known) }
    }
}

impl Known {
    fn session(&self) -> AuthorizationSession<'_> {
        // Every request to the loopback address counts as this browser.
        AuthorizationSession {
            uid: &self.uid,
            session_id: &self.session_id,
            browser: "",
            server: &self.server.token_url,
        }
    }

    /// The page for a request, and what it brought: a code, or why there is none. Nothing, if it is not an answer to us.
    fn handle_callback(
        &self,
        query: &crate::web::authorize::Query,
    ) -> (crate::web::pages::Page, Option<Result<AuthorizationCode, String>>) {
        let is_ours = query.get("state").is_some_and(|state| self.link.knows(state, &self.session()));
        if !is_ours {
            return (words::other_browser(), None);
        }
        if query.get("iss").is_some_and(|iss| !self.server.is_named(iss)) {
            let why = "the response names another server (iss) than the one that was asked: nothing was changed. If it is yours, write its issuer into spec.server.issuer";
            return (words::other_server(), Some(Err(why.to_owned())));
        }
        if let Some(error) = query.get("error") {
            let known = words::known_error(error);
            let why =
                format!("not authorized ({}): nothing was changed", known.unwrap_or("for a reason not known here"));
            return (words::not_authorized(known, None), Some(Err(why)));
        }
        match query.get("code").filter(|code| read_input(code.as_bytes()) == Ok(*code)) {
            Some(code) => (loopback::arrived(), Some(Ok(AuthorizationCode::new(code)))),
            None => (words::not_understood(), None),
        }
    }
}

/// Whichever program opens addresses here; if none does, the address was printed. A browser that it starts may run for hours.
fn open(address: &str) {
    for program in ["xdg-open", "open", "wslview"] {
        let mut command = Command::new(program);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// What the operator found out, as the status has it.
fn method_that_works(connection: &PleoConnection, server: &Server, client: &ClientCredentials) -> Option<KnownMethod> {
    let works = connection.status.as_ref()?.client_authentication.as_deref()?;
    let method = [Method::Basic, Method::Body].into_iter().find(|method| method.as_str() == works)?;
    let (server, client_id) = (server.token_url.clone(), client.id_fingerprint());
    Some(KnownMethod { server, client_id, method, experience: Experience::Works })
}

async fn exchange_code(
    spec: &ResolvedSpec,
    server: Server,
    client: ClientCredentials,
    presented: AuthorizationGrant,
    known: Option<KnownMethod>,
) -> Result<RefreshToken, CliError> {
    let endpoint = HttpTokenEndpoint::new(Arc::new(SystemClock), RESPONSE_TIMEOUT);
    let grant = Grant { authentication: known, ..Grant::new(&spec.uid, 0) };
    // As a probe: the client Secret may have changed since.
    let Methods { first, fallback, standing } = methods(spec.authentication, &client, &server.token_url, &grant, true);
    let request = |method| TokenRequest {
        server: server.clone(),
        method,
        client: client.clone(),
        presented: presented.clone(),
        fence: Fence::new(|| true),
    };
    let mut outcome = endpoint.exchange(request(first)).await;
    if let (Outcome::Failed(failure), Some(second)) = (&outcome, fallback)
        && is_unauthenticated(failure, Which::Code, standing)
    {
        outcome = endpoint.exchange(request(second)).await;
    }
    match outcome {
        Outcome::Issued(issued) => issued.refresh.ok_or_else(|| {
            CliError::Message("the server gave no refresh token: the client must be allowed to have one".to_owned())
        }),
        Outcome::Failed(failure) => {
            let hint = match may_be_the_method(&failure) {
                true => "; if the server takes one authentication method only, name it in spec.client.authentication",
                false => "",
            };
            let why = &failure.detail;
            Err(CliError::Message(format!("the authorization code could not be used: {why}; try again{hint}")))
        }
    }
}

/// Where the operator looks for a new refresh token.
struct Place {
    secret: String,
    key: String,
    /// What must be added to the connection, if it does not name this place yet.
    reference: Option<Value>,
}

impl Place {
    fn of(spec: &ResolvedSpec) -> Self {
        match &spec.initial_grant {
            Some(initial) => Self { secret: initial.secret.clone(), key: initial.key.clone(), reference: None },
            None => {
                let (secret, key) = (format!("{}-grant", spec.name), names::REFRESH_TOKEN_KEY.to_owned());
                let reference = json!({"spec": {"initialGrant": {"secretRef": {"name": secret, "key": key}}}});
                Self { secret, key, reference: Some(reference) }
            }
        }
    }
}

/// Before a user is sent to authorize: a token that cannot be stored would be lost. The API server tries both writes, and
/// keeps nothing.
async fn dry_run_writes(cluster: &Cluster, spec: &ResolvedSpec, place: &Place) -> Result<(), CliError> {
    let there = cluster.secret(&place.secret).await?;
    if let Some(other) = there.and_then(|secret| secret.type_).filter(|kind| kind != names::OPAQUE_SECRET_TYPE) {
        let name = &place.secret;
        return Err(CliError::Message(format!(
            "the Secret {name} is of type {other}, and the operator reads only Opaque ones: remove it, or name another in spec.initialGrant"
        )));
    }
    let nothing = RefreshToken::new("a rehearsal");
    put(cluster, place, &nothing, true).await?;
    match &place.reference {
        Some(reference) => cluster.change(&spec.name, reference, true).await.map(|_| ()),
        None => Ok(()),
    }
}

/// Stores the token. It exists nowhere else, so this is tried until it works.
async fn store_token(
    cluster: &Cluster,
    spec: &ResolvedSpec,
    place: &Place,
    token: &RefreshToken,
) -> Result<(), CliError> {
    let mut was_said = false;
    while let Err(trouble) = put(cluster, place, token, false).await {
        if !was_said {
            eprintln!(
                "The new grant was received, and cannot be stored: {trouble}. Retrying; do not end this program."
            );
            was_said = true;
        }
        sleep(Duration::from_secs(2)).await;
    }
    let Some(reference) = &place.reference else { return Ok(()) };
    let named = cluster.change(&spec.name, reference, false).await;
    named.map(|_| ()).map_err(|trouble| {
        let Place { secret, key, .. } = place;
        CliError::Message(format!(
            "the new grant is in the Secret {secret}, key {key}; name that in spec.initialGrant.secretRef, for it could not be done: {trouble}"
        ))
    })
}

async fn put(cluster: &Cluster, place: &Place, token: &RefreshToken, dry_run: bool) -> Result<(), CliError> {
    let (api, field_manager) = (cluster.secrets(), Some("kubectl-pleo".to_owned()));
    let data = json!({"stringData": {place.key.as_str(): token.expose()}});
    let done = match cluster.secret(&place.secret).await? {
        Some(_) => {
            let params = PatchParams { dry_run, field_manager, ..PatchParams::default() };
            api.patch(&place.secret, &params, &Patch::Merge(data)).await
        }
        None => {
            let secret = Secret {
                metadata: ObjectMeta { name: Some(place.secret.clone()), ..ObjectMeta::default() },
                type_: Some(names::OPAQUE_SECRET_TYPE.to_owned()),
                string_data: Some([(place.key.clone(), token.expose().to_owned())].into()),
                ..Secret::default()
            };
            api.create(&PostParams { dry_run, field_manager }, &secret).await
        }
    };
    done.map(|_| ()).map_err(|error| cluster.trouble(error, "write the Secret", "create and patch", "secrets"))
}

/// Waits until the operator has used the new grant, or the server has rejected it. The ledger shows which: other tokens of
/// this connection may be refreshed meanwhile.
async fn follow(cluster: &Cluster, name: &str, token: &Fingerprint) -> Result<String, CliError> {
    let began = Instant::now();
    while began.elapsed() < ADOPTION {
        let secret = cluster.secret(&names::grant_secret(name)).await?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        let grant = record::decode(data.into_iter().map(|(key, value)| (key, value.0)).collect()).ok();
        let ours = grant.as_ref().and_then(|grant| grant.history.iter().rfind(|old| old.fingerprint == *token));
        match ours.map(|ours| ours.verdict) {
            Some(Verdict::Accepted { rotation }) => return Ok(format!("{name} is connected (rotation {rotation})\n")),
            Some(Verdict::Rejected | Verdict::RejectedForAll | Verdict::RejectedAfterUse) => {
                return Err(CliError::Message(format!(
                    "the server rejected the new authorization: see `kubectl pleo status {name}`, and authorize again"
                )));
            }
            Some(Verdict::Pending | Verdict::OutcomeUnknown) | None => {}
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(CliError::Message(format!(
        "the new grant is in the cluster, and the operator has not adopted it yet: `kubectl pleo status {name}` shows why"
    )))
}
