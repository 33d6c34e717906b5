//! A small world: one connection, two replicas, people, servers, clocks.

pub mod books;
pub mod exchange;
pub mod introspection;
pub mod look;
pub mod memory;
pub mod server;
pub mod shared;
pub mod state;
pub mod tokens;
pub mod turns;
pub mod users;
