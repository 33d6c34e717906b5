//! How a sandbox is set up and started: options, certificates, sockets, the thread with its runtime.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use thiserror::Error;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    authority::{Authority, Client, Lifetimes},
    control::Control,
    listener::Listener,
    shared::{Observer, Shared},
    tls::{Identity, TlsError},
};

/// How a sandbox is set up.
#[derive(Clone)]
pub struct Options {
    /// Where token endpoint and API listen; loopback by default.
    pub address: IpAddr,
    /// Their port; 0, the default, means any.
    pub port: u16,
    /// The port of the control path, on loopback always; 0, the default, means any, and none means
    /// that there is no control path.
    pub control_port: Option<u16>,
    /// Names in the certificate besides `localhost`, `127.0.0.1` and `::1`.
    pub extra_names: Vec<String>,
    /// The lives of tokens, where a connection has none of its own.
    pub lifetimes: Lifetimes,
    /// The id of the first client.
    pub client_id: String,
    /// Its secret; a public client has none.
    pub client_secret: Option<String>,
    /// Where users of that client may be sent back to.
    pub redirect_uris: Vec<String>,
    /// What tokens are made from: equal seeds make equal tokens. Drawn at random by default.
    pub seed: Option<u64>,
    /// Called with every finished exchange.
    pub on_exchange: Option<Observer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            control_port: Some(0),
            extra_names: Vec::new(),
            lifetimes: Lifetimes::default(),
            client_id: "sandbox-client".to_owned(),
            client_secret: Some("sandbox-secret".to_owned()),
            redirect_uris: Vec::new(),
            seed: None,
            on_exchange: None,
        }
    }
}

/// Why a sandbox cannot be started, or its listener not again.
#[derive(Debug, Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: choose another port, or 0 for any")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificates cannot be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no thread or no runtime to be had.
    #[error("no thread can be started")]
    Thread(#[source] io::Error),
    /// The sandbox's thread has ended.
    #[error("the sandbox has ended")]
    Ended,
}

/// What the sandbox's thread has started.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) runtime: Handle,
    pub(super) listener: Arc<Listener>,
    pub(super) control: Option<SocketAddr>,
}

/// A sandbox that has started.
pub(super) struct Started {
    pub(super) shared: Arc<Shared>,
    pub(super) servers: Servers,
    pub(super) ca_pem: String,
    pub(super) end: oneshot::Sender<()>,
    pub(super) thread: JoinHandle<()>,
}

/// Starts the thread, and waits until it listens.
pub(super) fn start(options: Options) -> Result<Started, Error> {
    let identity = Identity::new(&options.extra_names)?;
    let ca_pem = identity.ca_pem.clone();
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(()));
    let redirect_uris = options.redirect_uris.clone();
    let client = Client { redirect_uris, ..Client::new(options.client_secret.clone()) };
    let authority = Authority::new(seed, options.lifetimes, &options.client_id, client);
    let shared = Arc::new(Shared::new(authority, options.on_exchange.clone()));
    let (started, start) = mpsc::channel();
    let (end, ended) = oneshot::channel();
    let state = shared.clone();
    let thread = thread::Builder::new()
        .name("pleo-sandbox".to_owned())
        .spawn(move || run(&options, identity, state, &started, ended))
        .map_err(Error::Thread)?;
    let servers = start.recv().map_err(|_| Error::Ended)??;
    Ok(Started { shared, servers, ca_pem, end, thread })
}

/// The sandbox's thread.
fn run(
    options: &Options,
    identity: Identity,
    shared: Arc<Shared>,
    started: &mpsc::Sender<Result<Servers, Error>>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(Error::Thread(error)));
            return;
        }
    };
    runtime.block_on(async {
        let servers = serve(options, identity, shared).await;
        let running = servers.is_ok();
        let _ = started.send(servers);
        if running {
            // Ends with an error when the sandbox is dropped, which is what it waits for.
            let _ = ended.await;
        }
    });
}

async fn serve(options: &Options, identity: Identity, shared: Arc<Shared>) -> Result<Servers, Error> {
    let address = SocketAddr::new(options.address, options.port);
    let listener = Listener::start(address, identity.config, shared.clone())
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let listener = Arc::new(listener);
    let control = match options.control_port {
        None => None,
        Some(port) => {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
            let control = Control { shared, listener: listener.clone(), ca_pem: identity.ca_pem.into() };
            Some(control.serve(address).await.map_err(|source| Error::Listen { address, source })?)
        }
    };
    Ok(Servers { runtime: Handle::current(), listener, control })
}
