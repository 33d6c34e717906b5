//! Sends notices to one URL, one after the other, signed (Standard Webhooks), and a bounded number of times.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::time::sleep;
use tracing::{debug, error, warn};

use super::{KeyFile, Notices, SigningKey};
use crate::{api::names, clock::Clock, domain::report::notice::Notice, telemetry::metrics::Metrics};

/// How long one notice is worth the trouble.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub tries: u32,
    /// The pause after the first try; it doubles with each.
    pub first_pause: Duration,
    pub timeout: Duration,
}

impl Default for Patience {
    /// Eight tries in some two minutes, if the receiver refuses at once.
    fn default() -> Self {
        Self { tries: 8, first_pause: Duration::from_secs(1), timeout: Duration::from_secs(10) }
    }
}

/// Who is notified.
pub struct Webhook {
    /// Where.
    pub url: Url,
    /// Where the key is that signs each notice.
    pub key: KeyFile,
    /// How long a notice is worth the trouble.
    pub patience: Patience,
    /// The time of day, for the signature.
    pub clock: Clock,
    /// Counts what arrived and what did not.
    pub metrics: Arc<Metrics>,
}

/// What became of one try.
enum Sent {
    Arrived,
    /// The receiver does not want it: it would say so again.
    Unwanted(String),
    Failed(String),
}

impl Webhook {
    /// Sends what comes out of the queue, until no one can put anything in any more.
    ///
    /// # Errors
    /// If there is no client to be had.
    pub async fn serve(self, mut notices: Notices) -> Result<(), reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(self.patience.timeout)
            .user_agent(names::USER_AGENT)
            .build()?;
        while let Some(notice) = notices.next().await {
            let arrived = self.deliver(&client, &notice).await;
            self.metrics.notice(arrived);
        }
        Ok(())
    }

    /// Whether it arrived.
    async fn deliver(&self, client: &Client, notice: &Notice) -> bool {
        let (id, body) = (notice.id(), notice.event().to_string());
        let (namespace, connection) = (&notice.namespace, &notice.name);
        let key = match self.key.read() {
            Ok(key) => key,
            Err(why) => {
                let cause = why.source().map(ToString::to_string).unwrap_or_default();
                error!(namespace, connection, "a notice is not sent: {why}: {cause}");
                return false;
            }
        };
        let mut pause = self.patience.first_pause;
        for left in (0..self.patience.tries).rev() {
            let why = match self.send(client, &key, &id, &body).await {
                Sent::Arrived => {
                    debug!(namespace, connection, id, "notified the webhook");
                    return true;
                }
                Sent::Unwanted(why) => {
                    warn!(namespace, connection, "the webhook does not want a notice: {why}");
                    return false;
                }
                Sent::Failed(why) => why,
            };
            if left == 0 {
                warn!(namespace, connection, "the webhook was not reached, and the notice is given up: {why}");
                return false;
            }
            debug!(namespace, connection, "the webhook was not reached, retrying: {why}");
            sleep(pause).await;
            pause *= 2;
        }
        false
    }

    async fn send(&self, client: &Client, key: &SigningKey, id: &str, body: &str) -> Sent {
        let timestamp = self.clock.now().as_second();
        let answer = client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", key.signature(id, timestamp, body))
            .body(body.to_owned())
            .send()
            .await;
        match answer.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Sent::Arrived,
            Ok(status) if is_worth_another_try(status) => Sent::Failed(format!("it answered {status}")),
            Ok(status) => Sent::Unwanted(format!("it answered {status}")),
            // The URL may hold a secret of its own.
            Err(error) => Sent::Failed(cause(&error.without_url())),
        }
    }
}

fn is_worth_another_try(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS
}

/// The innermost cause says most.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
