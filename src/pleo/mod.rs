//! The edge to Pleo's authorization server. It sends a request once, and returns the outcome; it decides nothing and stores nothing.

pub mod answer;
pub mod coding;
mod connection;
mod endpoint;
mod http;
pub mod introspection;
mod trust;

pub use endpoint::{Fence, IntrospectionRequest, QuestionedToken, TokenEndpoint, TokenRequest};
pub use http::HttpTokenEndpoint;
