//! A token that may be used is asked about before it is sent (RFC 7662): by an endpoint that was proved, and by no other.

use pleo_operator::domain::introspection::Introspected::{self, Active, Inactive};
use pleo_sandbox::script::Step;
use tokio::time::sleep;

use crate::stage::{
    pleo::introspection::Introspection,
    process::Process,
    world::{World, hours, minutes, seconds},
};

fn answers(world: &World) -> Vec<Introspected> {
    world.pleo.asked().into_iter().map(|asked| asked.answer).collect()
}

/// The next exchange, whose answer is lost in this way; then all that follows in ten minutes.
async fn after(world: &World, lost: Step) {
    world.pleo.script("acme", [lost]);
    world.next_exchange("acme", minutes(15)).await;
    sleep(minutes(10)).await;
}

/// One question for each authorization, however often it is refreshed, and over a restart.
#[tokio::test(start_paused = true)]
async fn an_endpoint_is_proved_once_for_each_authorization() {
    let (world, process) = World::with_acme(minutes(15)).await;
    sleep(hours(3)).await;
    let _process = process.kill().start(&world);
    sleep(hours(3)).await;
    assert_eq!(answers(&world), [Active]);
    world.consent("acme").await;
    sleep(hours(1)).await;
    assert_eq!(answers(&world), [Active, Active]);
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// I1, I3: an answer that was lost after the server rotated. The used token is never presented.
#[tokio::test(start_paused = true)]
async fn a_used_token_is_reported_lost_and_never_presented() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    after(&world, Step::answer_lost()).await;
    assert_eq!(answers(&world), [Active, Inactive, Inactive]);
    let counters = world.pleo.counters("acme");
    assert_eq!((counters.resent, counters.replays, counters.families_killed), (0, 0, 0));
    assert_eq!(world.condition("acme", "ReauthRequired"), "True RotationLost");
    world.consent("acme").await;
    sleep(minutes(1)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// I7: an outage that rotated nothing heals by itself. As long as the access token is good, nothing is sent.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_still_active_waits_while_its_access_token_is_good_and_heals() {
    let (world, _process) = World::with_acme(hours(1)).await;
    let before = world.pleo.exchanged();
    world.pleo.script("acme", [Step::status(503)]);
    world.next_exchange("acme", hours(1)).await;
    sleep(minutes(3)).await;
    assert_eq!(world.pleo.exchanged(), before + 1, "asked, and not sent");
    assert!(world.token_works("acme"));
    world.until_within(minutes(5), "it is refreshed", |world| world.pleo.exchanged() == before + 2).await;
    sleep(seconds(1)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert!(answers(&world).iter().all(|answer| *answer == Active));
    assert!((5..=8).contains(&answers(&world).len()), "{:?}", answers(&world));
}

/// I9: what fails may call a good token inactive. It is asked twice, a settle time apart.
#[tokio::test(start_paused = true)]
async fn one_wrong_answer_of_a_proved_endpoint_ends_no_authorization() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.set_introspection(Introspection::AlwaysInactive);
    world.pleo.script("acme", [Step::status(503)]);
    world.next_exchange("acme", minutes(15)).await;
    world.until_within(minutes(2), "it is asked", |world| answers(world).last() == Some(&Inactive)).await;
    world.pleo.set_introspection(Introspection::Truthful);
    sleep(minutes(10)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
    assert_eq!(answers(&world)[..3], [Active, Inactive, Active]);
}

/// RFC 7662 section 2.2: a server may call every token inactive for a client that may not ask. It is not believed.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_calls_a_new_token_inactive_is_not_believed() {
    for useless in [Introspection::AlwaysInactive, Introspection::Absent] {
        let (world, process) = without_answers(useless).await;
        let asked = world.pleo.asked().len();
        after(&world, Step::status(503)).await;
        assert!(world.is_ready("acme") && world.token_works("acme"), "{useless:?}");
        assert_eq!(world.pleo.asked().len(), asked, "{useless:?}: it is not asked again");
        drop(process);
    }
}

/// No answer costs five seconds, and nothing else.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_never_answers_keeps_nothing_from_being_sent() {
    let (world, _process) = without_answers(Introspection::Silent).await;
    after(&world, Step::status(503)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

/// The endpoint was proved, and answers nothing when it is needed.
#[tokio::test(start_paused = true)]
async fn a_proved_endpoint_without_an_answer_changes_nothing() {
    let (world, _process) = World::with_acme(minutes(15)).await;
    world.pleo.set_introspection(Introspection::Silent);
    after(&world, Step::status(503)).await;
    assert!(world.is_ready("acme") && world.token_works("acme"));
}

async fn without_answers(introspection: Introspection) -> (World, Process) {
    let world = World::new().await;
    world.pleo.set_introspection(introspection);
    world.connect("acme", minutes(15)).await;
    let process = crate::stage::process::Pod::new(&world, "pod-a").start(&world);
    sleep(minutes(1)).await;
    assert!(world.is_ready("acme"));
    (world, process)
}
