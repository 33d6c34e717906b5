//! Reports a token that the API rejects, once in ten minutes, so that the operator refreshes it early. The token stays here: the report
//! has a proof that this process has it.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, header, redirect};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::{config::ReportUrl, metrics::Metrics, token::keeper::Keeper};
use crate::{
    api::names,
    domain::{
        possession::proof,
        token::{AccessToken, Fingerprint, fraction},
    },
};

/// A new token may be on its way, or the next call show that it was a mistake.
const AFTER: Duration = Duration::from_secs(3);
/// Many pods notice it at the same moment.
const JITTER: Duration = Duration::from_secs(2);
/// Before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];
/// What the operator could not act on then may be different now.
const AGAIN: Duration = Duration::from_secs(600);
/// Before the next three.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reports tokens for as long as the process runs. `own_name` sets the jitter.
///
/// # Errors
/// If there is no client to be had.
pub async fn run(
    keeper: Arc<Keeper>,
    url: ReportUrl,
    own_name: String,
    metrics: Arc<Metrics>,
) -> Result<(), reqwest::Error> {
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .user_agent(names::USER_AGENT)
        .build()?;
    let (mut changes, mut reported) = (keeper.changes(), None);
    loop {
        let Some(token) = rejected(&keeper, &mut changes, reported.as_ref()).await else { return Ok(()) };
        let fingerprint = token.fingerprint();
        let jitter = JITTER.mul_f64(fraction(&["report", &own_name, fingerprint.as_str()]));
        if !is_still_rejected(&keeper, &mut changes, &fingerprint, AFTER + jitter).await {
            continue;
        }
        match report(&keeper, &mut changes, &client, &url, &token).await {
            Report::Sent => {
                metrics.reported(true);
                reported = Some((fingerprint, Instant::now()));
            }
            Report::NotNeeded => {}
            Report::Failed => {
                metrics.reported(false);
                is_still_rejected(&keeper, &mut changes, &fingerprint, AFTER_FAILURE).await;
            }
        }
    }
}

enum Report {
    Sent,
    /// There is another token, or this one was accepted after all.
    NotNeeded,
    Failed,
}

/// Waits for a token that the API rejects and that was not reported lately. None: the process ends.
async fn rejected(
    keeper: &Keeper,
    changes: &mut watch::Receiver<u64>,
    reported: Option<&(Fingerprint, Instant)>,
) -> Option<AccessToken> {
    loop {
        changes.borrow_and_update();
        let is_reported = |token: &AccessToken| {
            reported.is_some_and(|(before, at)| *before == token.fingerprint() && at.elapsed() < AGAIN)
        };
        // A rejected token is tried from time to time, so this is asked again.
        if let Some(token) = keeper.rejected_token().filter(|token| !is_reported(token)) {
            return Some(token);
        }
        changes.changed().await.ok()?;
    }
}

/// Waits for so long; false if there is another token before, or this one was accepted after all.
async fn is_still_rejected(
    keeper: &Keeper,
    changes: &mut watch::Receiver<u64>,
    token: &Fingerprint,
    pause: Duration,
) -> bool {
    let is_over = async {
        while keeper.rejected_token().is_some_and(|now| now.fingerprint() == *token) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    timeout(pause, is_over).await.is_err()
}

/// Three tries at most, and none for a token that is not current any more.
async fn report(
    keeper: &Keeper,
    changes: &mut watch::Receiver<u64>,
    client: &Client,
    url: &ReportUrl,
    token: &AccessToken,
) -> Report {
    let mut pauses = PAUSES.into_iter();
    loop {
        let why = match post(client, url, token).await {
            Ok(StatusCode::ACCEPTED) => {
                info!("reported that the API rejects the access token");
                return Report::Sent;
            }
            Ok(status) => format!("it answered {status}"),
            Err(error) => error.to_string(),
        };
        let Some(pause) = pauses.next() else {
            warn!("failed to report that the API rejects the access token; see --report-url: {why}");
            return Report::Failed;
        };
        if !is_still_rejected(keeper, changes, &token.fingerprint(), pause).await {
            return Report::NotNeeded;
        }
    }
}

async fn post(client: &Client, url: &ReportUrl, token: &AccessToken) -> reqwest::Result<StatusCode> {
    let body = json!({ "proof": proof(token) }).to_string();
    let request = client.post(url.get().clone()).header(header::CONTENT_TYPE, "application/json").body(body);
    request.send().await.map(|response| response.status())
}
