//! The sandbox as a Rust value: starts the servers on a thread and a runtime of their own, so that
//! a caller needs no runtime, or may have one whose time is paused.

mod start;

pub use start::{Error, Options};

use crate::authority::{Authority, Client, Counters, ExchangeRecord, FamilyState, Lifetimes};
use crate::script::{Script, Step};
use crate::shared::{Calls, Shared, Timeout};
use start::{Servers, Started};
use std::future::Future;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A running sandbox. Dropping it ends it.
pub struct Sandbox {
    shared: Arc<Shared>,
    servers: Servers,
    ca_pem: String,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a sandbox. It answers as soon as this returns.
    ///
    /// # Errors
    /// A port is taken, or a name cannot stand in a certificate.
    pub fn start(options: Options) -> Result<Self, Error> {
        let Started { shared, servers, ca_pem, end, thread } = start::start(options)?;
        Ok(Self { shared, servers, ca_pem, end: Some(end), thread: Some(thread) })
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.origin())
    }

    /// The authorization endpoint, with a consent page for people. Without one: [`Sandbox::consent`].
    #[must_use]
    pub fn authorization_url(&self) -> String {
        format!("{}/oauth/authorize", self.origin())
    }

    /// The introspection endpoint (RFC 7662).
    #[must_use]
    pub fn introspection_url(&self) -> String {
        format!("{}/introspect", self.token_url())
    }

    /// The API endpoint that checks an access token.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("{}/v1/me", self.origin())
    }

    /// Scheme, host and port of the server.
    #[must_use]
    pub fn origin(&self) -> String {
        self.servers.listener.origin()
    }

    /// The control path, if there is one.
    #[must_use]
    pub fn control_url(&self) -> Option<String> {
        self.servers.control.map(|address| format!("http://{address}"))
    }

    /// The CA to be trusted.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The user consents: returns the first refresh token of a new family, beside earlier ones.
    pub fn consent(&self, name: &str) -> String {
        self.shared.change(|state, now| state.authority.consent(now, name, None))
    }

    /// The same for another client than the connection's last one.
    pub fn consent_to(&self, name: &str, client_id: &str) -> String {
        self.shared.change(|state, now| state.authority.consent(now, name, Some(client_id)))
    }

    /// The user takes every consent of the connection back.
    pub fn revoke(&self, name: &str) {
        self.shared.change(|state, _| state.authority.revoke(name));
    }

    /// The newest refresh token of every family of the connection expires now.
    pub fn expire_refresh_tokens(&self, name: &str) {
        self.shared.change(|state, now| state.authority.expire_refresh_tokens(now, name));
    }

    /// The API rejects the newest access tokens of the connection from now on.
    pub fn reject_access_tokens(&self, name: &str) {
        self.shared.change(|state, now| state.authority.reject_access_tokens(now, name));
    }

    /// Queues steps, one for each exchange to come. A step that cannot be carried out is answered
    /// with 500; [`Step::validate`] tells beforehand.
    pub fn script(&self, name: &str, steps: Vec<Step>) {
        self.shared.change(|state, _| state.scripts.push(name, steps));
    }

    /// From now on, until cleared: this step whenever none is queued.
    pub fn repeat(&self, name: &str, step: Step) {
        self.shared.change(|state, _| state.scripts.repeat(name, step));
    }

    /// The server behaves again.
    pub fn clear_script(&self, name: &str) {
        self.shared.change(|state, _| state.scripts.clear(name));
    }

    /// What is left of the script.
    #[must_use]
    pub fn pending_script(&self, name: &str) -> Script {
        self.shared.read(|state| state.scripts.pending(name))
    }

    /// Queues steps for the introspections to come, one for each; [`Step::validate_introspection`]
    /// tells what a step may say.
    pub fn script_introspection(&self, name: &str, steps: Vec<Step>) {
        self.shared.change(|state, _| state.introspections.push(name, steps));
    }

    /// Lets go of the exchanges and introspections of the connection that a script holds now.
    pub fn release(&self, name: &str) {
        self.shared.release(name);
    }

    /// Sets the lives of tokens that are issued to the connection from now on.
    pub fn set_lifetimes(&self, name: &str, access: Duration, refresh: Duration) {
        self.shared.change(|state, _| state.authority.set_lifetimes(name, Lifetimes { access, refresh }));
    }

    /// The same for every connection that has none of its own.
    pub fn set_default_lifetimes(&self, lifetimes: Lifetimes) {
        self.shared.change(|state, _| state.authority.set_default_lifetimes(lifetimes));
    }

    /// Registers a client, or replaces it; a public one has no secret.
    pub fn set_client(&self, client_id: &str, secret: Option<&str>) {
        self.replace_client(client_id, Client::new(secret.map(str::to_owned)));
    }

    /// The client's users may be sent back there from now on.
    pub fn allow_redirect(&self, client_id: &str, redirect_uri: &str) {
        self.shared.change(|state, _| state.authority.allow_redirect(client_id, redirect_uri));
    }

    /// The same, with a choice of how it may authenticate.
    pub fn replace_client(&self, client_id: &str, client: Client) {
        self.shared.change(|state, _| state.authority.set_client(client_id, client));
    }

    /// What was counted for the connection.
    #[must_use]
    pub fn counters(&self, name: &str) -> Counters {
        self.read(|authority| authority.counters(name))
    }

    /// How the families of the connection stand.
    #[must_use]
    pub fn families(&self, name: &str) -> Vec<FamilyState> {
        self.read(|authority| authority.families(name))
    }

    /// All exchanges in the order of their beginning.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ExchangeRecord> {
        self.read(|authority| authority.exchanges().to_vec())
    }

    /// Every token ever issued.
    #[must_use]
    pub fn issued_tokens(&self) -> Vec<String> {
        self.read(|authority| authority.issued_tokens().to_vec())
    }

    /// Requests to the token endpoint that were too malformed to be exchanges.
    #[must_use]
    pub fn malformed_requests(&self) -> u64 {
        self.read(Authority::malformed_requests)
    }

    /// What became of calls to the API under `/v1/calls/ID`.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.shared.read(|state| state.calls.clone())
    }

    /// The connection whose living access token this is.
    #[must_use]
    pub fn access_is_good(&self, access_token: &str) -> Option<String> {
        let now = self.now();
        self.read(|authority| authority.check_access(now, access_token).ok().map(str::to_owned))
    }

    /// The time since the start, in which all instants are told.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Reads anything of the authority at one instant.
    pub fn read<T>(&self, read: impl FnOnce(&Authority) -> T) -> T {
        self.shared.read(|state| read(&state.authority))
    }

    /// Blocks this thread until the authority is as wanted. It is looked at after every change;
    /// that a token expires is none.
    ///
    /// # Errors
    /// It did not come to that in time.
    pub fn wait_for(&self, timeout: Duration, wanted: impl FnMut(&Authority) -> bool) -> Result<(), Timeout> {
        self.shared.wait_for(timeout, wanted)
    }

    /// The same without blocking, for async callers. It waits in real time, on a thread of tokio's
    /// blocking pool; a runtime whose time is paused does not advance meanwhile.
    ///
    /// # Errors
    /// It did not come to that in time.
    pub async fn until(
        &self,
        timeout: Duration,
        wanted: impl FnMut(&Authority) -> bool + Send + 'static,
    ) -> Result<(), Timeout> {
        let shared = self.shared.clone();
        let waiting = tokio::task::spawn_blocking(move || shared.wait_for(timeout, wanted));
        waiting.await.unwrap_or(Err(Timeout(timeout)))
    }

    /// An outage begins: the listener and all connections are closed. Exchanges under way go on
    /// inside the server. The control path stays.
    pub fn stop(&self) {
        let listener = self.servers.listener.clone();
        // Without its thread there is no listener either.
        let _ = self.on_runtime(async move { listener.pause().await });
    }

    /// The outage ends: the server listens again, on the same port.
    ///
    /// # Errors
    /// The port is taken by somebody else.
    pub fn restart(&self) -> Result<(), Error> {
        let listener = self.servers.listener.clone();
        let address = listener.address();
        self.on_runtime(async move { listener.resume().await })?.map_err(|source| Error::Listen { address, source })
    }

    fn on_runtime<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
        let (done, result) = mpsc::channel();
        self.servers.runtime.spawn(async move {
            let _ = done.send(work.await);
        });
        result.recv().map_err(|_| Error::Ended)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
