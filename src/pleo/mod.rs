//! The edge to Pleo's authorization server. It sends what it is told, once, and says what became of it; it decides
//! nothing and stores nothing.

pub mod answer;
pub mod coding;
mod endpoint;
mod http;

pub use endpoint::{Fence, TokenEndpoint, TokenRequest};
pub use http::HttpTokenEndpoint;
