//! Reports a token that the API rejects, once, so that the operator refreshes it early. The token stays here: the report has a proof that
//! this process has it.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, header, redirect};
use serde_json::json;
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

use super::{config::ReportUrl, metrics::Metrics, token::keeper::Keeper};
use crate::domain::{
    possession::proof,
    token::{AccessToken, Fingerprint, fraction},
};

/// A new token may be on its way, or the next call show that it was a mistake.
const AFTER: Duration = Duration::from_secs(3);
/// Many pods notice it at the same moment.
const JITTER: Duration = Duration::from_secs(2);
/// Before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];
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
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TIMEOUT).build()?;
    let (mut changes, mut reported) = (keeper.changes(), None);
    loop {
        let Some(token) = rejected(&keeper, &mut changes, reported.as_ref()).await else { return Ok(()) };
        let fingerprint = token.fingerprint();
        let jitter = JITTER.mul_f64(fraction(&["report", &own_name, fingerprint.as_str()]));
        if !is_still_rejected(&keeper, &mut changes, &fingerprint, AFTER + jitter).await {
            continue;
        }
        let is_sent = report(&keeper, &mut changes, &client, &url, &token).await;
        metrics.reported(is_sent);
        reported = Some(fingerprint);
    }
}

/// Waits for a token that the API rejects and that was not reported yet. None: the process ends.
async fn rejected(
    keeper: &Keeper,
    changes: &mut watch::Receiver<u64>,
    reported: Option<&Fingerprint>,
) -> Option<AccessToken> {
    loop {
        changes.borrow_and_update();
        let token = keeper.rejected_token();
        if let Some(token) = token.filter(|token| reported != Some(&token.fingerprint())) {
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

/// Three tries at most, and none for a token that is not current any more. Whether the operator took it.
async fn report(
    keeper: &Keeper,
    changes: &mut watch::Receiver<u64>,
    client: &Client,
    url: &ReportUrl,
    token: &AccessToken,
) -> bool {
    let mut pauses = PAUSES.into_iter();
    loop {
        let why = match post(client, url, token).await {
            Ok(StatusCode::ACCEPTED) => {
                info!("reported that the API rejects the access token");
                return true;
            }
            Ok(status) => format!("it answered {status}"),
            Err(error) => error.to_string(),
        };
        let Some(pause) = pauses.next() else {
            warn!("failed to report that the API rejects the access token; see --report-url: {why}");
            return false;
        };
        if !is_still_rejected(keeper, changes, &token.fingerprint(), pause).await {
            return false;
        }
    }
}

async fn post(client: &Client, url: &ReportUrl, token: &AccessToken) -> reqwest::Result<StatusCode> {
    let body = json!({ "proof": proof(token) }).to_string();
    let request = client.post(url.get().clone()).header(header::CONTENT_TYPE, "application/json").body(body);
    request.send().await.map(|response| response.status())
}
