//! Simulations of the operator: the real code, a simulated world, paused time.

mod apiserver;
mod idle;
mod pleo;
mod process;
mod schedule;
mod world;
