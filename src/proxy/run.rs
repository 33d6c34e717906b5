//! Starts the proxy, and drains it. It never exits for a token that is missing or wrong.

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use uuid::Uuid;

use super::{
    config::{Config, Listen, ReportUrl},
    forward::{Forward, Limits},
    metrics::Metrics,
    reporter,
    rules::Hosts,
    server::Listener,
    token::keeper::Keeper,
    upstream::{Upstream, UpstreamError},
};
use crate::{clock::Clock, ports, telemetry::admin::OPENMETRICS};

/// Without a call for this long, there is nothing left to do,
const IDLE: Duration = Duration::from_millis(500);
/// and after this long the proxy ends all the same: the kubelet's patience is 30 s.
const LONGEST_DRAIN: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);

/// A proxy that listens.
pub struct Proxy {
    listener: Listener,
    forward: Arc<Forward>,
    keeper: Arc<Keeper>,
    metrics: Arc<Metrics>,
    report_url: Option<ReportUrl>,
}

impl Proxy {
    /// Puts it together; nothing is sent yet. `address` is where `listener` listens.
    ///
    /// # Errors
    /// If the API could not be trusted.
    pub fn new(config: Config, listener: Listener, address: &Listen, clock: Clock) -> Result<Self, UpstreamError> {
        let keeper = Keeper::new(config.token_dir, clock, config.max_hold);
        let metrics = Arc::new(Metrics::new(Arc::clone(&keeper)));
        let forward = Arc::new(Forward {
            keeper: Arc::clone(&keeper),
            upstream: Upstream::new(config.upstream, config.upstream_ca.as_deref())?,
            hosts: Hosts::new(address, &config.allowed_hosts),
            own_name: format!("pleo-proxy-{}", Uuid::new_v4().simple()),
            reconnect_url: config.reconnect_url,
            metrics: Arc::clone(&metrics),
            limits: Limits::default(),
        });
        Ok(Self { listener, forward, keeper, metrics, report_url: config.report_url })
    }

    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Forwards calls until `stop`, and then until none has come for half a second.
    pub async fn run(self, stop: CancellationToken) {
        let watching = tokio::spawn(Arc::clone(&self.keeper).watch());
        let reporting = self.report_url.map(|url| {
            let own_name = self.forward.own_name.clone();
            tokio::spawn(report(reporter::run(self.keeper, url, own_name, Arc::clone(&self.metrics))))
        });
        let serving = tokio::spawn(self.listener.serve(self.forward));
        stop.cancelled().await;
        info!("stopping: calls are still taken until there are none");
        drain(&self.metrics).await;
        serving.abort();
        watching.abort();
        reporting.iter().for_each(JoinHandle::abort);
    }
}

async fn report(reporting: impl Future<Output = Result<(), reqwest::Error>>) {
    if let Err(error) = reporting.await {
        error!("rejected tokens are not reported: {error}");
    }
}

async fn drain(metrics: &Metrics) {
    let end = Instant::now() + LONGEST_DRAIN;
    let mut idle_since = Instant::now();
    while Instant::now() < end && idle_since.elapsed() < IDLE {
        if metrics.in_flight() > 0 {
            idle_since = Instant::now();
        }
        sleep(POLL).await;
    }
}

/// `/livez` and `/metrics`; whether there is a token makes no difference to either, for a restart brings none.
pub async fn serve_admin(listener: TcpListener, metrics: Arc<Metrics>) {
    let text = move || {
        let metrics = Arc::clone(&metrics);
        async move {
            match metrics.text() {
                Ok(text) => (StatusCode::OK, [("content-type", OPENMETRICS)], text).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
    };
    let router = Router::new().route("/livez", get(|| async { "ok\n" })).route("/metrics", get(text));
    ports::serve(listener, router, ports::INTERNAL, CancellationToken::new()).await;
}

/// Whether every pod of the node could call through this address: the pod uses its network.
pub fn is_shared_with_node(host_ip: Option<&str>, pod_ip: Option<&str>, listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(_) => host_ip.is_some() && host_ip == pod_ip,
        Listen::Unix(_) => false,
    }
}
