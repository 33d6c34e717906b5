//! Whoever is told by webhook: a receiver that is away, unwilling, silent or hostile costs a bounded number of tries and a
//! bounded time, and is sent nowhere else.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use pleo_operator::{
    clock::SystemClock,
    domain::report::notice::{Notice, NoticeKind},
    notify::{KeyFile, NoKey, Outbox, Patience, SigningKey, Webhook},
    telemetry::metrics::Metrics,
};
use ring::hmac;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Patience =
    Patience { tries: 4, first_pause: Duration::from_millis(1), timeout: Duration::from_millis(300) };

fn notice() -> Notice {
    Notice {
        kind: NoticeKind::ReauthRequired,
        namespace: "finance".into(),
        name: "acme".into(),
        uid: "0c5f7d9e".into(),
        reason: "GrantRefused".into(),
        message: "the server refused the grant".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}

/// One that answers each request with the next of these, the last again and again. What it got is in the handle.
async fn receiver(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<String>>, Arc<tokio::sync::Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, done) = (format!("http://{}/hook?token=hidden", listener.local_addr().unwrap()), Arc::default());
    let enough = Arc::clone(&done);
    let serving = tokio::spawn(async move {
        let mut got = Vec::new();
        loop {
            let mut socket = tokio::select! {
                () = tokio::sync::Notify::notified(&enough) => return got,
                accepted = listener.accept() => accepted.unwrap().0,
            };
            got.push(request(&mut socket).await);
            let answer = answers.get(got.len() - 1).or(answers.last()).unwrap();
            if answer.is_empty() {
                // Silent, with the connection open.
                tokio::spawn(async move { while socket.read_u8().await.is_ok() {} });
                continue;
            }
            let _ = socket.write_all(answer.as_bytes()).await;
            if answer.contains("chunked") {
                tokio::spawn(async move { while socket.write_all(b"5\r\nflood\r\n").await.is_ok() {} });
            }
        }
    });
    (url, serving, done)
}

async fn request(socket: &mut TcpStream) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut chunk).await.unwrap();
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if count == 0 || body.len() >= length {
            return text;
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Delivers one notice; what the receiver got, and what was counted.
async fn told(answers: &'static [&'static str]) -> (Vec<String>, String) {
    // Another test may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, serving, done) = receiver(answers).await;
    let metrics = Arc::new(Metrics::new());
    let webhook = Webhook {
        url: url.parse().unwrap(),
        key: key_file(KEY),
        patience: PATIENCE,
        clock: Arc::new(SystemClock),
        metrics: Arc::clone(&metrics),
    };
    let (outbox, notices) = Outbox::new();
    outbox.send(notice());
    drop(outbox);
    webhook.serve(notices).await.unwrap();
    done.notify_one();
    let text = metrics.text().unwrap();
    let counted: Vec<_> =
        text.lines().filter(|line| line.starts_with("pleo_notices_total") && line.ends_with('1')).collect();
    (serving.await.unwrap(), counted.join("\n"))
}

const ARRIVED: &str = r#"pleo_notices_total{outcome="success"} 1"#;
const GIVEN_UP: &str = r#"pleo_notices_total{outcome="failure"} 1"#;

#[tokio::test]
async fn a_notice_is_signed_and_told_once() {
    let (got, counted) = told(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    assert_eq!((got.len(), counted.as_str()), (1, ARRIVED));
    let (head, body) = got[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?token=hidden HTTP/1.1"), "{head}");
    assert_eq!(header(head, "content-type"), Some("application/cloudevents+json; charset=utf-8"));
    let (id, timestamp) = (header(head, "webhook-id").unwrap(), header(head, "webhook-timestamp").unwrap());
    let signature = header(head, "webhook-signature").unwrap();
    let key: SigningKey = KEY.parse().unwrap();
    assert_eq!(signature, key.signature(id, timestamp.parse().unwrap(), body));
    let event: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((event["id"].as_str(), event["data"]["name"].as_str()), (Some(id), Some("acme")));
}

/// The example of the specification, and a signature made by hand.
#[test]
fn a_signature_is_made_as_standard_webhooks_wants_it() {
    let key: SigningKey = KEY.parse().unwrap();
    let signature = key.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let by_hand = hmac::Key::new(hmac::HMAC_SHA256, &[7; 24]);
    let key: SigningKey = format!("whsec_{}", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH").parse().unwrap();
    let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hmac::sign(&by_hand, b"a.1.b"));
    assert_eq!(key.signature("a", 1, "b"), format!("v1,{tag}"));
}

#[test]
fn what_is_no_key_is_refused_and_not_shown() {
    for wrong in ["", "whsec_", "secret", "whsec_c2hvcnQ=", &format!("whsec_{}", "A".repeat(100)), "whsec_!!!!"] {
        let error = wrong.parse::<SigningKey>().unwrap_err().to_string();
        assert!(error.contains("openssl rand -base64 32") && (wrong.len() < 10 || !error.contains(wrong)), "{error}");
    }
    let key: SigningKey = format!("{KEY}\n").parse().expect("a file may end with a newline");
    assert_eq!(format!("{key:?}"), "SigningKey");
}

#[tokio::test]
async fn a_receiver_that_comes_back_is_told() {
    let (got, counted) =
        told(&["HTTP/1.1 503 x\r\n\r\n", "", "HTTP/1.1 429 x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
            .await;
    assert_eq!((got.len(), counted.as_str()), (4, ARRIVED));
    let ids: Vec<_> = got.iter().map(|text| header(text, "webhook-id").unwrap().to_owned()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "whoever got it twice can know: {ids:?}");
}

#[tokio::test]
async fn a_receiver_that_stays_away_is_given_up() {
    for answer in [&["HTTP/1.1 500 x\r\n\r\n"][..], &[""], &["garbage\r\n\r\n"], &["HTTP/1.1 408 x\r\n\r\n"]] {
        let (got, counted) = told(answer).await;
        assert_eq!((got.len(), counted.as_str()), (4, GIVEN_UP), "{answer:?}");
    }
}

/// What it refuses now it would refuse again; and where it points is not where we were told to go.
#[tokio::test]
async fn a_receiver_that_does_not_want_it_is_not_asked_again() {
    for answer in [
        &["HTTP/1.1 400 x\r\n\r\n"][..],
        &["HTTP/1.1 401 x\r\n\r\n"],
        &["HTTP/1.1 410 Gone\r\n\r\n"],
        &["HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/elsewhere\r\n\r\n"],
    ] {
        let (got, counted) = told(answer).await;
        assert_eq!((got.len(), counted.as_str()), (1, GIVEN_UP), "{answer:?}");
    }
}

/// Its words are not read at all.
#[tokio::test]
async fn an_endless_answer_costs_nothing() {
    let (got, counted) = told(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]).await;
    assert_eq!((got.len(), counted.as_str()), (1, ARRIVED));
}

/// A key may come later, or be changed; that there is none costs a notice and nothing else.
#[tokio::test]
async fn a_key_is_read_anew_for_each_notice() {
    let folder = std::env::temp_dir().join(format!("pleo-key-{}", std::process::id()));
    let file = KeyFile::new(&folder);
    assert!(matches!(file.read(), Err(NoKey::Unreadable(..))));
    std::fs::write(&folder, "nonsense").unwrap();
    let error = file.read().unwrap_err();
    assert!(matches!(error, NoKey::Invalid(..)) && !error.to_string().contains("nonsense"));
    std::fs::write(&folder, KEY).unwrap();
    assert!(file.read().is_ok());
    std::fs::remove_file(folder).unwrap();
}

/// A file with that key, for as long as the tests run.
fn key_file(key: &str) -> KeyFile {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("webhook-key-{number}"));
    std::fs::write(&path, key).unwrap();
    KeyFile::new(&path)
}

/// I5: such a URL often holds a secret of its own.
#[tokio::test]
async fn the_url_is_told_to_nobody() {
    crate::support::hunt::listen();
    for answer in [&["HTTP/1.1 500 hidden\r\n\r\n"][..], &["HTTP/1.1 400 x\r\n\r\n"], &["HTTP/1.1 204 x\r\n\r\n"]] {
        told(answer).await;
    }
    assert!(!crate::support::hunt::heard().contains("token=hidden"));
}
