//! Wrong specs are refused by the API server, with words that say what to write instead.

use kube::api::PostParams;
use serde_json::{Value, json};

use crate::harness::{World, finish};

/// What is wrong with a declaration, and words of the answer.
fn cases() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("acme", json!({"environment": "Production"}), "either spec.environment or spec.server"),
        ("acme", json!({"server": {"tokenURL": "http://x/oauth/token"}}), "must be an https URL"),
        ("acme", json!({"server": {"tokenURL": "https://x", "authorizationURL": "http://x"}}), "must be an https URL"),
        ("acme", json!({"refreshBefore": "0s"}), "write a positive duration such as 90s"),
        ("acme", json!({"refreshBefore": "-5m"}), "write a positive duration such as 90s"),
        ("acme", json!({"refreshBefore": "5"}), "write a positive duration such as 90s"),
        ("acme", json!({"retryTimeout": "nonsense"}), "write a positive duration such as 90s"),
        ("acme", json!({"retryTimeout": "99999999999999999999999h"}), "positive duration"),
        ("acme", json!({"secretName": "pleo-client"}), "must differ from spec.client.secretRef.name"),
        ("acme", json!({"secretName": "acme-grant"}), "must differ from spec.initialGrant.secretRef.name"),
        ("pleo-client", json!({"secretName": null}), "must differ from spec.client.secretRef.name"),
        ("acme", json!({"secretName": "pleo-grant-x"}), "the operator's own"),
        ("acme", json!({"client": {"secretRef": {"name": "pleo-grant-x"}}}), "the operator's own"),
        ("acme", json!({"initialGrant": {"secretRef": {"name": "pleo-grant-x"}}}), "the operator's own"),
        ("acme", json!({"secretName": "My_Token"}), "must be the name of a Secret"),
        ("acme", json!({"client": {"secretRef": {"name": "a b"}}}), "must be the name of a Secret"),
        ("pleo-grant-acme", json!({"secretName": null}), "set spec.secretName to another name"),
        ("acme", json!({"server": null, "environment": "Test"}), "Production"),
        ("acme", json!({"client": {"secretRef": {"name": "x"}, "authentication": "Digest"}}), "Body"),
        ("acme", json!({"client": null}), "spec.client"),
        ("acme", json!({"restartTargets": [{"kind": "Job", "name": "x"}]}), "Deployment"),
        ("acme", json!({"restartTargets": [{"kind": "Deployment", "name": "X y"}]}), "must be the name of a workload"),
        (
            "acme",
            json!({"restartTargets": [{"kind": "Deployment", "name": "x"}, {"kind": "Deployment", "name": "x"}]}),
            "Duplicate",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_spec_is_refused_with_words_that_help() {
    let world = World::new("wrong").await;
    let apply = |name: &str, more: Value| {
        let declaration = world.declaration(name, more).to_string();
        let mut kubectl = world.cluster.kubectl();
        kubectl.args(["-n", &world.namespace, "apply", "--dry-run=server", "-f", "-"]);
        let mut child = kubectl
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), declaration.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, more, words) in cases() {
        let (accepted, said) = apply(name, more.clone());
        assert!(!accepted && said.contains(words), "{name} {more}: {said}");
    }
    let long = "x".repeat(64);
    let (accepted, said) = apply(&long, json!({}));
    assert!(!accepted && said.contains("63 characters"), "{said}");
    for more in [
        json!({}),
        json!({"server": null}),
        json!({"server": null, "environment": "Staging"}),
        json!({"refreshBefore": "1h30m"}),
        json!({"restartTargets": [{"kind": "Deployment", "name": "x"}, {"kind": "DaemonSet", "name": "x"}]}),
    ] {
        let (accepted, said) = apply("acme", more.clone());
        assert!(accepted, "{more}: {said}");
    }
    world
        .connections()
        .create(&PostParams::default(), &serde_json::from_value(world.declaration("acme", json!({}))).unwrap())
        .await
        .unwrap();
    let _operator = world.operator(&crate::harness::Flags::identity("a"));
    world.until_ready_is("acme", "InitialGrantMissing").await;
    world.sandbox.consent("acme");
    finish(world).await;
}
