//! How an attempt to use a token begins and ends in the ledger.
//!
//! | file | what it does |
//! |---|---|
//! | [`attempt`] | claims a token |
//! | [`retry`] | plans the next try after one that failed |
//! | `release` | notes a failure, by what it means for the token |
//! | [`base`] | says what is settled against, where the stored grant was changed meanwhile |
//! | [`settlement`] | stores a pair, or a failure |

pub mod attempt;
pub mod base;
mod release;
pub mod retry;
pub mod settlement;
