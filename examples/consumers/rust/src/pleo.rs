//! Calls the Pleo API with the access token of a `PleoConnection`, whose token Secret is mounted as a folder.
//!
//! A rotation invalidates the token before it, and the file follows a moment later. So the token is read again for
//! each call, and a 401 means: wait until the file holds another one, then call once more. That is safe for every method,
//! as a request that was answered with 401 was not carried out. While a rotation is planned for about now, calls wait for it;
//! and a token that the API rejects for no such reason is reported, so that the operator refreshes it early.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, fs, io, thread};

use ring::hmac;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use ureq::http::{Request, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, AsSendBody, Body};

/// How long a call waits for a usable token. For as long, a refused token is not sent again; after that it is tried once
/// more, in case the 401 had another cause.
const PATIENCE: Duration = Duration::from_secs(120);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Calls wait from a moment before a planned rotation to so long after it.
const EARLY: Duration = Duration::from_millis(250);
const WINDOW: Duration = Duration::from_secs(3);

/// How long a token has been refused before that is reported: another may be on its way.
const REPORT_AFTER: Duration = Duration::from_secs(3);

/// When it is reported again: after a report that was not taken, and after one that was.
const RETRY_AFTER: Duration = Duration::from_secs(10);
const REPORT_AGAIN: Duration = Duration::from_secs(600);

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// A user must authorize again, so there is no use in calling.
    ReauthRequired(PathBuf),
    /// There was no usable token for as long as `PATIENCE`.
    NoToken(PathBuf, String),
    /// The folder cannot be read.
    Folder(PathBuf, io::Error),
    /// No request can be made of what was given, or no answer came.
    Http(ureq::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReauthRequired(folder) => {
                write!(f, "a user must authorize again (state ReauthRequired in {})", folder.display())
            }
            Self::NoToken(folder, reason) => {
                write!(f, "no usable token in {} for {} s: {reason}", folder.display(), PATIENCE.as_secs())
            }
            Self::Folder(folder, error) => write!(f, "{} cannot be read: {error}", folder.display()),
            Self::Http(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Share one among all threads, so that a token refused to one is not sent by the others.
pub struct Pleo {
    folder: PathBuf,
    on_refused: fn(),
    agent: Agent,
    refused: Mutex<Option<(String, Instant)>>,
    report_url: Option<String>,
    /// When a token may be reported again.
    report_not_before: Mutex<Option<Instant>>,
}

/// What stands in the folder: a token that may be sent, or why to wait.
enum Look {
    Token(String),
    Wait(String),
}

impl Pleo {
    pub fn new(folder: PathBuf, on_refused: fn()) -> Self {
        let roots = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(roots)
            .https_only(true)
            // A redirect could carry the token to another host; none is followed.
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        let (refused, report_not_before) = (Mutex::new(None), Mutex::new(None));
        Self { folder, on_refused, agent: config.into(), refused, report_url: None, report_not_before }
    }

    /// Reports tokens that the API rejects to this URL, which is the operator's for this connection.
    pub fn reporting_to(self, url: Option<String>) -> Self {
        Self { report_url: url, ..self }
    }

    /// Sends a request with the token, and gives the answer, whatever its status. A body must be such that it can be sent
    /// twice: text or bytes.
    pub fn call<B: AsSendBody + Clone>(&self, request: &Request<B>) -> Result<Response<Body>, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let token = self.usable(deadline)?;
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|error| Error::Http(ureq::Error::Http(error.into())))?;
            // Keeps it out of debug prints.
            bearer.set_sensitive(true);
            let mut attempt = request.clone();
            attempt.headers_mut().insert(AUTHORIZATION, bearer);
            let response = self.agent.run(attempt).map_err(Error::Http)?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((token, Instant::now()));
            (self.on_refused)();
        }
    }

    /// Waits for a token that may be sent.
    fn usable(&self, deadline: Instant) -> Result<String, Error> {
        let mut pause = Duration::from_millis(100);
        loop {
            let reason = match self.look()? {
                Look::Token(token) => return Ok(token),
                Look::Wait(reason) => reason,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::NoToken(self.folder.clone(), reason));
            }
            thread::sleep(pause.min(left));
            pause = (2 * pause).min(LAST_PAUSE);
            self.report();
        }
    }

    /// The folder may be updated between the two files, so the token goes first: whatever is mixed up then ends in one
    /// more look or in a 401.
    fn look(&self) -> Result<Look, Error> {
        let token = self.read("access_token")?;
        let Some(state) = self.read("state")? else {
            return Ok(Look::Wait("there is no file state".to_owned()));
        };
        let token = match (state.as_str(), token) {
            ("ReauthRequired", _) => return Err(Error::ReauthRequired(self.folder.clone())),
            ("Pending" | "Expired", _) | (_, None) => return Ok(Look::Wait(format!("state {state}"))),
            (_, Some(token)) => token,
        };
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.as_ref().is_some_and(|(other, at)| *other == token && at.elapsed() <= PATIENCE) {
            return Ok(Look::Wait("the API refused the current one".to_owned()));
        }
        drop(refused);
        if self.is_due()? {
            return Ok(Look::Wait("it is refreshed in a moment".to_owned()));
        }
        Ok(Look::Token(token))
    }

    /// Whether the operator plans to rotate about now. Without a plan, or one that is not understood: no.
    fn is_due(&self) -> Result<bool, Error> {
        let due = self.read("refresh_at")?.and_then(|text| humantime::parse_rfc3339(&text).ok());
        let Some(due) = due else { return Ok(false) };
        let now = SystemTime::now();
        Ok(now >= due - EARLY && now < due + WINDOW)
    }

    /// Reports the token that was refused. What is sent proves that this program has it; the token stays here.
    fn report(&self) {
        let Some((url, token)) = self.report_url.as_ref().zip(self.unreported()) else { return };
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let proof: String =
            hmac::sign(&key, b"pleo-operator rejection v1").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        // Not by the proxy of the environment: the operator is in the cluster.
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(5)))
            .build();
        let body = format!(r#"{{"proof": "{proof}"}}"#);
        // If it fails it is tried again, and the operator notices at the next planned rotation anyway.
        let answer = Agent::from(config).post(url).header(CONTENT_TYPE, "application/json").send(body);
        if answer.is_ok_and(|response| response.status() == StatusCode::ACCEPTED) {
            *self.report_not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REPORT_AGAIN);
        }
    }

    /// A token that has been refused for a while, is still the current one, and is to be reported now.
    fn unreported(&self) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (token, _) = refused.filter(|(_, at)| at.elapsed() >= REPORT_AFTER)?;
        let is_current = self.read("access_token").ok()?.is_some_and(|current| current == token);
        let mut not_before = self.report_not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = is_current && not_before.is_none_or(|at| at <= Instant::now());
        if is_due {
            *not_before = Some(Instant::now() + RETRY_AFTER);
        }
        is_due.then_some(token)
    }

    /// Exactly as it is stored: tokens are opaque.
    fn read(&self, key: &str) -> Result<Option<String>, Error> {
        match fs::read_to_string(self.folder.join(key)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Folder(self.folder.clone(), error)),
        }
    }
}
