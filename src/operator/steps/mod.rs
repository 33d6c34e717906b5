//! The steps of a reconciliation, as [`super::reconcile`] takes them.
//!
//! | file | what it does | talks to |
//! |---|---|---|
//! | [`observe`] | reads everything that a decision needs | API server, reads only |
//! | [`introspect`] | asks whether a token is active: a new one, and one in doubt | authorization server, API server (grant Secret) |
//! | [`rotate`] | claim, send, commit or release | API server (grant Secret, the connection), authorization server |
//! | [`apply`] | token Secret, adoption, removal, links | API server |
//! | [`restart`] | restarts workloads that cannot follow | API server (one annotation in pod templates; the ledger) |
//! | [`pods`] | notifies pods of a rotation | API server (one annotation on pods) |
//! | [`status`] | status and events | API server |

pub mod apply;
pub mod introspect;
pub mod observe;
pub mod pods;
pub mod restart;
pub mod rotate;
pub mod status;
