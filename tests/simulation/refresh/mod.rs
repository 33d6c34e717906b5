//! I3, I6, I8: when a token is sent, and when it is not.

pub mod authentication;
pub mod clients;
pub mod failures;
pub mod fights;
pub mod idle;
pub mod introspection;
pub mod misconfigured;
pub mod reports;
pub mod schedule;
pub mod silence;
