//! Starting: bad arguments, no cluster, no CRD, no rights. One line that says what to do, and never a crash in a loop.

use std::process::Command;

use pleo_sandbox::Options;
use pleo_testbed::Cluster;

use crate::harness::{Flags, World, finish, install_crd};

fn operator(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_pleo-operator"))
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Exit status 2 and one line for whatever cannot be meant.
#[test]
fn bad_arguments_are_told_in_one_line() {
    let cases: [&[&str]; 9] = [
        &[],
        &["walk"],
        &["run", "--lease-duration", "5"],
        &["run", "--lease-duration", "500ms"],
        &["run", "--request-timeout", "-1s"],
        &["run", "--allowed-server", "http://example.com"],
        &["run", "--allowed-server", "https://example.com/oauth/token"],
        &["run", "--concurrency", "0"],
        &["run", "--log-format", "xml"],
    ];
    for arguments in cases {
        let (code, stdout, stderr) = operator(arguments);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{arguments:?}: {stderr}");
    }
}

#[test]
fn no_cluster_is_told_in_one_line() {
    let (code, _, stderr) = operator(&["run", "--admin-address", "127.0.0.1:0"]);
    let told = stderr.lines().filter(|line| line.starts_with("pleo-operator: ")).count();
    assert_eq!((code, told), (1, 1), "{stderr}");
    assert!(stderr.contains("KUBECONFIG"), "{stderr}");
}

#[test]
fn version_and_crd_are_printed() {
    assert_eq!(operator(&["version"]), (0, concat!(env!("CARGO_PKG_VERSION"), "\n").into(), String::new()));
    let (code, crd, _) = operator(&["crd"]);
    assert_eq!(code, 0);
    assert!(crd.starts_with("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"));
}

/// A CRD that comes late, an API server that comes late: waited for, not ready, not crashing.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_crd_and_a_missing_cluster_are_waited_for() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start().unwrap()));
    let world = World::on(cluster, "early", Options::default()).await;
    cluster.stop().unwrap();
    let operator = world.operator(&Flags::identity("a"));
    operator.until_printed("the API server cannot be reached").await;
    assert!(operator.get("/readyz").contains("503"), "{}", operator.get("/readyz"));
    assert!(operator.get("/livez").contains("200"));

    cluster.start_again().unwrap();
    operator.until_printed("pleo-operator crd | kubectl apply").await;
    install_crd(cluster);
    operator.until_printed("leading").await;
    assert!(operator.get("/readyz").contains("200"));
    world.connected("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    finish(world).await;
}

/// What the operator needs in a namespace.
const RIGHTS: &str = "\
- {apiGroups: [pleo.io], resources: [pleoconnections], verbs: [get, list, watch]}
- {apiGroups: [pleo.io], resources: [pleoconnections/status], verbs: [update]}
- {apiGroups: [''], resources: [secrets], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}";

/// No rights: said once, waited for, and none of them is needed beyond the namespace.
#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_told_and_a_role_in_the_namespace_is_enough() {
    let world = World::new("rights").await;
    let kubeconfig = world.cluster.kubeconfig_for("narrow", &["narrow"]).unwrap();
    let flags = Flags { kubeconfig: Some(kubeconfig), ..Flags::identity("a") };
    let operator = world.operator(&flags);
    operator.until_printed("no right to list pleoconnections.pleo.io in namespace").await;
    assert!(operator.get("/readyz").contains("503"));

    world.allow("narrow", RIGHTS);
    world.connected("acme").await;
    world.until_ready_is("acme", "Refreshed").await;
    let events =
        world.cluster.kubectl().args(["-n", &world.namespace, "get", "events", "-o", "name"]).output().unwrap();
    assert!(!events.stdout.is_empty(), "transitions are told as events");
    finish(world).await;
}

/// A namespace that the operator may not read keeps it from serving no other: neither when it starts, nor after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_namespace_keeps_no_other_from_being_refreshed() {
    let world = World::new("forbidden").await;
    world.connected("acme").await;
    let operator = world.operator(&Flags::identity("a"));
    world.until_rotation("acme", 1).await;
    assert_eq!(operator.stop().await, 0);

    let kubeconfig = world.cluster.kubeconfig_for("partial", &["partial"]).unwrap();
    world.allow("partial", RIGHTS);
    let flags = Flags { kubeconfig: Some(kubeconfig), ..Flags::identity("a") };
    let operator = world.operator(&flags.with("--namespace").with("a-forbidden-namespace"));
    operator.until_printed("a watch is broken").await;
    world.request_refresh("acme", "now").await;
    world.until_rotation("acme", 2).await;
    assert!(operator.get("/readyz").contains("200"));
    let broken =
        |line: &str| line.starts_with("pleo_watch_errors_total{resource=\"secrets\"}") && !line.ends_with(" 0");
    assert!(world.scrape(&operator).lines().any(broken));
    finish(world).await;
}

/// For audit logs, and for flow schemas of API priority and fairness.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_names_itself_to_the_api_server() {
    let world = World::new("user-agent").await;
    let operator = world.operator(&Flags::identity("a"));
    world.connected("acme").await;
    world.until_rotation("acme", 1).await;
    let name = concat!("pleo-operator/", env!("CARGO_PKG_VERSION"));
    assert_eq!(world.user_agents().into_iter().collect::<Vec<_>>(), [name]);
    assert_eq!(operator.stop().await, 0);
    finish(world).await;
}
