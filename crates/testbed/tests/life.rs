//! Clusters side by side, and what befalls an API server: stopped, started again, killed, frozen.

use std::{net::TcpListener, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};
use pleo_testbed::{Cluster, Error};

fn namespaces(cluster: &Cluster) -> String {
    let output = cluster.kubectl().args(["get", "namespaces", "-o", "name"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_side_by_side_are_apart_and_leave_nothing() {
    let clusters = std::thread::scope(|scope| {
        let starts = [(); 2].map(|()| scope.spawn(Cluster::start));
        starts.map(|start| start.join().unwrap().unwrap())
    });
    let names = clusters.each_ref().map(|cluster| cluster.namespace("apart").unwrap());
    for (own, other) in [(0, 1), (1, 0)] {
        let there = namespaces(&clusters[own]);
        assert!(there.contains(&names[own]) && !there.contains(&names[other]), "{there}");
    }
    let folders: [PathBuf; 2] = clusters.each_ref().map(|cluster| cluster.folder().into());
    drop(clusters);
    assert!(folders.iter().all(|folder| !folder.exists()));
}

#[test]
fn a_restart_keeps_address_objects_and_counts() {
    let cluster = Cluster::start().unwrap();
    let name = cluster.namespace("kept").unwrap();
    cluster.apply(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: a, namespace: {name}}}}}")).unwrap();
    let url = cluster.url();

    cluster.restart().unwrap();
    assert_eq!(cluster.url(), url);
    assert!(namespaces(&cluster).contains(&name));

    cluster.kill().unwrap();
    assert!(matches!(cluster.freeze(), Err(Error::Stopped)));
    cluster.start_again().unwrap();
    assert!(matches!(cluster.start_again(), Err(Error::Running)));
    assert!(namespaces(&cluster).contains(&name));
    assert_eq!(cluster.writes(&name).unwrap().len(), 1);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let cluster = Cluster::start().unwrap();
    cluster.stop().unwrap();
    let address = cluster.url().replace("https://", "");
    let other = TcpListener::bind(address).unwrap();
    let error = cluster.start_again().unwrap_err();
    // A start on any port knows by these words that it should try another one.
    assert!(error.to_string().contains("address already in use"), "{error}");
    drop(other);
    cluster.start_again().unwrap();
}

#[test]
fn a_flag_that_the_server_refuses_is_told_with_its_words() {
    let error = Cluster::builder().apiserver_flag("--no-such-flag").start().err().unwrap();
    assert!(error.to_string().contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_frozen_server_answers_after_it_was_thawed() {
    let cluster = Cluster::start().unwrap();
    let namespaces = Api::<Namespace>::all(cluster.client().await.unwrap());
    namespaces.get("default").await.unwrap();
    cluster.freeze().unwrap();
    let everything = ListParams::default();
    let mut answer = std::pin::pin!(namespaces.list(&everything));
    tokio::time::timeout(Duration::from_secs(1), &mut answer).await.unwrap_err();
    cluster.thaw().unwrap();
    answer.await.unwrap();
    // One that is frozen stops, too.
    cluster.freeze().unwrap();
    cluster.stop().unwrap();
    namespaces.get("default").await.unwrap_err();
}
