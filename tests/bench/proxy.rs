//! `make bench-proxy`: the proxy beside nginx, in front of the same API over TLS, at the same rates, in the same run. It prints what a
//! call costs in both, and the ratios. Nothing is asserted: machines are not always quiet.

mod process;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Uri};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use pleo_test_support::proxy::TokenFolder;
use process::{cpu, resident};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

const RATES: [u32; 2] = [1000, 5000];
const SECONDS: u32 = 10;
const IN_FLIGHT: usize = 256;
const TOKEN: &str = "a-token-of-the-benchmark";

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM: nginx must end its workers.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = std::env::temp_dir().join(format!("pleo-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let done = compare(&folder).await;
    fs::remove_dir_all(&folder)?;
    done
}

async fn compare(folder: &Path) -> anyhow::Result<()> {
    let ca = certificates(folder)?;
    let (api, nginx_at, ours_at) = (free_port().await?, free_port().await?, free_port().await?);
    let mut tokens = TokenFolder::default();
    tokens.publish_token(TOKEN, Duration::from_secs(3000), Duration::from_secs(3600));
    let _api = nginx(folder, "api", &api_config(folder, api))?;
    let nginx = nginx(folder, "proxy", &proxy_config(folder, nginx_at, api))?;
    let ours = proxy(&tokens, &ca, ours_at, api)?;
    for address in [api, nginx_at, ours_at] {
        listening(address).await?;
    }
    println!("{:>7}  {:<6} {:>10} {:>10} {:>14}", "calls/s", "", "p50 ms", "p99 ms", "CPU per call");
    for rate in RATES {
        let theirs = measure("nginx", rate, nginx_at, &children(&nginx)?).await?;
        let own = measure("ours", rate, ours_at, &[ours.0.id()]).await?;
        println!(
            "{rate:>7}  {:<6} {:>10.2} {:>10.2} {:>14.2}",
            "ratio",
            own.p50.as_secs_f64() / theirs.p50.as_secs_f64(),
            own.p99.as_secs_f64() / theirs.p99.as_secs_f64(),
            own.cpu.as_secs_f64() / theirs.cpu.as_secs_f64()
        );
    }
    drop((nginx, ours));
    memory(&tokens, folder, &ca).await
}

/// What calls cost.
struct Cost {
    p50: Duration,
    p99: Duration,
    cpu: Duration,
}

/// Calls at this rate, whether or not earlier ones were answered; each is timed from when it was due.
async fn measure(name: &str, rate: u32, address: SocketAddr, processes: &[u32]) -> anyhow::Result<Cost> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri: Uri = format!("http://{address}/v1/me").parse()?;
    let (before, mut due) = (cpu(processes)?, interval(Duration::from_secs(1) / rate));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = Vec::new();
    for _ in 0..rate * SECONDS {
        let began = due.tick().await;
        let (client, request) = (client.clone(), Request::get(uri.clone()).body(Empty::new())?);
        calls.push(tokio::spawn(async move {
            let response = client.request(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            anyhow::ensure!(status == 200, "{status}");
            Ok(began.elapsed())
        }));
    }
    let mut times = Vec::new();
    for call in calls {
        times.push(call.await??);
    }
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let cost = Cost { p50: at(50), p99: at(99), cpu: (cpu(processes)? - before) / (rate * SECONDS) };
    println!(
        "{rate:>7}  {name:<6} {:>10.2} {:>10.2} {:>11.1} µs",
        cost.p50.as_secs_f64() * 1e3,
        cost.p99.as_secs_f64() * 1e3,
        cost.cpu.as_secs_f64() * 1e6
    );
    Ok(cost)
}

/// With so many calls at an API that does not answer.
async fn memory(tokens: &TokenFolder, folder: &Path, ca: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (api, address) = (listener.local_addr()?, free_port().await?);
    let tls = silent_tls(folder)?;
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while held.len() < IN_FLIGHT {
            let (socket, _) = listener.accept().await?;
            let mut stream = tls.accept(socket).await?;
            stream.read_u8().await?;
            held.push(stream);
        }
        Ok::<_, std::io::Error>(held)
    });
    let ours = proxy(tokens, ca, address, api)?;
    listening(address).await?;
    let idle = resident(ours.0.id())?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for _ in 0..IN_FLIGHT {
        let (client, request) = (client.clone(), Request::get(format!("http://{address}/v1/me")).body(Empty::new())?);
        tokio::spawn(async move { client.request(request).await.map(drop) });
    }
    let _held = timeout(Duration::from_secs(60), silent).await???;
    println!("memory of ours: {idle} MiB idle, {} MiB with {IN_FLIGHT} calls in flight", resident(ours.0.id())?);
    Ok(())
}

fn certificates(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "the CA of the benchmark");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?.signed_by(&key, &ca)?;
    for (name, pem) in [("ca.pem", ca.pem()), ("leaf.pem", leaf.pem()), ("key.pem", key.serialize_pem())] {
        fs::write(folder.join(name), pem)?;
    }
    Ok(folder.join("ca.pem"))
}

fn silent_tls(folder: &Path) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let certificate = CertificateDer::from_pem_file(folder.join("leaf.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    Ok(std::sync::Arc::new(config).into())
}

fn api_config(folder: &Path, at: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "server {{ listen {at} ssl; ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/key.pem; keepalive_requests 1000000; location / {{ return 200 '{{}}'; }} }}"
    )
}

fn proxy_config(folder: &Path, at: SocketAddr, api: SocketAddr) -> String {
    let ca = folder.join("ca.pem");
    format!(
        "upstream api {{ server {api}; keepalive 64; keepalive_requests 1000000; }} server {{ listen {at}; keepalive_requests 1000000; location / {{ proxy_pass https://api; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host {api}; proxy_set_header Authorization 'Bearer {TOKEN}'; proxy_ssl_trusted_certificate {}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_session_reuse on; }} }}",
        ca.display()
    )
}

fn nginx(folder: &Path, name: &str, server: &str) -> anyhow::Result<Running> {
    let place = folder.join(name);
    fs::create_dir_all(&place)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind}; ", place.display()))
        .concat();
    let config = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log; events {{ worker_connections 4096; }} http {{ access_log off; {temporary} {server} }}",
        place.display()
    );
    fs::write(place.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&place).arg("-c").arg(place.join("nginx.conf")).stderr(Stdio::null());
    command.spawn().map(Running).context("nginx is not there: apt-get install nginx-light")
}

fn proxy(tokens: &TokenFolder, ca: &Path, at: SocketAddr, api: SocketAddr) -> anyhow::Result<Running> {
    let program = std::env::var_os("PLEO_OPERATOR").context("PLEO_OPERATOR is not set: run `make bench-proxy`")?;
    let mut command = Command::new(program);
    command.arg("proxy").arg("--token-dir").arg(tokens.path()).arg("--upstream-ca-file").arg(ca);
    command.args(["--listen", &at.to_string(), "--upstream", &format!("https://{api}")]);
    command.args(["--admin-address", "127.0.0.1:0"]).stderr(Stdio::null());
    command.spawn().map(Running).context("the proxy does not start")
}

async fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

async fn listening(address: SocketAddr) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).await.is_err() {
        ensure!(Instant::now() < end, "nothing listens on {address}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The workers of nginx: its first process does nothing.
fn children(running: &Running) -> anyhow::Result<Vec<u32>> {
    let id = running.0.id();
    let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    text.split_whitespace().map(|id| id.parse().context("a process")).collect()
}
