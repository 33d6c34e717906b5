pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod domain;
pub mod operator;
pub mod pleo;
pub mod telemetry;
