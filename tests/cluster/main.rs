//! The operator as a real process, on a real API server, over HTTPS with a strict server.
//!
//! | folder | |
//! |---|---|
//! | `protocol` | rotations, crashes, failures, answers |
//! | `users` | what users declare and own, and consumers and links |
//! | `operators` | start, rights, load, alarms |

use pleo_test_support::cluster as harness;

mod operators;
mod protocol;
mod users;
