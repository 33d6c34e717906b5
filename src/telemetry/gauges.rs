//! Gauges of connections and servers: computed when they are scraped, from what the watches and the queue know.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kube_runtime::reflector::Store;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use crate::{
    api::{ConditionStatus, ConditionType, PleoConnection, ReauthReason},
    domain::{governor::ServerState, plan::users::aging::end_of_life, queue::ServerView},
};

pub(super) type Views = Arc<Mutex<Vec<Store<PleoConnection>>>>;
/// Asked when it is scraped.
pub(super) type Servers = Arc<Mutex<Option<Box<dyn Fn() -> Vec<ServerView> + Send + Sync>>>>;

pub(super) struct ConnectionGauges(pub(super) Views);

impl fmt::Debug for ConnectionGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionGauges")
    }
}

impl Collector for ConnectionGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connections: Vec<Arc<PleoConnection>> = views.iter().flat_map(Store::state).collect();
        if connections.is_empty() {
            return Ok(());
        }
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&PleoConnection) -> Option<Sample>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for connection in &connections {
                let Some(sample) = value(connection) else { continue };
                let mut labels =
                    vec![("namespace", connection.namespace().unwrap_or_default()), ("name", connection.name_any())];
                labels.extend(sample.reason.map(|reason| ("reason", reason)));
                ConstGauge::new(sample.value).encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        };
        gauge("connection_ready", "1 while the token Secret has a usable token", &|connection| {
            condition(connection, ConditionType::Ready).map(|ready| Sample::new(is_true(ready)))
        })?;
        gauge("connection_reauth_required", "1 while a user must authorize", &|connection| {
            let condition = condition(connection, ConditionType::ReauthRequired)?;
            Some(Sample { reason: Some(condition.reason.clone()), ..Sample::new(is_true(condition)) })
        })?;
        gauge("connection_expiration_timestamp_seconds", "When the access token ends", &|connection| {
            connection.status.as_ref()?.expiration_time.as_ref().map(Sample::at)
        })?;
        gauge("connection_next_refresh_timestamp_seconds", "When the next refresh or retry is due", &|connection| {
            connection.status.as_ref()?.next_refresh_time.as_ref().map(Sample::at)
        })?;
        gauge(
            "connection_grant_expiration_timestamp_seconds",
            "Until when the refresh token lives at least",
            &|connection| {
                let valid =
                    condition(connection, ConditionType::ReauthRequired)?.reason == ReauthReason::GrantValid.as_str();
                let issued_at = connection.status.as_ref()?.last_refresh_time.as_ref().filter(|_| valid)?;
                Some(Sample::at(&Time(end_of_life(issued_at.0))))
            },
        )
    }
}

pub(super) struct ServerGauges(pub(super) Servers);

impl fmt::Debug for ServerGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerGauges")
    }
}

impl Collector for ServerGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let servers = match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(servers) => servers(),
            None => return Ok(()),
        };
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let help = "1 for how an authorization server is treated at present";
        let mut states = encoder.encode_descriptor("server_state", help, None, MetricType::Gauge)?;
        for view in &servers {
            for state in ServerState::ALL {
                let labels = [("server", view.server.as_str()), ("state", state.label())];
                ConstGauge::new(i64::from(view.state == state)).encode(states.encode_family(&labels)?)?;
            }
        }
        let help = "Connections whose tokens wait until the server gets another request";
        let mut held = encoder.encode_descriptor("server_held_connections", help, None, MetricType::Gauge)?;
        for view in &servers {
            ConstGauge::new(number(view.held)).encode(held.encode_family(&[("server", view.server.as_str())])?)?;
        }
        let help = "Connections whose working grants the server rejected within ten minutes";
        let mut rejected = encoder.encode_descriptor("server_rejected_connections", help, None, MetricType::Gauge)?;
        for view in &servers {
            let labels = [("server", view.server.as_str())];
            ConstGauge::new(number(view.rejected)).encode(rejected.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

struct Sample {
    value: i64,
    reason: Option<String>,
}

impl Sample {
    fn new(value: bool) -> Self {
        Self { value: i64::from(value), reason: None }
    }

    fn at(time: &Time) -> Self {
        Self { value: time.0.as_second(), reason: None }
    }
}

fn condition(connection: &PleoConnection, kind: ConditionType) -> Option<&Condition> {
    connection.status.as_ref()?.condition(kind)
}

fn is_true(condition: &Condition) -> bool {
    ConditionStatus::of(condition) == ConditionStatus::True
}
