//! Joins the rest: what is seen becomes a decision, a decision becomes writes and at most one exchange, and the end of it
//! is told. The table of contents is [`reconcile::pass`].
//!
//! | file | step | talks to |
//! |---|---|---|
//! | [`observe`] | reads everything that a decision needs | API server, reads only |
//! | [`reconcile`] | observe, decide, act, tell | nobody itself |
//! | [`rotate`] | claim, exchange, commit or release | API server (grant Secret only), authorisation server |
//! | [`publish`] | all other writes to Secrets | API server |
//! | [`restart`] | restarts workloads that cannot follow | API server (one annotation in pod templates; the ledger) |
//! | [`pods`] | tells pods of a rotation | API server (one annotation on pods) |
//! | [`tell`] | status and events | API server |
//! | [`memory`] | what this process remembers | nobody |
//! | [`context`] | what all of them share | nobody |
//! | [`controller`], [`index`] | wake-ups | API server, watches only |
//! | [`run`] | start, terms of leadership, drain | API server (Lease) |

pub mod context;
pub mod controller;
pub mod index;
pub mod memory;
pub mod observe;
pub mod pods;
pub mod publish;
pub mod reconcile;
pub mod restart;
pub mod rotate;
pub mod run;
pub mod tell;
