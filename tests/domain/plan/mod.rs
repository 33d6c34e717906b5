//! What is done next, and when.

pub mod adoptions;
pub mod authentication;
pub mod claims;
pub mod codes;
pub mod links;
pub mod next_refresh;
pub mod ownership;
pub mod repairs;
pub mod restarts;
pub mod schedules;
pub mod spec;
