//! The contract that users see: the `PleoConnection` resource, its conditions and reasons, and every name
//! that manifests, dashboards and scripts rely on. Plain data; imports nothing of this crate.

mod connection;
mod duration;
pub mod names;
mod reason;
mod status;

pub use connection::{
    Authentication, ClientSpec, Environment, InitialGrantSpec, PleoConnection, PleoConnectionSpec, RestartTarget,
    SecretKeyRef, SecretRef, SecretTemplate, ServerSpec, WorkloadKind,
};
pub use duration::{GoDuration, InvalidDuration};
pub use reason::{
    AgingReason, ConditionStatus, ConditionType, FailureReason, ReadyReason, Reason, ReauthReason, SecuritySignal,
    TokenState,
};
pub use status::{LastFailure, PleoConnectionStatus};
