//! The pages: their tables list exactly the reasons, flags and metrics that the program has, and every link of theirs leads to
//! a file and a heading that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube_runtime::{reflector, watcher};
use pleo_operator::{
    api::{
        AgingReason, ConditionType, FailureReason, PleoConnection, PleoConnectionStatus, ReadyReason, Reason,
        ReauthReason, TokenState,
    },
    cli::Cli,
    domain::{governor::ServerState, queue::ServerView},
    telemetry::metrics::Metrics,
};

use crate::scenes;

const LONGEST_README: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table whose head begins like this, cell by cell, without backticks.
fn table(page: &str, head: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = lines.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line.trim_matches('|').split(" |").map(|cell| cell.trim().trim_matches('`').to_owned());
        cells.collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    assert!(!rows.is_empty(), "there is no table {head}");
    rows
}

fn first_cells(page: &str, head: &str) -> Vec<String> {
    table(page, head).into_iter().map(|row| row[0].clone()).collect()
}

/// In the order in which the first that applies is shown.
#[test]
fn the_reasons_of_ready_are_those_of_the_program() {
    let rows = table(&page("docs/conditions.md"), "| Ready | reason");
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str(), row[2] == "yes")).collect();
    let expected = ReadyReason::ALL.iter().map(|reason| (reason.status().as_str(), reason.as_str(), reason.stalls()));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn the_reasons_of_reauth_required_are_those_of_the_program() {
    let rows = table(&page("docs/conditions.md"), "| ReauthRequired | reason");
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = ReauthReason::ALL.iter().map(|reason| (reason.status().as_str(), reason.as_str()));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn the_other_reasons_and_states_are_those_of_the_program() {
    let api = page("docs/api.md");
    let names = |all: &[&'static str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let aging: Vec<_> = AgingReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let failures: Vec<_> = FailureReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let states: Vec<_> = TokenState::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(first_cells(&api, "| `GrantExpiring` |"), names(&aging));
    assert_eq!(first_cells(&api, "| `lastFailure.reason` |"), names(&failures));
    assert_eq!(first_cells(&api, "| `state` | `access_token` |"), names(&states));
}

#[test]
fn the_flags_are_those_of_the_program_with_their_variables() {
    let rows = table(&page("docs/cli.md"), "| flag | variable |");
    let found: BTreeSet<_> =
        rows.iter().map(|row| (row[0].clone(), row[1].clone())).filter(|(flag, _)| !flag.is_empty()).collect();
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("the command run");
    let flags = run.get_arguments().filter_map(|flag| {
        let variable = flag.get_env()?.to_string_lossy().into_owned();
        Some((format!("--{}", flag.get_long()?), variable))
    });
    assert_eq!(found, flags.collect());
}

#[test]
fn the_flags_of_the_proxy_are_those_of_the_program_with_their_variables() {
    let documented = |n: usize| {
        let rows = table(&page("docs/cli.md"), "| proxy flag | variable |");
        let cells = rows.iter().flat_map(|row| row[n].split(", ").map(str::to_owned).collect::<Vec<_>>());
        cells.map(|cell| cell.trim_matches('`').to_owned()).collect::<BTreeSet<_>>()
    };
    let cli = Cli::command();
    let proxy = cli.find_subcommand("proxy").expect("the command proxy");
    let arguments: Vec<_> = proxy.get_arguments().filter(|argument| argument.get_id() != "help").collect();
    let flags = arguments.iter().map(|argument| format!("--{}", argument.get_long().expect("a flag")));
    assert_eq!(documented(0), flags.collect());
    let variables =
        arguments.iter().map(|argument| argument.get_env().expect("a variable").to_string_lossy().into_owned());
    assert_eq!(documented(1), variables.collect());
}

#[test]
fn the_metrics_are_those_of_the_program() {
    let metrics = Metrics::new();
    let (connections, mut writer) = reflector::store();
    writer.apply_watcher_event(&watcher::Event::Apply(ready_connection()));
    metrics.show_connections(connections);
    metrics.show_servers(|| {
        let server = scenes::PRODUCTION.to_owned();
        vec![ServerView { server, state: ServerState::Healthy, held: 0, rejected: 0 }]
    });
    let text = metrics.text().expect("metrics");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' '));
    let exported: BTreeSet<_> = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();

    let rows = table(&page("docs/metrics.md"), "| metric |");
    let documented = rows.iter().map(|row| {
        let name = row[0].split('{').next().expect("a name");
        let name = name.strip_suffix("_total").or(name.strip_suffix("_info")).unwrap_or(name);
        (name.to_owned(), row[1].clone())
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), exported);
}

/// One for which every gauge has a value.
fn ready_connection() -> PleoConnection {
    let spec = serde_json::json!({ "client": { "secretRef": { "name": "pleo-client" } } });
    let mut connection = PleoConnection::new("acme", serde_json::from_value(spec).expect("a spec"));
    connection.metadata.namespace = Some("finance".into());
    let condition = |kind: ConditionType, reason: &str, status: &str| Condition {
        type_: kind.as_str().into(),
        reason: reason.into(),
        status: status.into(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: String::new(),
        observed_generation: None,
    };
    connection.status = Some(PleoConnectionStatus {
        conditions: vec![
            condition(ConditionType::Ready, ReadyReason::Refreshed.as_str(), "True"),
            condition(ConditionType::ReauthRequired, ReauthReason::GrantValid.as_str(), "False"),
        ],
        ..PleoConnectionStatus::default()
    });
    connection
}

#[test]
fn the_readme_is_short() {
    let lines = page("README.md").lines().count();
    assert!(lines <= LONGEST_README, "{lines} lines: move something to docs");
}

#[test]
fn every_link_leads_to_a_page_and_a_heading() {
    let mut broken = Vec::new();
    for path in pages() {
        let text = without_code(&page(&path));
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root().join(&path).parent().expect("a folder").join(file),
            };
            let is_page = target.extension().is_some_and(|extension| extension == "md");
            let has_heading = || headings(&fs::read_to_string(&target).unwrap_or_default()).contains(heading);
            if !target.exists() || is_page && !heading.is_empty() && !has_heading() {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

/// Every page, by its path from the root.
fn pages() -> Vec<String> {
    let folders = ["", "docs", "docs/runbooks", "charts/pleo-operator", "crates/sandbox", "crates/testbed"];
    let mut pages = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                pages.push(Path::new(folder).join(name).to_string_lossy().into_owned());
            }
        }
    }
    assert!(pages.len() > 30, "pages are missing: {pages:?}");
    pages
}

fn without_code(page: &str) -> String {
    let mut in_code = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Where the links of a page lead, but for those to other sites.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
}

/// The anchors that a page's headings have, as GitHub makes them.
fn headings(page: &str) -> BTreeSet<String> {
    let page = without_code(page);
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Every page is in the site.
#[test]
fn the_summary_of_the_site_names_every_page() {
    let summary = page("docs/site/SUMMARY.md");
    let folders = ["docs", "docs/runbooks"].map(|folder| (folder, fs::read_dir(root().join(folder)).unwrap()));
    let pages = folders.into_iter().flat_map(|(folder, files)| {
        files.map(move |file| format!("{folder}/{}", file.unwrap().file_name().to_string_lossy()))
    });
    let missing = pages.filter(|page| page.ends_with(".md") && !summary.contains(&format!("({page})")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}
