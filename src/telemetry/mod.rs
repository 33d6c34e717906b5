//! What operators of the operator see: metrics, logs and the admin endpoint.

pub mod admin;
mod gauges;
pub mod logs;
pub mod metrics;
