//! Complete and broken answers.

pub mod bodies;
pub mod codings;
pub mod cuts;
pub mod introspection;
pub mod lengths;
pub mod statuses;
pub mod whole;
