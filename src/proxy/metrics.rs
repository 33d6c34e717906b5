//! What the proxy counts, all of it `pleo_proxy_`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use super::{problem::Problem, token::keeper::Keeper};
use crate::domain::{proxy::step::State, time::between};

const BOUNDS: [f64; 9] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// The API answered it.
    Upstream(StatusCode),
    Problem(Problem),
}

/// All of them.
pub struct Metrics {
    registry: Registry,
    requests: Family<OutcomeLabel, Counter>,
    duration: Histogram,
    hold: Histogram,
    in_flight: Arc<AtomicI64>,
    unauthorized: Counter,
    resends: Counter,
    reports: Family<OutcomeLabel, Counter>,
}

impl Metrics {
    pub fn new(keeper: Arc<Keeper>) -> Self {
        let mut registry = Registry::with_prefix("pleo_proxy");
        let requests = Family::default();
        let (duration, hold) = (Histogram::new(BOUNDS), Histogram::new(BOUNDS));
        let (unauthorized, resends) = (Counter::default(), Counter::default());
        registry.register("requests", "Calls by how they ended", requests.clone());
        registry.register("request_duration_seconds", "From a call to the head of its response", duration.clone());
        registry.register("hold_duration_seconds", "How long calls that waited for a token waited", hold.clone());
        registry.register("unauthorized", "Responses of the API with the status 401", unauthorized.clone());
        registry.register("resends", "Calls that were sent again with another token", resends.clone());
        let reports = Family::default();
        registry.register(
            "reports",
            "Reports that the API rejects the token, by whether the operator answered 202",
            reports.clone(),
        );
        let in_flight = Arc::new(AtomicI64::new(0));
        registry.register_collector(Box::new(Gauges { keeper, in_flight: Arc::clone(&in_flight) }));
        Self { registry, requests, duration, hold, in_flight, unauthorized, resends, reports }
    }

    /// A call begins; it ends when this is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// How many calls are not over.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub fn answered(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Upstream(status) => match status.as_u16() {
                200..=299 => "success",
                401 => "unauthorized",
                300..=399 => "redirect",
                400..=499 => "client_error",
                _ => "server_error",
            },
            Outcome::Problem(problem) => problem.code(),
        };
        self.requests.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    /// A call is sent; none: it did not wait.
    pub fn held(&self, time: Option<Duration>) {
        if let Some(time) = time {
            self.hold.observe(time.as_secs_f64());
        }
    }

    pub fn unauthorized(&self) {
        self.unauthorized.inc();
    }

    pub fn resent(&self) {
        self.resends.inc();
    }

    /// A token that the API rejects was reported, or could not be.
    pub fn reported(&self, is_sent: bool) {
        let outcome = if is_sent { "success" } else { "failure" };
        self.reports.get_or_create(&OutcomeLabel { outcome }).inc();
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

/// See [`Metrics::begin`].
pub struct InFlight(Arc<AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Computed when they are read.
struct Gauges {
    keeper: Arc<Keeper>,
    in_flight: Arc<AtomicI64>,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauges")
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (state, content) = self.keeper.known();
        let mut states = encoder.encode_descriptor(
            "token_state",
            "1 for the state that the token is in",
            None,
            MetricType::Gauge,
        )?;
        for each in State::ALL {
            let labels = [("state", each.as_str())];
            ConstGauge::new(i64::from(each == state)).encode(states.encode_family(&labels)?)?;
        }
        let mut gauge = |name: &str, help: &str, value: i64| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)
        };
        let waiting = i64::try_from(self.keeper.waiting()).unwrap_or(i64::MAX);
        gauge("held_requests", "Calls that wait for a token, or for their turn", waiting)?;
        gauge("in_flight_requests", "Calls that are not over", self.in_flight.load(Ordering::Relaxed))?;
        let Some(access) = content.and_then(|content| content.access) else { return Ok(()) };
        let end = access.expires_at.as_second();
        gauge("token_expiration_timestamp_seconds", "When the token ends", end)?;
        let Some(refresh_at) = access.refresh_at else { return Ok(()) };
        let late = i64::try_from(between(refresh_at, self.keeper.now().wall).as_secs()).unwrap_or(i64::MAX);
        gauge("refresh_lag_seconds", "For how long the planned refresh is overdue, by this clock", late)
    }
}
