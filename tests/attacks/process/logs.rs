//! The program's own log, at the finest level that anybody can ask for: a server that echoes the token wherever a
//! library may print it is not repeated (I5).

use pleo_operator::telemetry::logs::{LogFormat, init};
use tracing::{info, trace};

use crate::{
    connections::handshakes,
    process::inner,
    support::{
        hunt::{SPENT, no_secret_in},
        siege::{answers_with, says_and_closes},
    },
};

#[tokio::test]
async fn whatever_a_server_echoes_is_not_logged() {
    for format in ["json", "text"] {
        let told =
            inner::run("process::logs::echoes_in_a_process_of_their_own", &[("RUST_LOG", "trace"), ("FORMAT", format)])
                .await;
        let log = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(log.contains("the log is on") && log.contains("at its finest"), "{log}");
        no_secret_in(&log, "the log");
    }
}

#[tokio::test]
#[ignore = "logs like the program"]
async fn echoes_in_a_process_of_their_own() {
    if !inner::is_here() {
        return;
    }
    init(if std::env::var("FORMAT").unwrap() == "json" { LogFormat::Json } else { LogFormat::Text });
    info!("the log is on");
    trace!("at its finest");
    let headers = "location: /refresh0spent0f3a9c1\r\nset-cookie: t=refresh0spent0f3a9c1\r\n";
    for attack in [
        answers_with("503 refresh0spent0f3a9c1", headers, SPENT),
        answers_with("429 client0secret0d27b44", "retry-after: refresh0spent0f3a9c1\r\n", SPENT).basic(),
        says_and_closes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nrefresh0spent0f3a9c1\r\n"),
        says_and_closes("HTTP/1.1 200 OK\r\nrefresh0spent0f3a9c1\r\n\r\n"),
        handshakes::names(&["refresh0spent0f3a9c1.example.com"]),
    ] {
        attack.unheard().carry_out().await;
    }
}
