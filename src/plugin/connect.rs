//! A consent on the person's own machine: the authorisation code flow with PKCE and a loopback address (RFC 8252). The new
//! refresh token goes into the initial grant under that person's own rights, and the operator adopts it. It is never printed.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{
    args::ConnectArgs,
    cluster::{Cluster, Trouble},
    loopback::{self, Loopback},
};
use crate::{
    api::{PleoConnection, names},
    clock::{SystemClock, WallClock},
    cluster::inputs,
    domain::{
        failure::Outcome,
        link::{Invitation, InvitationRecord, VisitId, Way},
        token::{AuthorizationCode, ClientCredentials, LinkKey, Presented, RefreshToken, read_input},
        wish::{AllowedServers, Server, Wish},
    },
    pleo::{Exchange, Fence, HttpTokenEndpoint, TokenEndpoint},
    web::{visit::is_same_origin, words},
};

/// How long the answer of the authorisation server is awaited.
const ANSWER: Duration = Duration::from_secs(60);
/// How long the operator may take to adopt the new grant.
const ADOPTION: Duration = Duration::from_secs(120);

/// From the browser to a connection that works.
///
/// # Errors
/// Says what is missing, and that nothing was changed; or that the operator does not follow.
pub async fn connect(cluster: &Cluster, args: &ConnectArgs) -> Result<String, Trouble> {
    let connection = cluster.connection(&args.name).await?;
    let wish = Wish::read(&connection, &AllowedServers::every());
    let server = wish.server.clone().map_err(|why| Trouble::Said(format!("the spec cannot be used: {why}")))?;
    let consent = server.authorization_url.clone().map_err(Trouble::Said)?;
    let secret = cluster.secret(&wish.client_secret_name).await?;
    let client = inputs::credentials(secret.as_ref(), &wish.client_secret_name).map_err(Trouble::Said)?;

    let flow = Flow::new(&wish, &server, &client, &consent, &args.redirect_uri);
    let port = Loopback::open(&args.redirect_uri).await?;
    eprintln!("Consent in a browser on this machine:\n\n  {}\n", flow.address);
    if !args.no_browser {
        open(&flow.address).await;
    }
    let (known, redirect_uri) = (flow.known.clone(), args.redirect_uri.clone());
    let code = port.wait(args.timeout, move |query| known.judge(query)).await?.map_err(Trouble::Said)?;
    let verifier = flow.known.invitation.verifier(&flow.known.way());
    let presented = Presented::Code { code, verifier, redirect_uri };
    let token = buy(&wish, server, client, presented).await?;
    hand_over(cluster, &connection, &wish, &token).await?;
    eprintln!("The new grant is in the cluster; waiting for the operator to take it.");
    follow(cluster, &connection).await
}

/// One consent under way.
struct Flow {
    address: String,
    known: Arc<Known>,
}

/// What the answer is checked against.
struct Known {
    invitation: Invitation,
    uid: String,
    visit: VisitId,
    server: Server,
}

impl Flow {
    fn new(wish: &Wish, server: &Server, client: &ClientCredentials, consent: &str, redirect_uri: &str) -> Self {
        let random = || Uuid::new_v4().simple().to_string();
        let now = SystemClock.now();
        let known = Known {
            invitation: Invitation {
                key: LinkKey::new(random() + &random()),
                record: InvitationRecord { made_at: now },
            },
            uid: wish.uid.clone(),
            visit: VisitId::new(random(), now),
            server: server.clone(),
        };
        let asked = known.invitation.question(consent, &client.id, redirect_uri, &wish.scopes, &known.way());
        Self { address: asked.unwrap_or_else(|| consent.to_owned()), known: Arc::new(known) }
    }
}

impl Known {
    fn way(&self) -> Way<'_> {
        // Whoever answers on this machine is this browser.
        Way { uid: &self.uid, visit: &self.visit, browser: "", server: &self.server.token_url }
    }

    /// The page for a request, and what it brought: a code, or why there is none. Nothing, if it is not an answer to us.
    fn judge(
        &self,
        query: &crate::web::visit::Query,
    ) -> (crate::web::pages::Page, Option<Result<AuthorizationCode, String>>) {
        let is_ours = query.get("state").is_some_and(|state| self.invitation.knows(state, &self.way()));
        if !is_ours {
            return (words::other_browser(), None);
        }
        let asked = self.server.authorization_url.as_deref().unwrap_or_default();
        if query.get("iss").is_some_and(|issuer| !is_same_origin(issuer, asked)) {
            return (words::other_server(), None);
        }
        if let Some(error) = query.get("error") {
            let known = words::known_error(error);
            let why = format!(
                "there is no consent ({}): nothing was changed",
                known.unwrap_or("for a reason not known here")
            );
            return (words::not_consented(known, None), Some(Err(why)));
        }
        match query.get("code").filter(|code| read_input(code.as_bytes()) == Ok(*code)) {
            Some(code) => (loopback::arrived(), Some(Ok(AuthorizationCode::new(code)))),
            None => (words::not_understood(), None),
        }
    }
}

/// Whichever program opens addresses here; if none does, the address was printed.
async fn open(address: &str) {
    for program in ["xdg-open", "open", "wslview"] {
        let mut command = Command::new(program);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let opened = spawn_blocking(move || command.status()).await;
        if opened.is_ok_and(|status| status.is_ok_and(|status| status.success())) {
            return;
        }
    }
}

async fn buy(
    wish: &Wish,
    server: Server,
    client: ClientCredentials,
    presented: Presented,
) -> Result<RefreshToken, Trouble> {
    let endpoint = HttpTokenEndpoint::new(Arc::new(SystemClock), ANSWER);
    let fence = Fence::new(|| true);
    let exchange = Exchange { server, authentication: wish.authentication, client, presented, fence };
    match endpoint.exchange(exchange).await {
        Outcome::Issued(issued) => issued.refresh.ok_or_else(|| {
            Trouble::Said("the server gave no refresh token: the client must be allowed to have one".to_owned())
        }),
        Outcome::Failed(failure) => {
            Err(Trouble::Said(format!("the consent could not be exchanged: {}; try again", failure.detail)))
        }
    }
}

/// Puts the token where the operator looks for it. What was bought exists nowhere else, so this is tried until it works.
async fn hand_over(
    cluster: &Cluster,
    connection: &PleoConnection,
    wish: &Wish,
    token: &RefreshToken,
) -> Result<(), Trouble> {
    let (secret, key) = match &wish.initial_grant {
        Some(initial) => (initial.secret.clone(), initial.key.clone()),
        None => (format!("{}-grant", wish.name), names::REFRESH_TOKEN_KEY.to_owned()),
    };
    let mut told = false;
    while let Err(trouble) = put(cluster, &secret, &key, token).await {
        if !told {
            eprintln!("The new grant is in hand, and cannot be stored: {trouble}. Trying on; do not end this program.");
            told = true;
        }
        sleep(Duration::from_secs(2)).await;
    }
    if wish.initial_grant.is_none() {
        let reference = json!({"spec": {"initialGrant": {"secretRef": {"name": secret, "key": key}}}});
        cluster.change(&connection.name_any(), reference).await?;
    }
    Ok(())
}

async fn put(cluster: &Cluster, name: &str, key: &str, token: &RefreshToken) -> Result<(), Trouble> {
    let api = cluster.secrets();
    let data = json!({"stringData": {key: token.expose()}});
    let params = PatchParams { field_manager: Some("kubectl-pleo".to_owned()), ..PatchParams::default() };
    let done = match cluster.secret(name).await? {
        Some(_) => api.patch(name, &params, &Patch::Merge(data)).await,
        None => {
            let secret = Secret {
                metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
                type_: Some(names::OPAQUE_SECRET_TYPE.to_owned()),
                string_data: Some([(key.to_owned(), token.expose().to_owned())].into()),
                ..Secret::default()
            };
            api.create(&PostParams::default(), &secret).await
        }
    };
    done.map(|_| ()).map_err(|error| cluster.trouble(error, "write the Secret", "create and patch", "secrets"))
}

/// Waits until the operator has proved the new grant.
async fn follow(cluster: &Cluster, before: &PleoConnection) -> Result<String, Trouble> {
    let name = before.name_any();
    let rotation = |connection: &PleoConnection| connection.status.as_ref().and_then(|status| status.rotation);
    let began = Instant::now();
    while began.elapsed() < ADOPTION {
        let now = cluster.connection(&name).await?;
        if rotation(&now) > rotation(before) {
            return Ok(format!("{name} is connected (rotation {})\n", rotation(&now).unwrap_or_default()));
        }
        sleep(Duration::from_millis(500)).await;
    }
    Err(Trouble::Said(format!(
        "the new grant is in the cluster, and the operator has not taken it yet: `kubectl pleo status {name}` tells why"
    )))
}
