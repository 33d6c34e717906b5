//! What is reported to users and other programs.
//!
//! | file | what it reports |
//! |---|---|
//! | [`problem`] | what is wrong, and what to do about it |
//! | [`status`] | conditions and times, in the status |
//! | [`signal`] | what could be an attack |
//! | [`notice`] | that a user is needed, to a webhook |

pub mod notice;
pub mod problem;
pub mod signal;
pub mod status;
