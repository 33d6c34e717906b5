//! `kubectl pleo`: what a person needs at night. It works under that person's own rights, and talks to the API server alone;
//! only `connect` talks to the authorization server, too.
//!
//! | file | |
//! |---|---|
//! | [`args`] | the command line |
//! | [`cluster`] | reads and writes, with errors that name the right that is missing |
//! | [`status`] | all about a connection on one screen, and what to do next |
//! | [`connect`], [`loopback`] | an authorization on the person's own machine (RFC 8252) |
//! | [`change`] | refresh, suspend, resume |
//! | [`inject`] | the proxy as a sidecar, for manifests |
//! | [`check`] | whether the cluster has all that is needed |

pub mod args;
pub mod change;
pub mod check;
pub mod cluster;
pub mod connect;
pub mod inject;
pub mod loopback;
pub mod status;
