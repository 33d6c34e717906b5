//! What is stored in the grant Secret: the tokens, and the history of all that was tried with them.
//!
//! | file | what it is |
//! |---|---|
//! | [`held`] | the tokens that are held, and what was tried with them |
//! | [`known_token`] | one token that was seen before |
//! | [`authentication`] | how the client authenticates to the server, as far as that is known |
//! | [`introspection`] | whether the introspection endpoint is believed |
//! | [`rejection_report`] | what a client reported of the access token |
//! | [`authorization`] | an authorization by link: link, code, session of a browser |
//! | [`grant`] | all of it in one value |
//! | [`history`] | the order of authorizations, and which is the newest |
//! | [`record`] | how it is stored in its Secret |
//! | `format_1` | how it was stored before |

pub mod authentication;
pub mod authorization;
mod format_1;
pub mod grant;
pub mod held;
pub mod history;
pub mod introspection;
pub mod known_token;
pub mod record;
pub mod rejection_report;
