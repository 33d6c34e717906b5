//! What is stored in the grant Secret: the tokens, and the history of all that was tried with them.
//!
//! | file | what it is |
//! |---|---|
//! | [`authorization`] | an authorization in progress: link, code, session of a browser |
//! | [`adopted`] | one token that was taken from a user before |
//! | [`grant`] | all of it in one value |
//! | [`consents`] | the history of authorizations, and which is the newest |
//! | [`record`] | how it is stored in its Secret |

pub mod adopted;
pub mod authorization;
pub mod consents;
pub mod grant;
pub mod record;
