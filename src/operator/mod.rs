//! Joins the rest: a snapshot becomes a decision, a decision becomes writes and at most one token request, and the result is
//! reported. The table of contents is [`reconcile::reconcile`].
//!
//! | file or folder | what it does | talks to |
//! |---|---|---|
//! | [`memory`] | what this process remembers | none |
//! | [`notifier`] | which pods are being notified, and how fast | none |
//! | [`workqueue`] | the queue, and what a pass has a right to | none |
//! | [`context`] | what all steps share | none |
//! | [`steps`] | each step of a reconciliation | API server, authorization server |
//! | [`reconcile`] | observe, decide, act, report | none itself |
//! | [`dispatch`] | has connections reconciled, in the order of the queue | none itself |
//! | [`watches`], [`index`] | watches: what triggers a reconciliation | API server, watches only |
//! | [`run`] | start, leader election, drain | API server (Lease) |

pub mod context;
pub mod dispatch;
pub mod index;
pub mod memory;
pub mod notifier;
pub mod reconcile;
pub mod run;
pub mod steps;
pub mod watches;
pub mod workqueue;
