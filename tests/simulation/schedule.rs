//! I6, the other half: a wake-up is never late. And what a rotation costs.

use std::time::Duration;

use crate::world::{World, hours, minutes, seconds};
use tokio::time::sleep;

/// Each exchange begins at the documented instant: 10 % of the life before the end, earlier by up to a tenth of that
/// margin. So before the token ends, and not before half its life.
#[tokio::test(start_paused = true)]
async fn every_rotation_begins_at_the_documented_instant() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    sleep(hours(48)).await;
    let begins = world.pleo.counters("acme").begins;
    let margin = seconds(90);
    for pair in begins.windows(2) {
        let after = pair[1] - pair[0];
        let latest = minutes(15) - margin + Duration::from_millis(100);
        assert!(after <= latest && after >= minutes(15) - margin.mul_f64(1.1), "a token was refreshed after {after:?}");
    }
    let counters = world.pleo.counters("acme");
    assert!((213..=216).contains(&counters.rotations), "{} rotations in 48 hours", counters.rotations);
    assert_eq!((counters.resent, counters.refusals, counters.overlapping), (0, 0, 0));
}
