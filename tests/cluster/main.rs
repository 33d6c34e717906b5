//! The operator as a real process, on a real API server, over HTTPS with a strict server.

mod harness;
mod rotation;
