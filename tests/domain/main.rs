//! The pure layer of the tests: what the operator decides, stores and tells, as functions of plain values. No cluster,
//! no server, no clock: every time is written down. I1 to I9 are the invariants of the crate's documentation.
//!
//! | folder | about |
//! |---|---|
//! | [`server`] | what each answer of the server means, and what follows from a failure |
//! | [`ledger`] | how grants are stored, how an attempt ends in them, which authorization is the newest |
//! | [`plan`] | what is done next, and when: adoption, claims, links, repairs, restarts, schedules |
//! | [`proxy`] | when the proxy sends a call to the API, and what a 401 means |
//! | [`report`] | what users and other programs are told: every reason with its remediation |
//! | [`random`] | what holds for whatever was seen, and for any course of events |
//! | [`project`] | how the source is laid out; that the CRD and the tables of the pages are the program's |
//!
//! A test sets up what was seen with `pleo_test_support::scenes`, and lets a connection live.

use pleo_test_support::scenes;

mod ledger;
mod plan;
mod project;
mod proxy;
mod random;
mod report;
mod server;
