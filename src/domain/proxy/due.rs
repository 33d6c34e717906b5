//! Where this moment lies between a token's planned refresh and its end, by this clock, which may differ from the operator's.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    snapshot::published::Access,
    time::{earlier, later},
};

/// Calls wait from so long before a planned refresh,
const EARLY: Duration = Duration::from_millis(250);
/// until so long after it; then one of them tries the old token.
pub const WINDOW: Duration = Duration::from_secs(3);
/// A token that ended longer ago is not sent as if it were good; until then, clocks may differ.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(10);

/// When calls begin to wait for the refresh; none: none is planned.
pub fn window_begins(access: &Access) -> Option<Timestamp> {
    access.refresh_at.map(|refresh_at| earlier(refresh_at, EARLY))
}

/// When one of them tries the old token.
pub fn window_ends(access: &Access) -> Option<Timestamp> {
    access.refresh_at.map(|refresh_at| later(refresh_at, WINDOW))
}

/// Whether the window has begun, and is over perhaps.
pub fn was_due(access: &Access, now: Timestamp) -> bool {
    window_begins(access).is_some_and(|begins| begins <= now)
}

pub fn is_window_over(access: &Access, now: Timestamp) -> bool {
    window_ends(access).is_some_and(|ends| ends <= now)
}

pub fn has_ended(access: &Access, now: Timestamp) -> bool {
    later(access.expires_at, EXPIRY_TOLERANCE) <= now
}
