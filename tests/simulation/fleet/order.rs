//! I6, lateness: who comes first when more is due than can be done.

use pleo_sandbox::script::Step;
use serde_json::json;

use crate::stage::{
    pleo::STAGING_ACCOUNT,
    process::Pod,
    world::{World, minutes, seconds},
};

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_keeps_no_connection_of_another_waiting() {
    let world = World::new().await;
    let (sick, healthy): (Vec<_>, Vec<_>) =
        ((0..150).map(|n| format!("sick{n}")).collect(), (0..20).map(|n| format!("well{n}")).collect());
    for name in &sick {
        world.connect(name, minutes(15)).await;
    }
    for name in &healthy {
        let token = world.pleo.consent(&format!("{name}{STAGING_ACCOUNT}"));
        world.put_secret(&format!("{name}-grant"), &[("refresh_token", &token)]).await;
        world.declare(name).await;
        world.edit(name, json!({"environment": "Staging"})).await;
    }
    let _process = Pod::new(&world, "pod-a").start(&world);
    world.until("all have a token", |world| sick.iter().chain(&healthy).all(|name| world.is_ready(name))).await;
    for name in &sick {
        world.pleo.repeat(name, Step::normal().held_before());
        world.request_refresh(name, "now").await;
    }
    tokio::time::sleep(seconds(6)).await;
    for name in &healthy {
        world.request_refresh(name, "now").await;
    }
    let served = |world: &World| {
        healthy.iter().all(|name| world.pleo.counters(&format!("{name}{STAGING_ACCOUNT}")).exchanges == 2)
    };
    world.until_within(seconds(5), "all of the other server are refreshed", served).await;
}
