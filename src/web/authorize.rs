//! The three steps of a user's session: begin, callback, result. Each reads all it needs again; the second one writes, once, by
//! compare-and-swap.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    address::{PublicUrl, ReturnSite},
    cookie::SessionCookie,
    pages::Page,
    words,
};
use crate::{
    clock::Clock,
    cluster::{
        Store, StoreError,
        connections::{Managed, Scope},
        inputs,
    },
    domain::{
        ledger::{
            authorization::{AuthorizationLink, AuthorizationSession, SessionEnd, SessionId},
            grant::Grant,
        },
        plan::link::{self, AuthorizationResponse},
        token::{AuthorizationCode, read_input},
    },
};

/// The longest code that is taken, in bytes.
const MAX_CODE: usize = 4096;
/// The longest address to go on to, in bytes.
const MAX_ONWARD: usize = 1024;
/// How long a code that cannot be stored is held on to.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a page waits for the end of a visit before it is shown.
const LONG_POLL: Duration = Duration::from_secs(8);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);

/// What the steps share.
pub struct Site {
    /// Reads and writes objects. Not the operator's own: what is written here must wake it.
    pub store: Store,
    pub clock: Clock,
    pub address: PublicUrl,
    pub returns: Vec<ReturnSite>,
    pub scope: Scope,
}

/// What a browser gets.
#[derive(Debug)]
pub enum Answer {
    Page(Page),
    /// To go somewhere else, with a cookie perhaps.
    Go {
        to: String,
        /// `Set-Cookie`
        cookie: Option<String>,
    },
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self::Page(page)
    }
}

/// The parameters of a request. One that is there twice makes all of it void (RFC 6749 section 3.1).
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// From the text after the question mark.
    pub fn read(text: &str) -> Option<Self> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        parameters.retain(|_, value| !value.is_empty());
        Some(Self(parameters))
    }

    /// One of them; none if it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn link(place: &Managed) -> Option<&AuthorizationLink> {
    place.grant.value.by_link.link.as_ref()
}

impl Site {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn look(&self, namespace: &str, name: &str) -> Result<Option<Managed>, StoreError> {
        self.store.read_managed(&self.scope, namespace, name).await
    }

    fn link(&self, place: &Managed) -> Option<String> {
        link(place)?.link(self.address.base(), &place.spec, self.now())
    }

    fn return_to(&self, wanted: Option<&str>) -> Option<String> {
        let wanted = wanted.filter(|url| url.len() <= MAX_ONWARD)?;
        self.returns.iter().find_map(|site| site.admit(wanted))
    }
}

fn in_trouble(error: &StoreError) -> Answer {
    warn!("a page could not be made: {error}");
    words::trouble().into()
}

/// The link was opened: the user is sent to the server, and the browser remembers.
pub async fn begin(site: &Site, namespace: &str, name: &str, query: &Query) -> Answer {
    let place = match site.look(namespace, name).await {
        Ok(place) => place,
        Err(error) => return in_trouble(&error),
    };
    let Some(place) = place else { return words::void_link().into() };
    let (spec, now) = (&place.spec, site.now());
    let ticket = query.get("ticket").unwrap_or_default();
    let Some(link) = link(&place).filter(|link| link.admits(ticket, &spec.uid, now)) else {
        return words::void_link().into();
    };
    if spec.suspend {
        return words::not_now("It is suspended (spec.suspend).").into();
    }
    let server = match &spec.server {
        Ok(server) => server,
        Err(why) => return words::not_now(&format!("Its spec cannot be used: {why}.")).into(),
    };
    let endpoint = match &server.authorization_url {
        Ok(url) => url,
        Err(why) => {
            return words::not_now(&format!("The authorization page of the server is not known: {why}.")).into();
        }
    };
    let secret = match site.store.read_secret(namespace, &spec.client_secret_name).await {
        Ok(secret) => secret,
        Err(error) => return in_trouble(&error),
    };
    let client = match inputs::credentials(secret.as_ref(), &spec.client_secret_name) {
        Ok(client) => client,
        Err(why) => return words::not_now(&format!("Its client is not known: {why}.")).into(),
    };
    let session_id = SessionId::new(random(), &client, now);
    let cookie_session = SessionCookie {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        browser: random() + &random(),
        return_to: site.return_to(query.get("return")),
    };
    let session = AuthorizationSession {
        uid: &spec.uid,
        session_id: &session_id,
        browser: &cookie_session.browser,
        server: &server.token_url,
    };
    let Some(to) = link.authorization_request(endpoint, &client.id, &site.address.callback(), &spec.scopes, &session)
    else {
        return words::not_now("The address of its authorization page is not a URL.").into();
    };
    let cookie = cookie_session.set(&session_id, &site.address);
    info!(namespace, connection = name, session_id = session_id.id, "sent a user to the authorization server");
    Answer::Go { to, cookie }
}

/// 122 random bits, as 32 digits.
fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The server sent the user back. What comes with a state of ours, in the browser that left with it, is taken in, once.
pub async fn callback<'a>(site: &Site, query: &Query, cookies: impl Iterator<Item = &'a str>) -> Answer {
    let Some((state, session_id)) = query.get("state").and_then(|state| Some((state, SessionId::read(state)?))) else {
        return words::not_understood().into();
    };
    let Some(cookie_session) = SessionCookie::read(cookies, &session_id.id, &site.address) else {
        return words::other_browser().into();
    };
    let began = Instant::now();
    loop {
        let place = match site.look(&cookie_session.namespace, &cookie_session.name).await {
            Ok(place) => place,
            Err(error) if began.elapsed() > PATIENCE => return in_trouble(&error),
            Err(_) => {
                sleep(LOOK).await;
                continue;
            }
        };
        let Some(place) = place else { return words::void_link().into() };
        let grant = match accept_response(site, &place, &cookie_session, &session_id, state, query) {
            Ok(grant) => grant,
            Err(answer) => return *answer,
        };
        let (namespace, connection) = (&cookie_session.namespace, &cookie_session.name);
        match site.store.write_grant(&place.spec, *grant, Some(&place.grant.version)).await {
            Ok(_) => {
                info!(
                    namespace,
                    connection,
                    session_id = session_id.id,
                    "a user has authorized; the authorization code is in the grant Secret"
                );
                return Answer::Go { to: result_of(site, &session_id), cookie: None };
            }
            // Another write came first, or the outcome is unknown: read again, since it may have been stored.
            Err(error) if began.elapsed() > PATIENCE => return in_trouble(&error),
            Err(_) => sleep(LOOK).await,
        }
    }
}

fn result_of(site: &Site, session_id: &SessionId) -> String {
    format!("{}/result/{}", site.address.base(), session_id.id)
}

/// The grant with the code, or what else the browser gets.
fn accept_response(
    site: &Site,
    place: &Managed,
    cookie_session: &SessionCookie,
    session_id: &SessionId,
    state: &str,
    query: &Query,
) -> Result<Box<Grant>, Box<Answer>> {
    let page = |page: Page| Box::new(Answer::from(page));
    let (spec, grant, now) = (&place.spec, &place.grant.value, site.now());
    let taken = grant.by_link.session.as_ref().filter(|taken| taken.id == session_id.id);
    if taken.is_some_and(|taken| taken.browser == cookie_session.fingerprint()) {
        // It comes twice, or was stored although the answer was lost.
        return Err(Box::new(Answer::Go { to: result_of(site, session_id), cookie: None }));
    }
    let Ok(server) = &spec.server else { return Err(page(words::not_now("Its spec cannot be used."))) };
    let session = AuthorizationSession {
        uid: &spec.uid,
        session_id,
        browser: &cookie_session.browser,
        server: &server.token_url,
    };
    let Some(link) = link(place).filter(|ours| ours.knows(state, &session)) else {
        return Err(page(words::void_link()));
    };
    let again = site.link(place);
    if session_id.is_over(now) {
        return Err(page(words::too_slow(again)));
    }
    // RFC 9207: an answer that has another server's name was meant for someone else.
    if query.get("iss").is_some_and(|iss| !server.is_named(iss)) {
        warn!(
            "a response for {}/{} names another server (iss): if it is yours, set spec.server.issuer",
            spec.namespace, spec.name
        );
        return Err(page(words::other_server()));
    }
    if let Some(error) = query.get("error") {
        let known = words::known_error(error);
        info!(
            namespace = spec.namespace,
            connection = spec.name,
            error = known,
            "a user returned without an authorization"
        );
        return Err(page(words::not_authorized(known, again)));
    }
    let code = query.get("code").filter(|code| code.len() <= MAX_CODE && read_input(code.as_bytes()) == Ok(*code));
    let Some(code) = code else { return Err(page(words::not_understood())) };
    let arrival = AuthorizationResponse {
        id: session_id.id.clone(),
        browser: cookie_session.fingerprint(),
        code: AuthorizationCode::new(code),
        verifier: link.verifier(&session),
        server: server.token_url.clone(),
        client_id: session_id.client_id.clone(),
        redirect_uri: site.address.callback(),
    };
    Ok(Box::new(link::accept(grant, arrival, now)))
}

/// How the visit ended. The page waits for it for a while, and then looks again automatically.
pub async fn result<'a>(site: &Site, session_id: &str, cookies: impl Iterator<Item = &'a str>) -> Answer {
    let Some(cookie_session) = SessionCookie::read(cookies, session_id, &site.address) else {
        return words::other_browser().into();
    };
    let return_to = site.return_to(cookie_session.return_to.as_deref());
    let began = Instant::now();
    loop {
        let place = match site.look(&cookie_session.namespace, &cookie_session.name).await {
            Ok(Some(place)) => place,
            Ok(None) => return words::void_link().into(),
            Err(error) => return in_trouble(&error),
        };
        let taken = place.grant.value.by_link.session.as_ref();
        let Some(taken) = taken.filter(|taken| taken.id == session_id && taken.browser == cookie_session.fingerprint())
        else {
            return words::result(Some(SessionEnd::Replaced), return_to, None).into();
        };
        if taken.end.is_some() || began.elapsed() > LONG_POLL {
            return words::result(taken.end, return_to, site.link(&place)).into();
        }
        sleep(LOOK).await;
    }
}
