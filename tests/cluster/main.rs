//! The operator as a real process, on a real API server, over HTTPS with a strict server.

mod alarms;
mod answers;
mod consumers;
mod crashes;
mod failures;
mod harness;
mod links;
mod ownership;
mod refusals;
mod rotation;
mod scale;
mod start;
mod validation;
