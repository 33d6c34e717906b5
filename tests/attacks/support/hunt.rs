//! The secrets of every attack, and the hunt for them: in what the code says, and in all that it and its libraries log
//! at the finest level.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::Once,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The token that is sent. Its letters are the same in a form, a header and a certificate's name.
pub const SPENT: &str = "refresh0spent0f3a9c1";
pub const CLIENT_ID: &str = "acme-client";
pub const CLIENT_SECRET: &str = "client0secret0d27b44";
pub const ACCESS: &str = "access0new0b81e02";
pub const REFRESH: &str = "refresh0new0c95d17";
/// The pair in an answer as it should be.
pub const PAIR: &str = concat!(
    r#"{"access_token":"access0new0b81e02","refresh_token":"refresh0new0c95d17","#,
    r#""token_type":"Bearer","expires_in":900}"#
);

/// No secret stands in this text, as it is or in base64.
#[track_caller]
pub fn no_secret_in(text: &str, whose: &str) {
    let basic = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    for secret in [SPENT, CLIENT_SECRET, ACCESS, REFRESH, &basic] {
        if let Some(at) = text.find(secret) {
            let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
            let line: String = text[from..].chars().take(600).collect();
            panic!("{whose} tells {secret}: {line}");
        }
    }
}

thread_local! {
    /// What this thread logged. The client of a test runs on the test's own thread, the hostile server elsewhere.
    static HEARD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Begins to listen to this thread.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // These print what they carry. What is heard of them in the program's own log is hunted through elsewhere.
        let finest = Targets::new().with_default(LevelFilter::TRACE).with_target("h2", LevelFilter::INFO);
        let finest =
            finest.with_target("rustls", LevelFilter::INFO).with_target("rustls_platform_verifier", LevelFilter::OFF);
        tracing_subscriber::registry().with(finest).with(fmt::layer().with_ansi(false).with_writer(|| Ear)).init();
    });
    HEARD.set(Some(Vec::new()));
}

/// All that this thread logged since then; nothing if nobody listened.
pub fn heard() -> String {
    String::from_utf8_lossy(&HEARD.take().unwrap_or_default()).into_owned()
}

struct Ear;

impl Write for Ear {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        HEARD.with_borrow_mut(|heard| heard.as_mut().map(|heard| heard.extend_from_slice(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[should_panic(expected = "a log tells refresh0spent")]
fn the_hunt_finds_a_secret_in_a_log() {
    listen();
    tracing::trace!(form = ?format!("refresh_token={SPENT}"), "sent");
    no_secret_in(&heard(), "a log");
}

#[test]
#[should_panic(expected = "a log tells YWNtZS1jbGllbnQ6")]
fn the_hunt_finds_a_client_secret_in_base64() {
    let header = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
    no_secret_in(&format!("authorization: Basic {header}"), "a log");
}
