//! Pods that ask for it are told of each rotation right after the token Secret was written. It is a courtesy: whatever goes
//! wrong with it, rotations go on.

use serde_json::json;
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault, Record, Verb},
    stage::{
        process::Pod,
        world::{World, hours, minutes, seconds},
    },
};

fn tells_pod(call: &Call) -> bool {
    call.resource == "pods" && call.verb == Verb::Patch
}

fn is_about_pods(record: &Record) -> bool {
    record.resource == "pods" && record.client != "user"
}

/// A world with so many pods that follow `acme`.
async fn with_pods(count: usize) -> (World, crate::stage::process::Process) {
    let (world, process) = World::with_acme(minutes(15)).await;
    for number in 0..count {
        world.run_pod(&format!("web-{number}"), json!({"pleo.io/connection": "acme"})).await;
    }
    (world, process)
}

#[tokio::test(start_paused = true)]
async fn pods_with_the_label_are_told_right_after_the_token_was_published() {
    let (world, _process) = with_pods(3).await;
    world.run_pod("stranger", json!({"app": "web"})).await;
    world.run_pod("other", json!({"pleo.io/connection": "somebody-else"})).await;
    world.server.reset_trace();
    world.next_exchange("acme", minutes(15)).await;
    world.until("all are told", |world| (0..3).all(|n| world.told(&format!("web-{n}")).as_deref() == Some("2"))).await;
    assert_eq!((world.told("stranger"), world.told("other")), (None, None));
    let trace = world.server.trace();
    let published = trace.iter().position(|record| record.name == "acme-token" && record.verb == Verb::Patch);
    let told = trace.iter().position(is_about_pods);
    assert!(published < told, "first the Secret, then the pods: {published:?} {told:?}");
    assert_eq!(trace.iter().filter(|record| is_about_pods(record)).count(), 1 + 3, "one list, a patch for each");
}

/// I6: idle is quiet with pods, too, and over a restart of the operator.
#[tokio::test(start_paused = true)]
async fn pods_that_were_told_are_not_told_again() {
    let (world, process) = with_pods(2).await;
    world.next_exchange("acme", minutes(15)).await;
    world.until("both are told", |world| world.told("web-0").is_some() && world.told("web-1").is_some()).await;
    sleep(seconds(10)).await;
    world.server.reset_trace();
    let _process = process.stop().await.start(&world);
    sleep(minutes(5)).await;
    assert_eq!(world.writes(), []);
}

/// A pod that started after the last rotation has read the newest token: nobody needs to tell it, whoever begins to lead.
#[tokio::test(start_paused = true)]
async fn a_restart_long_after_a_rotation_does_not_even_look_for_pods() {
    let (world, process) = World::with_acme(hours(20)).await;
    sleep(hours(1)).await;
    world.run_pod("late", json!({"pleo.io/connection": "acme"})).await;
    world.server.reset_trace();
    let _process = process.stop().await.start(&world);
    sleep(hours(1)).await;
    assert_eq!(world.server.trace().iter().filter(|record| is_about_pods(record)).count(), 0);
    assert_eq!(world.told("late"), None);
}

/// A crash between the Secret and the pods: whoever leads next tells those that were not told.
#[tokio::test(start_paused = true)]
async fn pods_that_a_crash_left_untold_are_told_by_the_next_process() {
    let (world, process) = with_pods(4).await;
    world.server.once(tells_pod, Fault::CrashBefore);
    world.next_exchange("acme", minutes(15)).await;
    process.client.crashed().await;
    let _process = process.kill().start(&world);
    world.until("all are told", |world| (0..4).all(|n| world.told(&format!("web-{n}")).as_deref() == Some("2"))).await;
    assert!(world.token_works("acme"));
}

/// A refusal, by rights or by a policy, costs nothing but a line in the log.
#[tokio::test(start_paused = true)]
async fn pods_that_cannot_be_told_keep_no_rotation_waiting() {
    let (world, process) = with_pods(2).await;
    world.server.always(|call| call.resource == "pods", Fault::Status(403));
    for rotation in 2..=4 {
        world.next_exchange("acme", minutes(15)).await;
        world.until("it is published", |world| world.token_works("acme") && world.is_ready("acme")).await;
        assert_eq!(world.ledger("acme")["rotation"], rotation);
    }
    assert_eq!(world.told("web-0"), None);
    let metrics = process.metrics.text().unwrap();
    assert!(metrics.contains("pleo_pod_notifications_total{outcome=\"failure\"} 3"), "{metrics}");
}

/// One pod that a policy protects keeps the others from nothing.
#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_told_does_not_keep_others_waiting() {
    let (world, process) = with_pods(3).await;
    world.server.always(|call| tells_pod(call) && call.name == "web-1", Fault::Status(403));
    world.next_exchange("acme", minutes(15)).await;
    world.until("the others are told", |world| world.told("web-0").is_some() && world.told("web-2").is_some()).await;
    sleep(seconds(1)).await;
    assert_eq!(world.told("web-1"), None);
    let metrics = process.metrics.text().unwrap();
    assert!(metrics.contains("pleo_pod_notifications_total{outcome=\"failure\"} 1"), "{metrics}");
    assert!(metrics.contains("pleo_pod_notifications_total{outcome=\"success\"} 2"), "{metrics}");
}

/// A term that ends in the middle of the telling, and begins again, tells the rest.
#[tokio::test(start_paused = true)]
async fn pods_that_a_lost_lease_left_untold_are_told_in_the_next_term() {
    let (world, process) = World::with_acme_on(minutes(15), Pod::with_brief_lease).await;
    for number in 0..900 {
        world.run_pod(&format!("web-{number}"), json!({"pleo.io/connection": "acme"})).await;
    }
    world.next_exchange("acme", minutes(15)).await;
    world.until("the first are told", |world| world.told("web-0").is_some()).await;
    world.server.always(|call| call.resource == "leases.coordination.k8s.io", Fault::Unreachable);
    world.until("the Lease is lost", |_| !process.leads()).await;
    world.server.clear_rules();
    world
        .until("all are told", |world| (0..900).all(|n| world.told(&format!("web-{n}")).as_deref() == Some("2")))
        .await;
}

/// Many pods are told at a limited rate, and the last word counts: nobody is told of a rotation that is over.
#[tokio::test(start_paused = true)]
async fn many_pods_are_told_at_a_limited_rate_and_the_last_word_counts() {
    let (world, _process) = with_pods(400).await;
    world.next_exchange("acme", minutes(15)).await;
    let began = world.server.elapsed();
    world.until("the first are told", |world| world.told("web-0").is_some()).await;
    sleep(seconds(4)).await;
    let so_far = (0..400).filter(|n| world.told(&format!("web-{n}")).is_some()).count();
    assert!((150..=301).contains(&so_far), "50 a second, after a second's worth at once: {so_far}");
    world.request_refresh("acme", "now").await;
    world
        .until("all are told the last word", |world| {
            (0..400).all(|n| world.told(&format!("web-{n}")).as_deref() == Some("3"))
        })
        .await;
    // 4 s of the first word and 400 pods at 50 a second for the last one; those in between cost nothing.
    let seconds = (world.server.elapsed() - began).as_secs();
    assert!((8..=14).contains(&seconds), "{seconds} s");
    let told = world.server.trace().iter().filter(|record| is_about_pods(record) && record.verb == Verb::Patch).count();
    assert!(told < 400 + 310, "the first word was not told to the end: {told}");
}

/// X6: when a user must authorize again, pods learn at once that there is no token any more.
#[tokio::test(start_paused = true)]
async fn pods_are_told_that_the_token_is_gone() {
    let (world, _process) = with_pods(1).await;
    world.pleo.revoke("acme");
    world.next_exchange("acme", minutes(15)).await;
    world.until("the pod is told", |world| world.told("web-0").as_deref() == Some("1-ReauthRequired")).await;
    assert_eq!(world.secret("acme-token", "access_token"), None);
}

/// SIGTERM in the middle of an exchange: the pair is stored, published, and told.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_to_end_tells_the_pods_first() {
    let (world, process) = with_pods(5).await;
    world.pleo.script("acme", [pleo_sandbox::script::Step::normal().held_after()]);
    world.next_exchange("acme", minutes(15)).await;
    process.terminate();
    sleep(seconds(5)).await;
    world.pleo.release("acme");
    let _: Pod = process.stop().await;
    assert!((0..5).all(|n| world.told(&format!("web-{n}")).as_deref() == Some("2")));
}
