//! The port for reports of rejected tokens, which every program with a token may reach. Whatever is sent, nothing shows whether a
//! connection or a token exists, little is read, and no one else is kept out.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, http::StatusCode};
use pleo_operator::{
    clock::SystemClock,
    cluster::{Store, connections::Scope},
    domain::spec::AllowedServers,
    ports,
    reports::{intake::Intake, server},
    telemetry::metrics::Metrics,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::siege::GUARD;

struct Port {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    /// What was asked of the API server.
    reads: Arc<AtomicUsize>,
}

impl Port {
    /// In front of an API server that has nothing.
    async fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (reads, metrics) = (Arc::new(AtomicUsize::new(0)), Arc::new(Metrics::new()));
        let counted = Arc::clone(&reads);
        let nothing = Router::new().fallback(async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let status =
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 });
            (StatusCode::NOT_FOUND, Json(status))
        });
        let api_server = listen(nothing).await;
        let config = kube::Config::new(format!("http://{api_server}").parse().unwrap());
        let store = Store::new(kube::Client::try_from(config).unwrap());
        let scope = Scope { allowed: AllowedServers::every(), namespaces: vec!["finance".into(), "sales".into()] };
        let intake = Intake::new(store, Arc::new(SystemClock), scope, Arc::clone(&metrics));
        Self { address: listen(server::router(Arc::new(intake))).await, metrics, reads }
    }

    async fn report(&self, path: &str, body: &str) -> u16 {
        let client = reqwest::Client::builder().local_address(HONEST).build().unwrap();
        let request = client.post(format!("http://{}{path}", self.address)).body(body.to_owned());
        let response = request.header("content-type", "application/json").send().await.unwrap();
        let status = response.status().as_u16();
        assert!(!response.text().await.unwrap().contains("finance"));
        status
    }

    async fn until_counted(&self, outcome: &str, times: usize) {
        let line = format!("pleo_rejection_reports_total{{outcome=\"{outcome}\"}} {times}\n");
        let counted = async {
            while !self.metrics.text().unwrap().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        timeout(GUARD, counted).await.expect(&line);
    }
}

async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(ports::serve(listener, router, ports::INTERNAL, CancellationToken::new()));
    address
}

/// Where reports come from, and where trouble comes from.
const HONEST: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
const HOSTILE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn path(name: &str) -> String {
    format!("/v1/connections/finance/{name}/rejections")
}

const REPORT: &str = r#"{"proof": "00"}"#;

#[tokio::test]
async fn a_report_about_anything_is_answered_alike_and_too_many_are_not_looked_at() {
    let port = Port::open().await;
    for n in 0..10 {
        assert_eq!(port.report(&path(&format!("connection-{n}")), REPORT).await, 202);
    }
    port.until_counted("unproved", 10).await;
    let reads = port.reads.load(Ordering::Relaxed);
    for n in 10..50 {
        assert_eq!(port.report(&path(&format!("connection-{n}")), REPORT).await, 429);
    }
    assert_eq!(port.reads.load(Ordering::Relaxed), reads, "what is too much costs no read");
}

#[tokio::test]
async fn what_cannot_be_a_connection_of_ours_costs_no_read() {
    let port = Port::open().await;
    for name in ["..%2Fsecrets%2Fx", "A", "a%00b", "acme%3Ffield"] {
        assert_eq!(port.report(&path(name), REPORT).await, 202, "{name}");
    }
    assert_eq!(port.report("/v1/connections/kube-system/acme/rejections", REPORT).await, 202);
    port.until_counted("unproved", 5).await;
    assert_eq!(port.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_no_report_is_rejected_before_anything_is_read() {
    let port = Port::open().await;
    let large = format!(r#"{{"proof": "{}"}}"#, "0".repeat(2000));
    for (body, status) in [(large.as_str(), 413), ("{", 400), ("{}", 422), (r#"{"proof": 5}"#, 422), ("", 400)] {
        assert_eq!(port.report(&path("acme"), body).await, status, "{body}");
    }
    assert_eq!(port.report("/v1/connections/finance", REPORT).await, 404);
    let get = reqwest::get(format!("http://{}{}", port.address, path("acme"))).await.unwrap();
    assert_eq!((get.status().as_u16(), port.reads.load(Ordering::Relaxed)), (405, 0));
}

/// Connections that send nothing, half a head, or a head without its body: few of one address are open, and each is closed.
#[tokio::test]
async fn connections_that_say_nothing_keep_no_one_out() {
    let port = Port::open().await;
    let half = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n",
        path("acme")
    );
    let mut silent = Vec::new();
    for n in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((HOSTILE, 0).into()).unwrap();
        let mut stream = socket.connect(port.address).await.unwrap();
        // It may be closed already: there are too many.
        let _ = stream.write_all([&b""[..], &b"POST /v1/connections/fin"[..], half.as_bytes()][n % 3]).await;
        silent.push(stream);
    }
    assert_eq!(port.report(&path("acme"), REPORT).await, 202);
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = timeout(GUARD, stream.read_to_end(&mut rest)).await.expect("it ends");
    }
}
