//! Workloads that cannot follow are restarted: once for each rotation, whatever happens in between.

use pleo_sandbox::script::Step;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault, Verb},
    stage::{
        process::Pod,
        world::{World, hours, minutes, seconds},
    },
};

fn restarts(call: &Call) -> bool {
    call.resource == "deployments.apps" && call.verb == Verb::Patch && call.client != "user"
}

/// A world in which `acme` restarts the Deployment `web`, and has done so once.
async fn with_web() -> (World, crate::stage::process::Process) {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.deploy("web").await;
    world.edit("acme", json!({"restartTargets": [{"kind": "Deployment", "name": "web"}]})).await;
    world.until("web is restarted", |world| world.rollouts("web").0 == 2).await;
    sleep(seconds(1)).await;
    (world, process)
}

#[tokio::test(start_paused = true)]
async fn each_rotation_restarts_once() {
    let (world, _process) = with_web().await;
    each_restarts_once(&world).await;
}

/// Ten rotations, one rollout each, marked with the rotation.
async fn each_restarts_once(world: &World) {
    for rotation in 2..=10 {
        world.next_exchange("acme", minutes(15)).await;
        sleep(minutes(2)).await;
        let (rollouts, mark) = world.rollouts("web");
        assert_eq!(rollouts, rotation + 1);
        assert!(mark.starts_with(&format!("acme {rotation} ")), "{mark}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_operator_restarts_nothing_and_writes_nothing() {
    let (world, process) = with_web().await;
    sleep(minutes(3)).await;
    world.server.reset_trace();
    let _process = process.stop().await.start(&world);
    sleep(minutes(5)).await;
    assert_eq!((world.rollouts("web").0, world.writes()), (2, vec![]));
}

#[tokio::test(start_paused = true)]
async fn rotations_in_quick_succession_restart_once_a_minute() {
    let (world, _process) = with_web().await;
    for number in 0..12 {
        world.request_refresh("acme", &format!("request-{number}")).await;
        sleep(seconds(10)).await;
    }
    // Two minutes have passed, and the first restart was before them.
    assert!(world.rollouts("web").0 <= 4, "{:?}", world.rollouts("web"));
    sleep(minutes(2)).await;
    let rotation = world.ledger("acme")["rotation"].as_i64().unwrap();
    assert_eq!(rotation, 13);
    assert!(
        world.rollouts("web").1.starts_with("acme 13 "),
        "the last one is for the newest token: {:?}",
        world.rollouts("web")
    );
}

/// A crash between the restart and its note in the ledger repeats the same mark, which changes nothing.
#[tokio::test(start_paused = true)]
async fn a_crash_in_between_does_not_restart_twice() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::AnswerLost] {
        let (world, process) = with_web().await;
        world.server.once(restarts, fault);
        world.next_exchange("acme", minutes(15)).await;
        let process = if fault == Fault::AnswerLost {
            process
        } else {
            process.client.crashed().await;
            process.kill().start(&world)
        };
        sleep(minutes(3)).await;
        assert_eq!(world.rollouts("web").0, 3, "{fault:?}");
        process.stop().await;
    }
}

/// A tool that takes our mark away restarts the workload itself; it is not answered with another restart, for ever and ever.
#[tokio::test(start_paused = true)]
async fn a_tool_that_takes_the_mark_away_starts_no_loop() {
    let (world, _process) = with_web().await;
    sleep(minutes(2)).await;
    world.strip_template("web").await;
    sleep(minutes(10)).await;
    assert_eq!(world.rollouts("web"), (3, String::new()));
}

/// A missing right is told, keeps no token from being rotated, and is tried again.
#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_told_and_keeps_no_rotation_waiting() {
    let (world, _process) = with_web().await;
    world.server.always(restarts, Fault::Status(403));
    world.next_exchange("acme", minutes(15)).await;
    sleep(minutes(1)).await;
    let conditions = world.status("acme")["conditions"].to_string();
    assert!(conditions.contains("Deployment web cannot be restarted"), "{conditions}");
    assert!(world.is_ready("acme") && world.token_works("acme"));
    world.server.clear_rules();
    world.until("it is restarted", |world| world.rollouts("web").0 == 3).await;
    sleep(minutes(1)).await;
    assert!(!world.status("acme")["conditions"].to_string().contains("cannot be restarted"));
}

/// A webhook that hangs on every restart keeps no claim of a dead process from being taken over, and no other token from being
/// rotated (I7).
#[tokio::test(start_paused = true)]
async fn restarts_that_hang_keep_no_token_waiting() {
    let (world, process) = with_web().await;
    world.connect("other", minutes(15)).await;
    world.until("the other one is ready", |world| world.is_ready("other")).await;
    world.server.always(restarts, Fault::AnswerLate(seconds(11)));
    // A process dies in the middle of an exchange of the other connection, and another pod takes over.
    world.pleo.script("other", [Step::normal().held_before()]);
    world.next_exchange("other", minutes(15)).await;
    process.kill();
    let _process = Pod::new(&world, "pod-b").with_lease("another").start(&world);
    world.request_refresh("acme", "so that there is something to restart for").await;
    world
        .until_within(minutes(10), "it was taken over and tried again", |world| {
            world.pleo.counters("other").begins.len() >= 3
        })
        .await;
    assert!(world.token_works("acme"));
}

/// Two leaders at once restart no more than one does.
#[tokio::test(start_paused = true)]
async fn two_leaders_restart_once() {
    let (world, _process) = with_web().await;
    let _second = Pod::new(&world, "pod-b").with_lease("another").start(&world);
    each_restarts_once(&world).await;
}

/// What is not there needs no restart: it reads the newest token when it comes.
#[tokio::test(start_paused = true)]
async fn a_workload_that_is_not_there_is_not_waited_for() {
    let (world, _process) = World::with_acme(hours(20)).await;
    world.edit("acme", json!({"restartTargets": [{"kind": "DaemonSet", "name": "gone"}]})).await;
    sleep(minutes(1)).await;
    world.server.reset_trace();
    sleep(hours(1)).await;
    assert_eq!(world.writes(), []);
    assert!(world.is_ready("acme"));
}
