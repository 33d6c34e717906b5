//! What operators of the operator see: metrics, logs and the admin endpoint.

pub mod admin;
pub mod logs;
pub mod metrics;
