//! Checks the installation. Each line is one answer, and says what to do if it is no.

use std::time::Duration;

use jiff::fmt::rfc2822;
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    args::Output,
    cluster::{CliError, Cluster},
    status::age,
};
use crate::{
    api::PleoConnection,
    clock::{SystemClock, WallClock},
};

/// How far apart the clocks may be.
const TOLERANCE: Duration = Duration::from_secs(10);

/// One answer.
struct Answer {
    what: &'static str,
    is_well: bool,
    said: String,
}

impl Answer {
    fn yes(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, is_well: true, said: said.into() }
    }

    fn no(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, is_well: false, said: said.into() }
    }
}

/// All answers, as text or JSON.
///
/// # Errors
/// If one of them is no: then it holds them all.
pub async fn check(
    cluster: &Cluster,
    operator_namespace: &str,
    lease: &str,
    output: Output,
) -> Result<String, CliError> {
    let mut answers = vec![crd(cluster).await, leader(cluster, operator_namespace, lease).await, clock(cluster).await];
    answers.extend(rights(cluster).await);
    let is_well = answers.iter().all(|answer| answer.is_well);
    let text = match output {
        Output::Json => {
            let all =
                answers.iter().map(|answer| json!({"what": answer.what, "ok": answer.is_well, "said": answer.said}));
            format!("{:#}\n", Value::from(all.collect::<Vec<_>>()))
        }
        Output::Text => answers.iter().map(line).collect(),
    };
    if is_well { Ok(text) } else { Err(CliError::Message(text.trim_end().to_owned())) }
}

fn line(answer: &Answer) -> String {
    let Answer { what, is_well, said } = answer;
    format!("{}  {what}: {said}\n", if *is_well { "yes" } else { "NO " })
}

async fn crd(cluster: &Cluster) -> Answer {
    const WHAT: &str = "the cluster knows connections";
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    match api.get_opt("pleoconnections.pleo.io").await {
        Ok(Some(crd)) => {
            let fields = serde_json::to_string(&crd.spec).unwrap_or_default();
            match fields.contains("authorizationURL") && fields.contains("rejectedRotation") {
                true => Answer::yes(WHAT, "the CRD is there"),
                false => Answer::no(WHAT, "the CRD is an older one: apply crds/pleo.io_pleoconnections.yaml"),
            }
        }
        Ok(None) => Answer::no(WHAT, "there is no CRD: apply crds/pleo.io_pleoconnections.yaml"),
        // Not everyone may read CRDs; to list connections is enough.
        Err(_) => {
            let api: Api<PleoConnection> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
            match api.list(&ListParams::default().limit(1)).await {
                Ok(_) => Answer::yes(WHAT, "they can be listed"),
                Err(error) => Answer::no(WHAT, format!("they cannot be listed: {error}")),
            }
        }
    }
}

async fn leader(cluster: &Cluster, namespace: &str, name: &str) -> Answer {
    const WHAT: &str = "an operator is at work";
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let lease = match api.get_opt(name).await {
        Ok(Some(lease)) => lease.spec.unwrap_or_default(),
        Ok(None) => {
            let said = format!(
                "there is no Lease {namespace}/{name}: install it, or name its place with --operator-namespace"
            );
            return Answer::no(WHAT, said);
        }
        Err(error) => return Answer::no(WHAT, format!("the Lease {namespace}/{name} cannot be read: {error}")),
    };
    let holder = lease.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, lease.renew_time) else {
        return Answer::no(WHAT, format!("no replica holds the Lease {namespace}/{name}: check the operator's pods"));
    };
    let (now, allowed) = (SystemClock.now(), lease.lease_duration_seconds.unwrap_or(15));
    let silent = now.duration_since(renewed.0).as_secs();
    if silent > i64::from(allowed) + TOLERANCE.as_secs().cast_signed() {
        let said = format!("{holder} leads, and was last heard of {} ago: look at its pod", age(renewed.0, now));
        return Answer::no(WHAT, said);
    }
    Answer::yes(WHAT, format!("{holder} leads"))
}

/// By the date of the API server's answers.
async fn clock(cluster: &Cluster) -> Answer {
    const WHAT: &str = "the clocks agree";
    let request = axum::http::Request::get("/version").body(kube::client::Body::empty());
    let Ok(request) = request else { return Answer::no(WHAT, "there is no such request") };
    let answer = match cluster.client.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Answer::no(WHAT, format!("the API server does not answer: {error}")),
    };
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp()) else {
        return Answer::yes(WHAT, "the API server does not tell the time");
    };
    let apart = SystemClock.now().duration_since(theirs).abs();
    match apart.as_secs() > TOLERANCE.as_secs().cast_signed() {
        true => {
            Answer::no(WHAT, format!("this machine and the API server are {}s apart: set the clock", apart.as_secs()))
        }
        false => Answer::yes(WHAT, "this machine and the API server do"),
    }
}

/// What each command needs, of the person who runs this.
async fn rights(cluster: &Cluster) -> Vec<Answer> {
    let wanted = [
        ("you may see connections (status)", "list", "pleo.io", "pleoconnections"),
        ("you may change them (refresh, suspend, resume)", "patch", "pleo.io", "pleoconnections"),
        ("you may see events (status)", "list", "events.k8s.io", "events"),
        ("you may read Secrets (status, connect)", "get", "", "secrets"),
        ("you may make Secrets (connect)", "create", "", "secrets"),
        ("you may write Secrets (connect)", "patch", "", "secrets"),
    ];
    let mut answers = Vec::new();
    for (what, verb, group, resource) in wanted {
        answers.push(match is_allowed(cluster, verb, group, resource).await {
            Ok(true) => Answer::yes(what, format!("in {}", cluster.namespace)),
            Ok(false) => Answer::no(what, format!("ask for the right to {verb} {resource} in {}", cluster.namespace)),
            Err(error) => Answer::no(what, format!("it could not be found out: {error}")),
        });
    }
    answers
}

async fn is_allowed(cluster: &Cluster, verb: &str, group: &str, resource: &str) -> Result<bool, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(cluster.namespace.clone()),
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    Ok(api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
}
