//! Reports of rejected access tokens: a client that the API answers 401 although its token should be good says so, and the token is
//! refreshed early. Off unless an address is given.
//!
//! ```text
//! client ── POST, with a proof that it has the token ──> any replica ── the report in the grant Secret ──> the leader reconciles
//! ```
//!
//! Any replica takes a report: it is written into the grant Secret by compare-and-swap, and what follows is decided like everything
//! else ([`crate::domain::plan::rejection_report`]). A client learns nothing: whatever it sends is answered with 202, or with 429.
//!
//! | file | |
//! |---|---|
//! | [`server`] | the port |
//! | [`limits`] | how many reports are looked at |
//! | [`intake`] | checks a report, and notes it |

pub mod intake;
pub mod limits;
pub mod server;
