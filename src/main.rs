//! The program: arguments to a running operator or proxy, and its exit status: 0 after SIGTERM, 2 for bad arguments, 1 otherwise, each
//! with one line that says what to do.

#![forbid(unsafe_code)]
// What ends a program in the middle of a token's life, or changes a number unseen. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

use std::{collections::BTreeSet, io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use kube::CustomResourceExt;
use pleo_operator::{
    api::PleoConnection,
    cli::{self, Command, Introspection, ProxyArgs, Refused, RunArgs, WebhookUrl},
    clock::{Clock, SystemClock},
    cluster::{Store, client, connections::Scope, lease::LeaseConfig},
    domain::{ledger::grant::Holder, plan::schedule::Pace, spec::AllowedServers},
    notify::{KeyFile, Outbox, Patience, Webhook},
    operator::{context::Policy, run::Operator},
    pleo::HttpTokenEndpoint,
    ports,
    proxy::{self, config::Config, run::Proxy, server::Listener},
    reports::{self, intake::Intake},
    telemetry::{admin, logs, metrics::Metrics},
    web::{self, authorize::Site},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn main() -> ExitCode {
    let done = match cli::parse() {
        Ok(cli) => match cli.command {
            Command::Run(args) => run_on(Runtime::new(), serve(*args)),
            // Beside a program, one thread is enough, and cheaper.
            Command::Proxy(args) => run_on(Builder::new_current_thread().enable_all().build(), proxy(*args)),
            Command::Crd => print_crd(),
            Command::Version => print(env!("CARGO_PKG_VERSION").to_owned() + "\n"),
        },
        Err(Refused::Text(text)) => print(text),
        Err(Refused::Usage(line)) => {
            eprintln!("{line}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pleo-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: String) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

fn print_crd() -> anyhow::Result<()> {
    let yaml = serde_saphyr::to_string(&PleoConnection::crd()).context("the CRD has no YAML form")?;
    print(yaml)
}

fn run_on(runtime: std::io::Result<Runtime>, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = runtime.context("cannot start threads")?;
    let done = runtime.block_on(work);
    // A name that is being looked up for a webhook must not hold us up: all work is done.
    runtime.shutdown_background();
    done
}

async fn serve(args: RunArgs) -> anyhow::Result<()> {
    logs::init(args.log_format);
    install_tls()?;
    let stop = stop_on_signal()?;
    let (client, namespace) = client::connect().await?;
    let metrics = Arc::new(Metrics::new());
    let listener = admin::listen(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --admin-address", args.admin_address))?;
    let served = CancellationToken::new();
    let pages = pages(&args, client.clone(), &served).await?;
    let reports = reports(&args, client.clone(), &metrics, &served).await?;
    let (outbox, notices) = notices(&args, &metrics);
    let admin = tokio::spawn(admin::serve(listener, Arc::clone(&metrics), served.clone()));
    let holder = holder(&args)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), identity = holder.identity, "starting");
    operator(args, client, namespace, holder, outbox, metrics).run(stop).await;
    served.cancel();
    // A scraper that never finishes its request, or a receiver that is not there, must not hold us up.
    let _ = tokio::time::timeout(Duration::from_secs(2), futures::future::join3(admin, pages, reports)).await;
    if tokio::time::timeout(Duration::from_secs(2), notices).await.is_err() {
        tracing::warn!("notices that wait for the webhook are lost; the conditions and the alert tell the same");
    }
    tracing::info!("stopped");
    Ok(())
}

/// One provider for all clients; a second installation would be a second provider.
fn install_tls() -> anyhow::Result<()> {
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| anyhow::anyhow!("another TLS provider is installed already"))
}

async fn proxy(args: ProxyArgs) -> anyhow::Result<()> {
    logs::init(args.log_format);
    anyhow::ensure!(
        !proxy::run::is_shared_with_node(args.host_ip.as_deref(), args.pod_ip.as_deref(), &args.listen),
        "the pod uses the node's network, so every pod of the node could call through the proxy: --listen unix:PATH"
    );
    install_tls()?;
    let stop = stop_on_signal()?;
    let read = |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
    let config = Config {
        token_dir: args.token_dir,
        upstream: args.upstream,
        upstream_ca: args.upstream_ca_file.map(read).transpose()?,
        max_hold: args.max_hold,
        allowed_hosts: args.allowed_hosts,
        report_url: args.report_url,
        reconnect_url: args.reconnect_url,
    };
    let (listen, upstream) = (args.listen, config.upstream.clone());
    let listener =
        Listener::open(&listen).await.with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
    let address = listener.address(&listen)?;
    let admin = admin::listen(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --admin-address", args.admin_address))?;
    let proxy = Proxy::new(config, listener, &address, Arc::new(SystemClock))
        .context("cannot trust the API: see --upstream-ca-file")?;
    tokio::spawn(proxy::run::serve_admin(admin, proxy.metrics()));
    if address.is_open_to_others() {
        tracing::warn!(address = %address, "anyone who reaches this address can call the API as the connection");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), address = %address, upstream = %upstream, "forwarding calls");
    proxy.run(stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// The authorization pages, if there is an address for them. Each replica serves them, leading or not.
async fn pages(args: &RunArgs, client: kube::Client, stop: &CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let Some(address) = args.public_url.clone() else { return Ok(tokio::spawn(async {})) };
    let listener = TcpListener::bind(args.link_address)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --link-address", args.link_address))?;
    let redirect_uri = address.callback();
    tracing::info!(address = %args.link_address, redirect_uri, "serving the authorization pages");
    let site = Site {
        store: Store::new(client),
        clock: Arc::new(SystemClock),
        address,
        returns: args.allowed_returns.clone(),
        scope: scope(args),
    };
    Ok(tokio::spawn(web::server::serve(listener, Arc::new(site), stop.clone())))
}

/// Takes reports of rejected tokens, if there is an address for them. Each replica does, leading or not.
async fn reports(
    args: &RunArgs,
    client: kube::Client,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let Some(address) = args.report_address else { return Ok(tokio::spawn(async {})) };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another --report-address"))?;
    tracing::info!(%address, "taking reports of rejected tokens");
    let intake = Intake::new(Store::new(client), Arc::new(SystemClock), scope(args), Arc::clone(metrics));
    Ok(tokio::spawn(ports::serve(listener, reports::server::router(Arc::new(intake)), ports::INTERNAL, stop.clone())))
}

fn scope(args: &RunArgs) -> Scope {
    Scope { allowed: AllowedServers::new(args.allowed_servers.clone()), namespaces: args.namespaces.clone() }
}

/// Sends notices to the webhook, if there is one, until the operator has ended.
fn notices(args: &RunArgs, metrics: &Arc<Metrics>) -> (Outbox, JoinHandle<()>) {
    let url = args.notify_url.as_ref().and_then(WebhookUrl::get);
    let (Some(url), Some(file)) = (url, &args.notify_key_file) else {
        if args.notify_key_file.is_some() {
            tracing::warn!("--notify-key-file without --notify-url: no webhook is notified");
        }
        return (Outbox::closed(), tokio::spawn(async {}));
    };
    tracing::info!("notifying a webhook when a user must authorize");
    let key = KeyFile::new(file);
    if let Err(error) = key.read() {
        // No reason to refresh no tokens: it may come yet.
        tracing::error!("no notices can be sent to the webhook: {:#}", anyhow::Error::from(error));
    }
    let (metrics, clock) = (Arc::clone(metrics), Arc::new(SystemClock));
    let webhook = Webhook { url: url.clone(), key, patience: Patience::default(), clock, metrics };
    let (outbox, notices) = Outbox::new();
    let serving = tokio::spawn(async {
        if let Err(error) = webhook.serve(notices).await {
            tracing::error!("no notices are sent: {error}");
        }
    });
    (outbox, serving)
}

fn operator(
    args: RunArgs,
    client: kube::Client,
    namespace: String,
    holder: Holder,
    outbox: Outbox,
    metrics: Arc<Metrics>,
) -> Operator {
    let clock: Clock = Arc::new(SystemClock);
    Operator {
        store: Store::new(client),
        endpoint: Arc::new(HttpTokenEndpoint::new(Arc::clone(&clock), args.request_timeout)),
        clock,
        policy: Policy {
            holder,
            namespaces: args.namespaces.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            allowed: AllowedServers::new(args.allowed_servers),
            pace: Pace { request_timeout: args.request_timeout },
            introspection: args.introspection == Introspection::Auto,
            links: args.public_url.map(|address| address.base().to_owned()),
            concurrency: args.concurrency,
            max_refusals: args.max_refusals,
            notify_pods_per_second: args.notify_pods_per_second,
        },
        lease: LeaseConfig {
            namespace: args.lease_namespace.unwrap_or(namespace),
            name: args.lease_name,
            duration: args.lease_duration,
        },
        outbox,
        metrics,
    }
}

/// In a cluster the host name is the pod's name; elsewhere two processes may share a host.
fn holder(args: &RunArgs) -> anyhow::Result<Holder> {
    let process = Uuid::new_v4().to_string();
    let identity = match &args.identity {
        Some(identity) => identity.clone(),
        None => {
            let host = hostname::get().context("the host has no name: set --identity")?.to_string_lossy().into_owned();
            let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            if in_cluster { host } else { format!("{host}-{}", process.chars().take(8).collect::<String>()) }
        }
    };
    Ok(Holder { identity, process })
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no new work; what is in flight is drained");
        stopping.cancel();
    });
    Ok(stop)
}
