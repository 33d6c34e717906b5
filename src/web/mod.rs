//! Authorization by link: the few pages that a user sees on the way to the authorization server and back (requirement X5;
//! RFC 6749 section 4.1, RFC 7636, RFC 9207, RFC 9700). Off unless a public address is given.
//!
//! ```text
//! status.authorizationURL ── begin ──> authorization server ── callback ──> the code in the grant Secret
//!                                                                                      │
//!        the user's browser <── result <── the ledger's session <── rotate <── the leader reconciles
//! ```
//!
//! Nothing is kept between two requests but in the browser's cookie and in the grant Secret, so any replica serves any of
//! them, and one that ends takes nothing with it. A code is written into the grant Secret by compare-and-swap, and from there
//! on it is a token like any other: claimed, sent once, committed. No page has a token, a secret, or text of the
//! request that is not escaped.
//!
//! | file | |
//! |---|---|
//! | [`address`] | where people reach this operator, and where they may be led on to |
//! | [`authorize`] | the three steps |
//! | [`cookie`] | what ties the steps to one browser |
//! | [`words`], [`pages`] | what is said, and how it looks |
//! | [`server`] | the port |

pub mod address;
pub mod authorize;
pub mod cookie;
pub mod pages;
pub mod server;
pub mod words;
