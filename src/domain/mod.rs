//! The pure core: what is known, what follows from it, and what is reported. Functions of plain values:
//! no client, no clock, no randomness, no async, so every rule can be tested without a cluster.
//!
//! Imports only run downwards in this table; a test keeps it so.
//!
//! | module | answers |
//! |---|---|
//! | [`report`] | what is reported to users and other programs? |
//! | [`proxy`] | is a call to the API sent, or does it wait for another token? |
//! | [`commit`] | how does an attempt to use a token begin and end in the ledger? |
//! | [`queue`] | which connection is looked at next? |
//! | [`governor`] | does a server get another token request now? |
//! | [`plan`] | what is to be done now, and when next? |
//! | [`snapshot`] | what was observed, all of it in one value? |
//! | [`ledger`] | what do we store, and how? |
//! | [`finding`] | what is said in one condition? |
//! | [`failure`] | what did the server's response mean? |
//! | [`possession`] | does a client that reports a token have it? |
//! | [`spec`] | what does the user want? |
//! | [`token`] | what is a secret, and how is it named without being shown? |
//! | [`time`] | how to calculate with times that may have been edited? |

pub mod commit;
pub mod failure;
pub mod finding;
pub mod governor;
pub mod introspection;
pub mod ledger;
pub mod plan;
pub mod possession;
pub mod proxy;
pub mod queue;
pub mod report;
pub mod snapshot;
pub mod spec;
pub mod time;
pub mod token;
