//! Refresh, suspend, resume: changes of the connection, which the operator follows.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    args::{Output, Which},
    cluster::{CliError, Cluster},
};
use crate::{
    api::{ConditionType, PleoConnection, names},
    clock::{SystemClock, WallClock},
};

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(500);

/// Sets `spec.suspend`.
///
/// # Errors
/// If a connection is not there or may not be changed.
pub async fn suspend(cluster: &Cluster, which: &Which, suspend: bool, output: Output) -> Result<String, CliError> {
    let mut results = Vec::new();
    for connection in cluster.select(which).await? {
        let name = connection.name_any();
        cluster.change(&name, &json!({"spec": {"suspend": suspend}}), false).await?;
        results.push((name, if suspend { "suspended" } else { "resumed" }.to_owned()));
    }
    Ok(list(&results, output))
}

/// Asks for a refresh, and waits for its end if that is wanted.
///
/// # Errors
/// If a connection is not there or may not be changed, or if a refresh that was waited for did not succeed.
pub async fn refresh(
    cluster: &Cluster,
    which: &Which,
    wait: Option<Duration>,
    output: Output,
) -> Result<String, CliError> {
    let request = SystemClock.now().to_string();
    let mut asked = Vec::new();
    for connection in cluster.select(which).await? {
        let annotations = json!({names::REFRESH_REQUESTED_ANNOTATION: request});
        cluster.change(&connection.name_any(), &json!({"metadata": {"annotations": annotations}}), false).await?;
        asked.push(connection);
    }
    let mut results = Vec::new();
    let mut failed = false;
    for before in asked {
        let name = before.name_any();
        let end = match wait {
            None => Ok("refresh requested".to_owned()),
            Some(timeout) => end_of_refresh(cluster, &before, &request, timeout).await?,
        };
        failed |= end.is_err();
        results.push((name, end.unwrap_or_else(|why| why)));
    }
    let text = list(&results, output);
    if failed { Err(CliError::Message(text.trim_end().to_owned())) } else { Ok(text) }
}

/// Looks until the request is answered.
async fn end_of_refresh(
    cluster: &Cluster,
    before: &PleoConnection,
    request: &str,
    timeout: Duration,
) -> Result<Result<String, String>, CliError> {
    let began = Instant::now();
    let rotation = |connection: &PleoConnection| connection.status.as_ref().and_then(|status| status.rotation);
    loop {
        let now = cluster.connection(&before.name_any()).await?;
        let status = now.status.clone().unwrap_or_default();
        if now.spec.suspend == Some(true) {
            let name = now.name_any();
            return Ok(Err(format!("not refreshed: it is suspended; `kubectl pleo resume {name}`, and then it is")));
        }
        let is_answered = status.last_handled_refresh_request.as_deref() == Some(request);
        if is_answered && rotation(&now) > rotation(before) {
            return Ok(Ok(format!("refreshed (rotation {})", rotation(&now).unwrap_or_default())));
        }
        let failure = status.last_failure.as_ref().filter(|_| is_answered);
        if let Some(failure) = failure {
            return Ok(Err(format!("not refreshed ({}): {}", failure.reason, failure.message)));
        }
        let stalled = status.condition(ConditionType::Stalled);
        if let Some(stalled) = stalled.filter(|_| began.elapsed() > Duration::from_secs(5)) {
            return Ok(Err(format!("not refreshed ({}): {}", stalled.reason, stalled.message)));
        }
        if began.elapsed() > timeout {
            return Ok(Err("no response in time: is there a leader? Run `kubectl pleo check`".to_owned()));
        }
        sleep(LOOK).await;
    }
}

/// What became of each connection.
fn list(results: &[(String, String)], output: Output) -> String {
    match output {
        Output::Json => {
            let all: Vec<Value> = results.iter().map(|(name, what)| json!({"name": name, "result": what})).collect();
            format!("{:#}\n", Value::from(all))
        }
        Output::Text if results.is_empty() => "there is no such connection\n".to_owned(),
        Output::Text => results.iter().map(|(name, what)| format!("{name}: {what}\n")).collect(),
    }
}
