//! What is needed of users: an authorization, now or soon.

pub mod aging;
pub mod reauth;
