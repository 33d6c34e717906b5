//! Processes that die, freeze and meet at the worst moments; and an API server that goes away with a pair in the air.

use std::time::Duration;

use pleo_sandbox::{Options, authority::Counters, script::Step};
use pleo_testbed::Cluster;

use crate::harness::{Flags, Operator, World, finish, install_crd, told};

fn own_cluster() -> &'static Cluster {
    // Ends with this process, like the shared one.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().unwrap()));
    install_crd(cluster);
    cluster
}

/// An operator whose second exchange is under way: the server has the token, and will not rotate it.
async fn caught_when_asked(world: &World) -> Operator {
    caught(world, Step::status(503).held_before(), |counters| counters.exchanges).await
}

/// An operator whose second exchange is under way: the server has rotated, and has not answered.
async fn caught_when_rotated(world: &World) -> Operator {
    caught(world, Step::normal().held_after(), |counters| counters.rotations).await
}

async fn caught(world: &World, step: Step, counted: fn(&Counters) -> u64) -> Operator {
    let operator = world.operator(&Flags::identity("pod-0"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    world.sandbox.script("acme", vec![step]);
    world.request_refresh("acme", "1").await;
    world.until_sandbox("the second exchange", move |authority| counted(&authority.counters("acme")) == 2).await;
    operator
}

/// SIGKILL while the server had the token and had not rotated. The next process of the same pod knows that the first is
/// dead, and finds out after a settle time.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_pod_takes_its_own_claim_over_after_a_settle_time() {
    let world = World::new("same-pod").await;
    let operator = caught_when_asked(&world).await;

    operator.kill();
    world.sandbox.release("acme");
    let _next = world.operator(&Flags::identity("pod-0"));
    let status = world.until_rotation("acme", 2).await;

    assert_eq!(told(&status, "Ready"), "True Refreshed");
    assert_eq!(world.sandbox.counters("acme").exchanges, 3);
    assert_eq!(world.sandbox.counters("acme").overlapping, 0);
    finish(world).await;
}

/// The same, found by another pod: it waits until the claim has surely ended.
#[tokio::test(flavor = "multi_thread")]
async fn another_pod_takes_a_claim_over_when_it_has_surely_ended() {
    let world = World::new("other-pod").await;
    let operator = world.operator(&Flags::identity("pod-0"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    // Its token ends soon, so that a waiting pod does not wait for five minutes.
    world.sandbox.set_lifetimes("acme", Duration::from_secs(20), Duration::from_secs(3600));
    world.request_refresh("acme", "1").await;
    world.until_rotation("acme", 2).await;
    world.sandbox.script("acme", vec![Step::status(503).held_before()]);
    world.request_refresh("acme", "2").await;
    world.until_sandbox("the third exchange", |authority| authority.counters("acme").exchanges == 3).await;

    operator.kill();
    world.sandbox.release("acme");
    let _other = world.operator(&Flags::identity("pod-1"));
    let doubt = world
        .until("acme", |status| {
            told(status, "Ready") == "True Refreshed" && status.conditions[0].message.contains("may have used")
        })
        .await;
    assert_eq!(told(&doubt, "ReauthRequired"), "False GrantValid");
    world.until_rotation("acme", 3).await;

    let begins = world.sandbox.counters("acme").begins;
    assert!(begins[3] - begins[2] >= Duration::from_secs(17), "claim end + 5 s: {begins:?}");
    assert_eq!(world.sandbox.counters("acme").overlapping, 0);
    finish(world).await;
}

/// SIGKILL after the server rotated: the pair existed only on the wire. Nobody can avoid it, and it is told as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_died_with_its_process_is_told_as_lost() {
    let world = World::new("died").await;
    let operator = caught_when_rotated(&world).await;

    operator.kill();
    world.sandbox.release("acme");
    let _next = world.operator(&Flags::identity("pod-0"));

    world.until_reauth_is("acme", "RotationLost").await;
    finish(world).await;
}

/// I2: the API server is away when the answer comes; the pair is kept until it can be stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_in_hand_outlives_an_outage_of_the_api_server() {
    let cluster = own_cluster();
    let world = World::on(cluster, "outage", Options::default()).await;
    let operator = caught_when_rotated(&world).await;

    cluster.stop().unwrap();
    world.sandbox.release("acme");
    operator.until_printed("failed to store a token response").await;
    cluster.start_again().unwrap();
    world.until_rotation("acme", 2).await;
    assert!(world.published_token_is_good("acme").await);

    // And SIGKILL between answer and commit: the pair is gone, and is told as lost.
    world.sandbox.script("acme", vec![Step::normal().held_after()]);
    world.request_refresh("acme", "2").await;
    world.until_sandbox("the rotation", |authority| authority.counters("acme").rotations == 3).await;
    let unstored = operator.printed().matches("failed to store a token response").count();
    cluster.stop().unwrap();
    world.sandbox.release("acme");
    operator.until_printed_more("failed to store a token response", unstored).await;
    operator.kill();
    cluster.start_again().unwrap();
    let _next = world.operator(&Flags::identity("pod-0"));
    world.until_reauth_is("acme", "RotationLost").await;
    assert_eq!(world.sandbox.counters("acme").overlapping, 0);
    finish(world).await;
}

/// SIGTERM with an exchange under way: it is drained, the pair is stored, the Lease is given back.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_what_is_in_flight() {
    let world = World::new("sigterm").await;
    let operator = caught_when_rotated(&world).await;

    operator.signal("TERM");
    operator.until_printed("stopping").await;
    world.sandbox.release("acme");
    assert_eq!(operator.ended().await, 0);

    let status = world.until_rotation("acme", 2).await;
    assert_eq!(told(&status, "Ready"), "True Refreshed");
    assert!(world.published_token_is_good("acme").await);
    let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
        kube::Api::namespaced(world.client.clone(), &world.namespace);
    assert_eq!(
        leases.get("pleo-operator").await.unwrap().spec.unwrap().holder_identity,
        None,
        "the Lease is given back"
    );
    finish(world).await;
}

/// I1: two operators that both lead; the claims keep them apart.
#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_send_nothing_twice() {
    let world = World::new("two").await;
    let names = ["acme", "beta", "gamma"];
    for name in names {
        world.sandbox.set_lifetimes(name, Duration::from_secs(3), Duration::from_secs(3600));
    }
    let _one = world.operator(&Flags::identity("pod-0").lease("one"));
    let _two = world.operator(&Flags::identity("pod-1").lease("two"));
    for name in names {
        world.connected(name).await;
    }
    for name in names {
        world.until_rotation(name, 8).await;
        let counters = world.sandbox.counters(name);
        assert_eq!((counters.overlapping, counters.resent, counters.replays), (0, 0, 0), "{name}");
        assert_eq!(told(&world.until_rotation(name, 8).await, "ReauthRequired"), "False GrantValid");
    }
    finish(world).await;
}

/// A leader frozen between exchanges; the standby takes over; the thawed one sends nothing on its old Lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_thawed_leader_sends_nothing_twice() {
    let world = World::new("thaw").await;
    world.sandbox.set_lifetimes("acme", Duration::from_secs(8), Duration::from_secs(3600));
    let first = world.operator(&Flags::identity("pod-0"));
    first.until_printed("leading").await;
    let second = world.operator(&Flags::identity("pod-1"));
    world.connected("acme").await;
    world.until_rotation("acme", 2).await;

    first.signal("STOP");
    second.until_printed("leading").await;
    let status = world.until_rotation("acme", 4).await;
    first.signal("CONT");
    first.until_printed("the Lease was lost").await;
    world.until_rotation("acme", status.rotation.unwrap() + 2).await;

    let counters = world.sandbox.counters("acme");
    assert_eq!((counters.overlapping, counters.resent, counters.replays), (0, 0, 0));
    finish(world).await;
}

/// 40 SIGKILLs at random moments of a busy operator: a grant is lost only if an exchange was under way.
#[tokio::test(flavor = "multi_thread")]
async fn forty_sigkills_lose_a_grant_only_with_an_exchange_under_way() {
    let world = World::new("forty").await;
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    for name in &names {
        world.sandbox.set_lifetimes(name, Duration::from_secs(4), Duration::from_secs(3600));
        world.connected(name).await;
    }
    let mut moments = fastrand::Rng::with_seed(7);
    let mut in_flight_at_a_kill = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let operator = world.operator(&Flags::identity("pod-0"));
        operator.until_printed("leading").await;
        // A random moment is what this test is about; nothing is awaited.
        tokio::time::sleep(Duration::from_millis(moments.u64(50..900))).await;
        let before = world.sandbox.exchanges();
        operator.kill();
        // Under way: begun and not answered before, or anything that the sandbox finished around the kill.
        let answered: Vec<_> =
            before.iter().filter(|exchange| exchange.finished_at.is_some()).map(|exchange| exchange.id).collect();
        let now = world.sandbox.now();
        let recent = |exchange: &&pleo_sandbox::authority::ExchangeRecord| {
            !answered.contains(&exchange.id)
                || exchange.finished_at.is_some_and(|at| now.saturating_sub(at) < Duration::from_millis(500))
        };
        in_flight_at_a_kill
            .extend(world.sandbox.exchanges().iter().filter(recent).filter_map(|exchange| exchange.connection.clone()));
    }
    let _last = world.operator(&Flags::identity("pod-0"));
    for name in &names {
        let status = world
            .until(name, |status| {
                matches!(told(status, "ReauthRequired").as_str(), "False GrantValid" | "True RotationLost")
            })
            .await;
        let lost = told(&status, "ReauthRequired") == "True RotationLost";
        assert!(!lost || in_flight_at_a_kill.contains(name), "{name} was lost without an exchange under way");
    }
    finish(world).await;
}
