//! The protocol, model-checked.

mod books;
mod exchange;
mod explore;
mod human;
mod links;
mod look;
mod machines;
mod memory;
mod mistakes;
mod people;
mod protocol;
mod scenarios;
mod server;
mod shared;
mod state;
mod tokens;
mod transcript;
mod turns;
