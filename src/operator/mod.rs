//! Joins the rest: what is seen becomes a decision, a decision becomes writes and at most one exchange, and the end of it
//! is told. The table of contents is [`reconcile::reconcile`].
//!
//! | file or folder | what it does | talks to |
//! |---|---|---|
//! | [`memory`] | what this process remembers | nobody |
//! | [`notifier`] | which pods are being notified, and how fast | nobody |
//! | [`context`] | what all steps share | nobody |
//! | [`steps`] | each step of a reconciliation | API server, authorization server |
//! | [`reconcile`] | observe, decide, act, report | nobody itself |
//! | [`controller`], [`index`] | wake-ups | API server, watches only |
//! | [`run`] | start, terms of leadership, drain | API server (Lease) |

pub mod context;
pub mod controller;
pub mod index;
pub mod memory;
pub mod notifier;
pub mod reconcile;
pub mod run;
pub mod steps;
