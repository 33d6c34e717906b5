//! What to do next, and when: functions of a snapshot and of the time.
//!
//! | file | decides |
//! |---|---|
//! | [`schedule`] | when to refresh and when to retry |
//! | [`ownership`] | who may present a token, and where |
//! | [`introspection`] | whether to ask about a token before it is sent |
//! | [`rejection_report`] | whether a client's report moves a refresh forward |
//! | [`adoption`] | whether a token in the initial grant is to be adopted, and removed there |
//! | [`users::reauth`] | whether a user must authorize (again), and how |
//! | [`link`] | whether a link is to be made, and when a code is too old |
//! | [`projection`] | what pods get |
//! | [`restarts`] | which workloads are to be restarted to get it |
//! | [`users::aging`] | when to warn of a refresh token that was not renewed |
//! | [`next_refresh`] | whether a token is to be sent, which one, and when |
//! | [`decide`] | the one thing to do now |

pub mod adoption;
pub mod authentication;
pub mod decide;
pub mod introspection;
pub mod link;
pub mod next_refresh;
pub mod ownership;
pub mod projection;
pub mod rejection_report;
pub mod restarts;
pub mod schedule;
pub mod users;
