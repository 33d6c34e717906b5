//! The pure core: what is known, what follows from it, and what a user is told. Functions of plain values:
//! no client, no clock, no randomness, no async, so every rule can be tested without a cluster.
//!
//! | file | answers |
//! |---|---|
//! | [`token`] | what is a secret, and how is it named without being shown? |
//! | [`wish`] | what does the user want? |
//! | [`grant`], [`record`] | what do we hold, and how is it stored? |
//! | [`consents`] | which tokens were taken from humans before, and which is the newest? |
//! | [`failure`] | what did the server's answer mean? |
//! | [`schedule`], [`retry`], [`time`] | when? |
//! | [`observed`] | what was seen, all of it in one value? |
//! | [`ownership`] | who may present a token, and where? |
//! | [`decide`] | what is to be done now? |
//! | [`adoption`], [`attempt`] | how does the grant change, step by step? |
//! | [`link`] | how does a human consent in a browser? |
//! | [`projection`] | what do pods get? |
//! | [`repair`] | what if another program undoes what we wrote? |
//! | [`restarts`] | which workloads must be restarted to get it? |
//! | [`report`], [`problem`], [`reauth`] | what is the user told, what is wrong, and must a user authorize again? |
//! | [`aging`] | what if nobody refreshes for weeks? |
//! | [`signal`], [`notice`] | what should others hear of at once? |

pub mod adoption;
pub mod aging;
pub mod attempt;
pub mod consents;
pub mod decide;
pub mod failure;
pub mod grant;
pub mod link;
pub mod notice;
pub mod observed;
pub mod ownership;
pub mod problem;
pub mod projection;
pub mod reauth;
pub mod record;
pub mod repair;
pub mod report;
pub mod restarts;
pub mod retry;
pub mod schedule;
pub mod signal;
pub mod time;
pub mod token;
pub mod wish;
