//! The pure core: what is known, what follows from it, and what a user is told. Functions of plain values:
//! no client, no clock, no randomness, no async, so every rule can be tested without a cluster.
//!
//! A file imports only what stands above it here; a test keeps it so.
//!
//! | file or folder | answers |
//! |---|---|
//! | [`token`] | what is a secret, and how is it named without being shown? |
//! | [`spec`] | what does the user want? |
//! | [`failure`] | what did the server's answer mean? |
//! | [`time`] | how to count with times that may have been edited? |
//! | [`ledger`] | what do we hold, and how is it stored? |
//! | [`snapshot`] | what was observed, all of it in one value? |
//! | [`plan`] | what is to be done now, and when next? |
//! | [`commit`] | how does an attempt to use a token begin and end in the ledger? |
//! | [`report`] | what is the user told, and what should others hear of at once? |

pub mod commit;
pub mod failure;
pub mod ledger;
pub mod plan;
pub mod report;
pub mod snapshot;
pub mod spec;
pub mod time;
pub mod token;
