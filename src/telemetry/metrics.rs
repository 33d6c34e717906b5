//! Metrics. Gauges of connections are computed when they are scraped, from what the watches know, so nothing outlives
//! a deleted connection; a standby shows none.

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use kube_runtime::reflector::Store;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::gauges::{ConnectionGauges, ServerGauges, Servers, Views};
use crate::{
    api::{PleoConnection, SecuritySignal},
    domain::{
        failure::Outcome, introspection::Introspected, ledger::authorization::SessionEnd,
        plan::rejection_report::Ignored, queue::ServerView,
    },
};

/// Bounds of the histograms, in seconds: an exchange may take a minute, a commit should take a hundredth.
const EXCHANGE_BOUNDS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
const COMMIT_BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

/// What is counted and shown.
pub struct Metrics {
    registry: Registry,
    attempts: Family<OutcomeLabel, Counter>,
    exchange: Histogram,
    commit: Histogram,
    introspections: Family<OutcomeLabel, Counter>,
    reports: Family<OutcomeLabel, Counter>,
    pod_notifications: Family<OutcomeLabel, Counter>,
    restarts: Family<OutcomeLabel, Counter>,
    authorizations: Family<OutcomeLabel, Counter>,
    notices: Family<OutcomeLabel, Counter>,
    signals: Family<SignalLabel, Counter>,
    watch_errors: Family<ResourceLabel, Counter>,
    leader: Gauge<i64, AtomicI64>,
    views: Views,
    servers: Servers,
    ready: AtomicBool,
}

fn introspections(registry: &mut Registry) -> Family<OutcomeLabel, Counter> {
    let counted: Family<OutcomeLabel, Counter> = Family::default();
    registry.register("introspections", "Questions whether a token is active, by answer", counted.clone());
    for answer in Introspected::ALL {
        drop(Family::get_or_create(&counted, &OutcomeLabel { outcome: answer.label() }));
    }
    counted
}

fn reports(registry: &mut Registry) -> Family<OutcomeLabel, Counter> {
    let counted: Family<OutcomeLabel, Counter> = Family::default();
    let help = "Reports of clients that the API rejects an access token, by what became of them";
    registry.register("rejection_reports", help, counted.clone());
    for outcome in ReportOutcome::ALL {
        drop(Family::get_or_create(&counted, &OutcomeLabel { outcome: outcome.label() }));
    }
    counted
}

/// What became of a client's report that the API rejects the access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The token is refreshed early.
    Noted,
    Ignored(Ignored),
    /// There were too many.
    Limited,
    /// The client does not have the current token, or there is no such connection.
    Unproved,
    /// The API server did not store it.
    Failed,
}

impl ReportOutcome {
    const ALL: [Self; 7] = [
        Self::Noted,
        Self::Ignored(Ignored::Repeated),
        Self::Ignored(Ignored::DueSoon),
        Self::Ignored(Ignored::Suspended),
        Self::Limited,
        Self::Unproved,
        Self::Failed,
    ];

    /// As metrics and logs name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Ignored(Ignored::Repeated) => "repeated",
            Self::Ignored(Ignored::DueSoon) => "due_soon",
            Self::Ignored(Ignored::Suspended) => "suspended",
            Self::Limited => "limited",
            Self::Unproved => "unproved",
            Self::Failed => "failed",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pleo");
        let (attempts, leader, views) = (Family::default(), Gauge::default(), Views::default());
        let (exchange, commit) = (Histogram::new(EXCHANGE_BOUNDS), Histogram::new(COMMIT_BOUNDS));
        registry.register("refresh_attempts", "Token requests by outcome", attempts.clone());
        registry.register("refresh_duration_seconds", "From sending a refresh token to its answer", exchange.clone());
        registry.register("commit_duration_seconds", "From the answer to the stored pair", commit.clone());
        let (introspections, reports) = (introspections(&mut registry), reports(&mut registry));
        let (pod_notifications, restarts) = (Family::default(), Family::default());
        let help = "Pods that were notified of a rotation, or could not be";
        registry.register("pod_notifications", help, pod_notifications.clone());
        registry.register("restarts", "Workloads that were restarted, or could not be", restarts.clone());
        let (authorizations, notices, signals) = (Family::default(), Family::default(), Family::default());
        registry.register("authorizations", "Authorizations by link, by outcome", authorizations.clone());
        registry.register("notices", "Notices that reached the webhook, or did not", notices.clone());
        registry.register("security_signals", "What could be an attack, by what it is", signals.clone());
        registry.register("leader", "1 while this process holds the Lease", leader.clone());
        registry.register(
            "build",
            "The version of the operator",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        let (servers, watch_errors) = (gauges(&mut registry, &views), watch_errors(&mut registry));
        for outcome in ["success", "not_sent", "throttled", "unknown", "unknown_rejection", "misconfigured", "rejected"]
        {
            // So that a rate is 0 and not missing before the first.
            drop(Family::get_or_create(&attempts, &OutcomeLabel { outcome }));
        }
        for end in SessionEnd::ALL {
            drop(Family::get_or_create(&authorizations, &OutcomeLabel { outcome: end.label() }));
        }
        for signal in SecuritySignal::ALL {
            drop(Family::get_or_create(&signals, &SignalLabel { signal: signal.label() }));
        }
        for family in [&pod_notifications, &restarts, &notices] {
            for done in [true, false] {
                drop(Family::get_or_create(family, &done_label(done)));
            }
        }
        let ready = AtomicBool::default();
        Self {
            registry,
            attempts,
            exchange,
            commit,
            introspections,
            reports,
            pod_notifications,
            restarts,
            authorizations,
            notices,
            signals,
            watch_errors,
            leader,
            views,
            servers,
            ready,
        }
    }

    pub fn attempt(&self, outcome: &Outcome, took: Duration) {
        self.attempts.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
        self.exchange.observe(took.as_secs_f64());
    }

    pub fn commit(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// An introspection endpoint was asked.
    pub fn introspection(&self, answer: Introspected) {
        self.introspections.get_or_create(&OutcomeLabel { outcome: answer.label() }).inc();
    }

    /// A client reported a rejected access token.
    pub fn report(&self, outcome: ReportOutcome) {
        self.reports.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
    }

    /// A pod was notified of a rotation, or could not be.
    pub fn pod_notification(&self, done: bool) {
        self.pod_notifications.get_or_create(&done_label(done)).inc();
    }

    /// A workload was restarted, or could not be.
    pub fn restart(&self, done: bool) {
        self.restarts.get_or_create(&done_label(done)).inc();
    }

    /// An authorization by link ended.
    pub fn authorization(&self, end: SessionEnd) {
        self.authorizations.get_or_create(&OutcomeLabel { outcome: end.label() }).inc();
    }

    /// A notice reached the webhook, or did not.
    pub fn notice(&self, arrived: bool) {
        self.notices.get_or_create(&done_label(arrived)).inc();
    }

    /// Something could be an attack.
    pub fn signal(&self, signal: SecuritySignal) {
        self.signals.get_or_create(&SignalLabel { signal: signal.label() }).inc();
    }

    /// A watch of this resource is broken.
    pub fn watch_error(&self, resource: &'static str) {
        self.watch_errors.get_or_create(&ResourceLabel { resource }).inc();
    }

    /// Whether this process holds the Lease.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Whether this process could take over at any moment.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// See [`Metrics::set_ready`].
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// A watch's view of the connections, shown until [`Metrics::forget_connections`].
    pub fn show_connections(&self, view: Store<PleoConnection>) {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).push(view);
    }

    /// How servers are treated, shown until [`Metrics::forget_connections`].
    pub fn show_servers(&self, servers: impl Fn() -> Vec<ServerView> + Send + Sync + 'static) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(servers));
    }

    /// The term is over: a standby shows no connections and no servers.
    pub fn forget_connections(&self) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// Never in practice: writing to a string.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn watch_errors(registry: &mut Registry) -> Family<ResourceLabel, Counter> {
    let counted: Family<ResourceLabel, Counter> = Family::default();
    registry.register("watch_errors", "Watches that broke, or could not be begun", counted.clone());
    for resource in ["pleoconnections", "secrets"] {
        drop(Family::get_or_create(&counted, &ResourceLabel { resource }));
    }
    counted
}

/// What is computed when it is scraped.
fn gauges(registry: &mut Registry, views: &Views) -> Servers {
    let servers = Servers::default();
    registry.register_collector(Box::new(ConnectionGauges(Arc::clone(views))));
    registry.register_collector(Box::new(ServerGauges(Arc::clone(&servers))));
    servers
}

fn done_label(done: bool) -> OutcomeLabel {
    OutcomeLabel { outcome: if done { "success" } else { "failure" } }
}
