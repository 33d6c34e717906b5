//! Pleo's authorization server as a strict fake, over HTTPS with a CA of its own making: for tests
//! and for playing. Nothing in it comes from Pleo; it knows the rules of Pleo's public
//! documentation, and takes the strictest reading of what that leaves open.
//!
//! ```
//! use pleo_sandbox::{Options, Sandbox, script::Step};
//!
//! let sandbox = Sandbox::start(Options::default())?;
//! let first_refresh_token = sandbox.consent("acme");
//! sandbox.script("acme", vec![Step::answer_lost(), Step::status(503)]);
//! println!("{} {} {}", sandbox.token_url(), sandbox.ca_pem(), first_refresh_token);
//! assert_eq!(sandbox.counters("acme").exchanges, 0);
//! # Ok::<(), pleo_sandbox::Error>(())
//! ```
//!
//! Three layers, imports run downwards only:
//! - [`authority`] and [`script`], pure: the server's rules, and the ways to break them. Time comes
//!   in as a value, so they run in a simulation as well as here.
//! - `shared`, the state of both under one lock; `http` and `control`, which read requests.
//! - [`Sandbox`], which starts all that on a thread and a runtime of its own.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod authority;
mod control;
mod describe;
pub mod duration;
mod http;
mod listener;
mod sandbox;
pub mod script;
mod shared;
mod tls;

pub use describe::describe;
pub use sandbox::{Error, Options, Sandbox};
pub use shared::{Calls, Observer, Timeout};
pub use tls::TlsError;
