//! Wall clocks that are wrong, and are set: no storm, and `Ready` comes back by itself (I7).

use std::time::Duration;

use tokio::time::sleep;

use crate::stage::{
    process::Pod,
    world::{World, hours, minutes, seconds},
};

const HOUR: i64 = 3600;

/// A jump by an hour costs the Lease as well.
fn with_some_lease(pod: Pod) -> Pod {
    Pod { lease_duration: minutes(5), ..pod }
}

/// The clock is set an hour ahead or back, and back again later. Each jump may cost one exchange before its time.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_causes_no_storm() {
    for jump in [HOUR, -HOUR] {
        let (world, process) = World::with_acme_on(minutes(15), with_some_lease).await;
        sleep(minutes(5)).await;
        for back_and_forth in [jump, -jump] {
            let before = world.pleo.exchanged();
            process.pod.clock.jump(back_and_forth);
            sleep(hours(3)).await;
            assert!(world.is_ready("acme") && world.token_works("acme"), "after a jump by {back_and_forth} s");
            let exchanges = world.pleo.exchanged() - before;
            assert!((13..=15).contains(&exchanges), "{exchanges} exchanges in three hours after {back_and_forth} s");
        }
        assert_eq!(world.pleo.counters("acme").resent, 0);
    }
}

/// How long pods are left without a token when the clock was set: until the next look at most.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_never_leaves_pods_without_a_token_for_longer_than_a_life() {
    for jump in [HOUR, -HOUR] {
        let (world, process) = World::with_acme_on(minutes(15), with_some_lease).await;
        sleep(minutes(5)).await;
        process.pod.clock.jump(jump);
        let mut without = Duration::ZERO;
        for _ in 0..3600 {
            sleep(seconds(2)).await;
            without += if world.token_works("acme") { Duration::ZERO } else { seconds(2) };
        }
        assert!(without <= seconds(10), "{without:?} without a token after a jump by {jump} s");
    }
}

/// Waits between retries are not cut short or drawn out by a jump.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_between_retries_causes_no_storm() {
    for jump in [HOUR, -HOUR] {
        let (world, process) = World::with_acme(minutes(15)).await;
        world.pleo.set_reachable(false);
        sleep(hours(6)).await;
        let before = world.pleo.turned_away().len();
        process.pod.clock.jump(jump);
        sleep(hours(3)).await;
        let tries = world.pleo.turned_away().len() - before;
        assert!((11..=18).contains(&tries), "{tries} tries in three hours after a jump by {jump} s");
        world.pleo.set_reachable(true);
        world.until("it comes back by itself", |world| world.is_ready("acme")).await;
    }
}

/// A pod whose clock is wrong takes over from one whose clock is right.
#[tokio::test(start_paused = true)]
async fn a_successor_with_another_time_of_day_causes_no_storm() {
    for skew in [HOUR, -HOUR] {
        let (world, process) = World::with_acme(minutes(15)).await;
        process.stop().await;
        let pod = Pod::new(&world, "pod-b");
        pod.clock.jump(skew);
        let process = pod.start(&world);
        sleep(hours(3)).await;
        assert!(world.token_works("acme"));
        let before = world.pleo.exchanged();
        assert!(before <= 15, "{before} exchanges in three hours");
        process.stop().await;
        let _process = Pod::new(&world, "pod-a").start(&world);
        sleep(hours(3)).await;
        assert!(world.is_ready("acme") && world.token_works("acme"));
        assert!(world.pleo.exchanged() - before <= 15);
        assert_eq!(world.pleo.counters("acme").resent, 0);
    }
}

/// A clock that was ahead and is set right: the times stored before are later than they should be, yet not in the
/// future. The token ends when the server says so, whatever our clock says.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_by_less_than_the_age_of_a_token_does_not_make_the_refresh_late() {
    let (world, process) = World::with_acme(minutes(15)).await;
    sleep(minutes(10)).await;
    process.pod.clock.jump(-300);
    let mut without = Duration::ZERO;
    for _ in 0..450 {
        sleep(seconds(2)).await;
        without += if world.token_works("acme") { Duration::ZERO } else { seconds(2) };
    }
    assert!(without <= seconds(10), "{without:?} without a token that works");
}
