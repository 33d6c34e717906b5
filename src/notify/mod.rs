//! Notifications of other systems: the connections that there is something to say about, and the webhook that it is sent to. It may touch
//! that one URL, and the file with the key that signs. No token ever waits for a notice.

mod key;
mod outbox;
mod webhook;

pub use key::{InvalidKey, KeyFile, NoKey, SigningKey};
pub use outbox::{Notices, Outbox};
pub use webhook::{Patience, Webhook};
