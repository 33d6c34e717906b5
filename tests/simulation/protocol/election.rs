//! Leader election: one works, the others stand by; and what happens when more than one believes that it leads.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault},
    stage::{
        process::Pod,
        world::{World, hours, is_about_leases, minutes, seconds},
    },
};

/// An eighth of the Lease, and some milliseconds for its requests.
const RETRY_PERIOD: Duration = Duration::from_millis(15_000 / 8 + 50);

/// A standby does nothing but look at the Lease.
#[tokio::test(start_paused = true)]
async fn a_standby_reconciles_nothing() {
    let (world, leader) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(5)).await;
    world.server.reset_trace();
    sleep(minutes(20)).await;
    let trace = world.server.trace();
    let of_standby: Vec<_> = trace.iter().filter(|record| record.client == "pod-b").collect();
    assert!(of_standby.iter().all(|record| is_about_leases(record) && !record.verb.is_write()), "{of_standby:?}");
    assert!(leader.leads() && !standby.leads());
    assert_eq!(world.lease_holder("pleo-operator"), Some("pod-a_process-1".into()));
}

/// A Lease that is given back is taken within a retry period.
#[tokio::test(start_paused = true)]
async fn a_standby_follows_a_leader_that_stops_at_once() {
    let (world, leader) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(60)).await;
    leader.stop().await;
    sleep(RETRY_PERIOD).await;
    assert!(standby.leads());
    world.next_exchange("acme", minutes(15)).await;
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// A leader that is dead is followed when its record has stood unchanged for the length of the Lease, on the standby's
/// own monotonic clock: however wrong its wall clock is.
#[tokio::test(start_paused = true)]
async fn a_standby_follows_a_dead_leader_after_the_length_of_the_lease() {
    for skew in [0, 3600, -3600] {
        let (world, leader) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
        let pod = Pod::new(&world, "pod-b").with_brief_lease();
        pod.clock.jump(skew);
        let standby = pod.start(&world);
        sleep(seconds(60)).await;
        leader.kill();
        let died = world.server.elapsed();
        world.until("the standby leads", |_| standby.leads()).await;
        let waited = world.server.elapsed() - died;
        // The leader's last renewal was before its death, and the standby saw it after that.
        assert!(waited >= seconds(15) - RETRY_PERIOD, "after {waited:?}");
        assert!(waited <= seconds(15) + 2 * RETRY_PERIOD, "after {waited:?}");
        assert!(world.token_works("acme"));
    }
}

/// A leader that cannot reach the API server stops before anybody else can lead.
#[tokio::test(start_paused = true)]
async fn no_two_lead_at_once() {
    let (world, leader) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(60)).await;
    leader.client.cut_off();
    for _ in 0..600 {
        sleep(Duration::from_millis(100)).await;
        assert!(!(leader.leads() && standby.leads()));
    }
    assert!(standby.leads());
    leader.client.restore();
    sleep(minutes(5)).await;
    assert!(standby.leads() && !leader.leads(), "who comes back stands by");
    sleep(minutes(20)).await;
    assert_eq!(world.pleo.counters("acme").resent, 0);
}

/// A renewal that hangs leaves time for another one before the deadline: the leader goes on.
#[tokio::test(start_paused = true)]
async fn one_renewal_that_hangs_costs_no_leadership() {
    let (world, leader) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    let standby = Pod::new(&world, "pod-b").with_brief_lease().start(&world);
    sleep(seconds(60)).await;
    let renews =
        |call: &Call| call.client == "pod-a" && call.resource == "leases.coordination.k8s.io" && call.verb.is_write();
    world.server.once(renews, Fault::Late(seconds(60)));
    for _ in 0..900 {
        sleep(Duration::from_millis(100)).await;
        assert!(leader.leads() && !standby.leads());
    }
    assert_eq!(world.server.rules_left(), 0);
}

/// Two that lead at once (Leases of different names) are kept apart by the claims: no token is sent twice and none is
/// refused.
#[tokio::test(start_paused = true)]
async fn two_leaders_never_send_a_token_twice() {
    let (world, _one) = World::with_acme(minutes(15)).await;
    world.connect("globex", minutes(15)).await;
    let _other = Pod::new(&world, "pod-b").with_lease("another").start(&world);
    sleep(hours(24)).await;
    for name in ["acme", "globex"] {
        let counters = world.pleo.counters(name);
        assert_eq!((counters.resent, counters.refusals, counters.overlapping), (0, 0, 0), "{name}");
        assert!((106..=109).contains(&counters.rotations), "{} rotations of {name}", counters.rotations);
        assert!(world.is_ready(name) && world.token_works(name));
    }
}
