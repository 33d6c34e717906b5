//! Clients of the API server, and a way to use one from code that is not async.

use std::{path::Path, thread, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Client, Config,
    api::{Api, ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::error::{Error, file};

/// The testbed's own requests are small: a longer silence means a server that is frozen or not there.
const SILENCE: Duration = Duration::from_secs(5);

/// A client with the settings that kube gives it.
pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client, Error> {
    new_client(kubeconfig, config(kubeconfig).await?)
}

/// Whether the API server says that it is ready, and has made the namespaces that every cluster has.
pub(crate) fn is_ready(kubeconfig: &Path) -> Result<bool, Error> {
    wait_for(async {
        let namespaces = Api::<Namespace>::all(impatient(kubeconfig).await?);
        let Ok(readyz) = http::Request::get("/readyz").body(Vec::new()) else {
            return Ok(false);
        };
        let client = namespaces.clone().into_client();
        Ok(client.request_text(readyz).await.is_ok() && namespaces.get("default").await.is_ok())
    })
}

/// Creates a namespace.
pub(crate) fn create_namespace(kubeconfig: &Path, name: &str) -> Result<(), Error> {
    wait_for(async {
        let namespaces = Api::<Namespace>::all(impatient(kubeconfig).await?);
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        namespaces.create(&PostParams::default(), &namespace).await.map(drop).map_err(|source| Error::Request {
            doing: format!("create the namespace {name}"),
            source: Box::new(source),
        })
    })
}

async fn impatient(kubeconfig: &Path) -> Result<Client, Error> {
    let mut config = config(kubeconfig).await?;
    config.connect_timeout = Some(SILENCE);
    config.read_timeout = Some(SILENCE);
    config.default_retry = false;
    new_client(kubeconfig, config)
}

async fn config(path: &Path) -> Result<Config, Error> {
    // kube's TLS wants one provider to be chosen for the process; an error says that this was done already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let unusable = |source| Error::Kubeconfig { path: path.into(), source };
    let kubeconfig = Kubeconfig::read_from(path).map_err(unusable)?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?;
    // kube takes one from HTTPS_PROXY, and no proxy reaches our loopback.
    config.proxy_url = None;
    Ok(config)
}

fn new_client(kubeconfig: &Path, config: Config) -> Result<Client, Error> {
    Client::try_from(config).map_err(|source| Error::Request {
        doing: format!("make a client with {}", kubeconfig.display()),
        source: Box::new(source),
    })
}

/// Waits for async work, also where the caller's thread belongs to a runtime that must not be blocked on:
/// hence a thread and a runtime of its own.
fn wait_for<T: Send>(work: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(file("start a runtime for", "kube's client"))?.block_on(work)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
