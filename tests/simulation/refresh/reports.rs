//! A client reports that the API rejects its access token: one early refresh, at most one in ten minutes, and none where the server
//! calls the token active.

use pleo_operator::{
    api::names,
    domain::{
        introspection::Introspected::{Active, Inactive},
        possession::proof,
        token::AccessToken,
    },
    reports::limits::Target,
};
use pleo_sandbox::script::Step;
use tokio::time::sleep;

use crate::stage::{
    pleo::introspection::{Asked, Introspection},
    process::{Pod, Process},
    world::{NAMESPACE, World, hours, minutes, seconds},
};

/// Who has the token that pods have reports it to this replica.
async fn report(world: &World, process: &Process) {
    let token = world.secret("acme-token", "access_token").expect("a token");
    let target = Target { namespace: NAMESPACE.into(), name: "acme".into() };
    process.intake.take(&target, &proof(&AccessToken::new(token))).await;
    sleep(seconds(1)).await;
}

fn outcomes(process: &Process) -> Vec<String> {
    let text = process.metrics.text().unwrap();
    let label = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let counted = text.lines().filter(|line| line.starts_with("pleo_rejection_reports_total") && !line.ends_with(" 0"));
    let mut outcomes: Vec<String> = counted.filter_map(label).collect();
    outcomes.sort();
    outcomes
}

/// With an endpoint that says nothing about tokens.
async fn without_introspection() -> (World, Process) {
    let world = World::new().await;
    world.pleo.set_introspection(Introspection::Absent);
    world.connect("acme", hours(1)).await;
    let process = Pod::new(&world, "pod-a").start(&world);
    sleep(minutes(2)).await;
    (world, process)
}

/// Requirement F1. Any replica takes the report; the leader refreshes.
#[tokio::test(start_paused = true)]
async fn a_token_that_the_api_rejects_is_refreshed_once_early() {
    let (world, _leader) = without_introspection().await;
    let standby = Pod::new(&world, "pod-b").start(&world);
    let before = world.pleo.exchanged();
    world.pleo.reject_access_token("acme");
    assert!(!world.token_works("acme"));
    report(&world, &standby).await;
    assert!(world.token_works("acme") && world.is_ready("acme"));
    assert_eq!((world.pleo.exchanged(), outcomes(&standby)), (before + 1, vec!["noted".to_owned()]));
}

/// A client that lies costs one refresh in ten minutes, or in half a token's lifetime.
#[tokio::test(start_paused = true)]
async fn a_client_that_lies_all_the_time_causes_few_refreshes() {
    let (world, process) = without_introspection().await;
    let before = world.pleo.exchanged();
    for _ in 0..29 * 6 {
        report(&world, &process).await;
        sleep(seconds(9)).await;
    }
    assert_eq!(world.pleo.exchanged(), before + 1, "in 29 minutes of a token that lives for an hour");
}

/// RFC 7662: the server knows better than a client.
#[tokio::test(start_paused = true)]
async fn a_token_that_the_server_calls_active_is_not_refreshed() {
    let (world, process) = World::with_acme(hours(1)).await;
    sleep(minutes(2)).await;
    let (before, asked) = (world.pleo.exchanged(), world.pleo.asked().len());
    report(&world, &process).await;
    report(&world, &process).await;
    let answers: Vec<_> = world.pleo.asked()[asked..].iter().map(|asked| asked.answer).collect();
    assert_eq!(
        (world.pleo.exchanged(), answers),
        (before, vec![Active, Active]),
        "asked about both, and not refreshed"
    );
    assert_eq!(outcomes(&process), ["noted", "repeated"]);
}

/// The access token is inactive, and the refresh token is not: it is sent.
#[tokio::test(start_paused = true)]
async fn both_tokens_are_asked_about_before_one_is_presented_early() {
    let (world, process) = World::with_acme(hours(1)).await;
    sleep(minutes(2)).await;
    let (before, asked) = (world.pleo.exchanged(), world.pleo.asked().len());
    world.pleo.reject_access_token("acme");
    report(&world, &process).await;
    let answers: Vec<_> = world.pleo.asked()[asked..].iter().map(|asked: &Asked| asked.answer).collect();
    assert_eq!(world.pleo.exchanged(), before + 1);
    assert!(answers.len() == 2 && answers.contains(&Inactive) && answers.contains(&Active), "{answers:?}");
    assert!(world.token_works("acme"));
}

/// I9: the refresh token is called inactive, too. The authorization was revoked, or the server has forgotten what it knew for a moment:
/// a report presents no token then. The planned refresh shows which it is.
#[tokio::test(start_paused = true)]
async fn a_report_ends_no_authorization() {
    let (world, process) = World::with_acme(hours(1)).await;
    sleep(minutes(2)).await;
    let before = world.pleo.exchanged();
    world.pleo.set_introspection(Introspection::AlwaysInactive);
    report(&world, &process).await;
    world.pleo.set_introspection(Introspection::Truthful);
    sleep(minutes(2)).await;
    assert_eq!(world.pleo.exchanged(), before);
    assert!(world.is_ready("acme"));
    world.pleo.revoke("acme");
    sleep(hours(1)).await;
    assert_eq!(world.condition("acme", "ReauthRequired"), "True GrantRefused");
}

/// I1: a report wakes nothing that waits after a failure.
#[tokio::test(start_paused = true)]
async fn a_report_skips_no_wait_after_a_failure() {
    let (world, process) = without_introspection().await;
    world.pleo.script("acme", [Step::status(429), Step::status(429)]);
    world.request_refresh("acme", "now").await;
    sleep(seconds(1)).await;
    let before = world.pleo.exchanged();
    report(&world, &process).await;
    assert_eq!((world.pleo.exchanged(), outcomes(&process)), (before, vec!["noted".to_owned()]));
}

/// What is reported of a token that is not the current one, or of no connection, changes nothing.
#[tokio::test(start_paused = true)]
async fn a_report_without_the_token_changes_nothing() {
    let (world, process) = without_introspection().await;
    let ledger = world.ledger("acme");
    for (name, token) in [("acme", "guessed"), ("other", "guessed"), ("acme-grant", "guessed")] {
        let target = Target { namespace: NAMESPACE.into(), name: name.into() };
        process.intake.take(&target, &proof(&AccessToken::new(token))).await;
    }
    assert_eq!((world.ledger("acme"), outcomes(&process)), (ledger, vec!["unproved".to_owned()]));
    assert!(world.secret(&names::grant_secret("acme"), "refresh_token").is_some());
}
