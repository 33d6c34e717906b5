//! Idle is quiet (I6), with many connections, over a restart too.

use std::time::Duration;

use crate::harness::{Flags, World, finish};

/// 200 connections with nothing due: not one write, whether the operator runs on or is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_idle_connections_cost_no_write() {
    let world = World::new("idle").await;
    let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
    for name in &names {
        world.sandbox.set_lifetimes(name, Duration::from_secs(86_400), Duration::from_secs(1 << 22));
        world.connected(name).await;
    }
    let operator = world.operator(&Flags::identity("a"));
    for name in &names {
        // The last word of a first rotation: a pass that was broken off says it later.
        world.until_ready_is(name, "Refreshed").await;
    }
    assert_eq!(operator.stop().await, 0);
    let writes = world.writes().len();

    let looks = world.looks(&names);
    let operator = world.operator(&Flags::identity("a"));
    world.until_looked_at(&names, &looks, 1).await;
    // Two exchanges keep their distance, and a status says so: the one that was begun first is far enough from its last.
    let first = world.sandbox.exchanges().into_iter().next().expect("an exchange");
    while world.sandbox.now() < first.began_at + Duration::from_secs(6) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let name = first.connection.expect("a connection");
    world.request_refresh(&name, "are you there").await;
    world.until_rotation(&name, 2).await;
    assert_eq!(operator.stop().await, 0);

    assert_eq!(
        world.writes().len(),
        writes + 4,
        "four for the one that was asked for: {:#?}",
        &world.writes()[writes..]
    );
    assert_eq!(world.sandbox.exchanges().len(), 201);
    finish(world).await;
}
