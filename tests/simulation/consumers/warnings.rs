//! What people are told: before a grant is too old, at once when a human is needed, and when it could be an attack. Each
//! once, and nothing in between (I6, T3, O2).

use std::time::Duration;

use jiff::Timestamp;
use pleo_operator::domain::report::notice::NoticeKind;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    apiserver::{Call, Fault},
    links::{
        browser::Browser,
        visits::{dead_acme, link},
    },
    stage::{
        process::Process,
        world::{World, days, minutes, seconds},
    },
};

/// The value of a metric, by its name and labels as Prometheus reads them.
fn metric(process: &Process, series: &str) -> u64 {
    let text = process.metrics.text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("no {series}"));
    line.trim().parse().unwrap()
}

fn heard(process: &mut Process) -> Vec<(NoticeKind, String)> {
    std::iter::from_fn(|| process.notices.try_next()).map(|notice| (notice.kind, notice.reason)).collect()
}

/// T3, I6: three writes in seventy days.
#[tokio::test(start_paused = true)]
async fn a_suspended_grant_warns_before_it_is_too_old() {
    let (world, process) = World::with_acme(minutes(15)).await;
    world.edit("acme", json!({"suspend": true})).await;
    sleep(days(1)).await;
    world.server.reset_trace();
    for (day, told) in
        [(45, ""), (47, "True ExpiresWithin14Days"), (58, "True ExpiresWithin3Days"), (70, "True MayHaveExpired")]
    {
        sleep_until_day(&world, day).await;
        assert_eq!(world.condition("acme", "GrantExpiring"), told, "on day {day}");
    }
    let statuses = world.writes().iter().filter(|write| write.subresource == "status").count();
    let events = world.events("acme");
    let warned = events.iter().filter(|reason| reason.starts_with("Expires") || *reason == "MayHaveExpired");
    assert_eq!((statuses, warned.count()), (3, 3));
    let issued_at: Timestamp = world.status("acme")["lastRefreshTime"].as_str().unwrap().parse().unwrap();
    let end = u64::try_from(issued_at.as_second()).unwrap() + 60 * 86_400;
    let gauge = "pleo_connection_grant_expiration_timestamp_seconds{namespace=\"finance\",name=\"acme\"}";
    assert_eq!(metric(&process, gauge), end);
}

/// An event, a count and a notice as soon as the server refuses; the same when a human has consented.
#[tokio::test(start_paused = true)]
async fn a_human_is_called_at_once_and_everybody_hears_the_end() {
    let (world, mut process) = dead_acme().await;
    // The webhook was away all the time: only the last one is still true.
    assert_eq!(heard(&mut process), [(NoticeKind::ReauthRequired, "GrantRefused".into())]);
    assert_eq!(metric(&process, "pleo_security_signals_total{signal=\"rejected_early\"}"), 1);
    assert!(world.events("acme").contains(&"RejectedEarly".to_owned()));
    let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
    let there = human.open(&pages, &link(&world).unwrap()).await;
    human.come_back(&pages, &world.pleo.allow(&there, "acme")).await;
    sleep(seconds(5)).await;
    assert_eq!(heard(&mut process), [(NoticeKind::Recovered, "GrantValid".into())]);
    assert_eq!(metric(&process, "pleo_authorizations_total{outcome=\"connected\"}"), 1);
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(heard(&mut process), [], "a day of refreshes is no news");
}

/// A consent that came to nothing is told beside the page, for whoever does not see it.
#[tokio::test(start_paused = true)]
async fn a_consent_that_came_to_nothing_is_told() {
    let (world, process) = dead_acme().await;
    let (pages, mut human) = (process.pages.clone().unwrap(), Browser::default());
    let there = human.open(&pages, &link(&world).unwrap()).await;
    let callback = world.pleo.allow(&there, "acme");
    world.edit("acme", json!({"suspend": true})).await;
    human.get(&pages, &callback).await;
    sleep(minutes(6)).await;
    assert_eq!(metric(&process, "pleo_authorizations_total{outcome=\"too_late\"}"), 1);
    assert_eq!(world.events("acme").iter().filter(|reason| *reason == "AuthorizationFailed").count(), 1);
}

/// The answer to the very write that says so is lost: it is said all the same, and once.
#[tokio::test(start_paused = true)]
async fn a_human_is_called_though_the_answer_to_the_status_was_lost() {
    let (world, mut process) = World::with_acme(minutes(15)).await;
    assert_eq!(heard(&mut process), [(NoticeKind::Recovered, "GrantValid".into())]);
    let writes_status = |call: &Call| call.subresource == "status" && call.verb.is_write();
    let is_dead = |world: &World| world.condition("acme", "ReauthRequired") == "True GrantRefused";
    world.pleo.revoke("acme");
    world.server.times(2, writes_status, Fault::AnswerLost);
    world.request_refresh("acme", "now").await;
    world.until("the status says so", is_dead).await;
    sleep(minutes(1)).await;
    assert_eq!(world.server.rules_left(), 0, "answers were lost");
    assert_eq!(heard(&mut process), [(NoticeKind::ReauthRequired, "GrantRefused".into())]);
    let told = |reason: &str| world.events("acme").iter().filter(|told| *told == reason).count();
    assert_eq!((told("GrantRefused"), told("RejectedEarly")), (1, 1));
}

async fn sleep_until_day(world: &World, day: u64) {
    sleep(days(day).saturating_sub(world.server.elapsed())).await;
}
