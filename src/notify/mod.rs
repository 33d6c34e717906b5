//! Notifications of other systems: a queue of notices, and the webhook that they are sent to. It may touch that one URL, and the
//! file with the key that signs. No token ever waits for a notice.

mod key;
mod webhook;

pub use key::{InvalidKey, KeyFile, NoKey, SigningKey};
pub use webhook::{Patience, Webhook};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::warn;

use crate::domain::report::notice::Notice;

/// How many notices may wait. Beyond that the receiver has been away for hours, and alerts tell the same.
const QUEUE: usize = 256;

/// Where notices are handed in.
#[derive(Clone, Debug, Default)]
pub struct Outbox(Option<Sender<Notice>>);

impl Outbox {
    /// An outbox, and where its notices come out.
    pub fn new() -> (Self, Receiver<Notice>) {
        let (sender, receiver) = channel(QUEUE);
        (Self(Some(sender)), receiver)
    }

    /// There is no receiver.
    pub fn closed() -> Self {
        Self(None)
    }

    /// Hands a notice in, and does not wait for anything. False if it was dropped, though there is a receiver.
    #[must_use = "what is dropped is counted"]
    pub fn send(&self, notice: Notice) -> bool {
        let Some(sender) = &self.0 else { return true };
        let sent = sender.try_send(notice);
        if let Err(full) = &sent {
            warn!("a notice for the webhook is dropped: {full}");
        }
        sent.is_ok()
    }
}
