//! What is done next, and when.

pub mod adoptions;
pub mod authentication;
pub mod by_link;
pub mod claims;
pub mod next_refresh;
pub mod ownership;
pub mod queue;
pub mod rejection_reports;
pub mod repairs;
pub mod restarts;
pub mod schedules;
pub mod spec;
