//! `pleo-sandbox`: the sandbox as a program. Touches arguments, the files they name, standard
//! streams and signals; the work is the library's.

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, builder::NonEmptyStringValueParser, error::ErrorKind};
use jiff::Timestamp;
use pleo_sandbox::{
    Options, Sandbox,
    authority::{ExchangeRecord, Lifetimes},
    describe, duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// A strict fake of Pleo's authorization server, over HTTPS with a CA of its own making.
///
/// Prints TOKEN_URL=…, AUTHORIZATION_URL=…, API_URL=…, CONTROL_URL=… and, where asked for,
/// CA_FILE=… and REFRESH_TOKEN_name=… on standard output, then READY=1; a line per exchange, never
/// with a token, on standard error. Ends on Ctrl-C, on SIGTERM, and when standard input is a pipe
/// that is closed. Its control path takes orders: `curl $CONTROL_URL` lists them.
#[derive(Parser)]
#[command(name = "pleo-sandbox", version)]
struct Arguments {
    /// Where the token endpoint and the API listen.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Their port; 0 means any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port of the control path, always on 127.0.0.1 and plain HTTP; 0 means any.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    control_port: u16,
    /// One more name or address in the certificate, beside localhost, 127.0.0.1 and ::1.
    #[arg(long = "san", value_name = "NAME", value_parser = certificate_name)]
    names: Vec<String>,
    /// Write the CA to this file, as PEM. (It is also at CONTROL_URL/ca.pem.)
    #[arg(long, value_name = "PATH")]
    ca_file: Option<PathBuf>,
    /// The life of access tokens, like 20s or 15m.
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration::parse)]
    access_lifetime: Duration,
    /// The life of refresh tokens.
    #[arg(long, value_name = "DURATION", default_value = "1440h", value_parser = duration::parse)]
    refresh_lifetime: Duration,
    /// The id of the client.
    #[arg(long, value_name = "ID", default_value = "sandbox-client")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    client_id: String,
    /// Its secret; an empty one makes a public client.
    #[arg(long, value_name = "SECRET", env = "PLEO_SANDBOX_CLIENT_SECRET", hide_env_values = true)]
    #[arg(default_value = "sandbox-secret")]
    client_secret: String,
    /// Where users of the client may be sent back to, to the letter; for http://127.0.0.1:PORT/… any port will do.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Consent to a connection at once; its first refresh token goes to FILE as it is, without a
    /// newline, or else to standard output as REFRESH_TOKEN_name=…
    #[arg(long = "connection", value_name = "NAME[=FILE]", value_parser = connection)]
    connections: Vec<(String, Option<PathBuf>)>,
    /// What tokens are made from: the same seed makes the same tokens. Random without it.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Go on when standard input is closed.
    #[arg(long)]
    ignore_stdin: bool,
}

fn certificate_name(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("write a host name in ASCII, or an IP address".to_owned())
    }
}

fn connection(text: &str) -> Result<(String, Option<PathBuf>), String> {
    let (name, file) = match text.split_once('=') {
        Some((_, "")) => return Err("write NAME=FILE, or NAME alone".to_owned()),
        Some((name, file)) => (name, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.len() > 128 || !name.chars().all(allowed) {
        return Err("a name is 1 to 128 letters, digits, dots, underscores and hyphens".to_owned());
    }
    Ok((name.to_owned(), file))
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // A closed pipe, as of `--help | head`, is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&one_line(&error));
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {}", with_causes(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// What clap says, without the usage that follows it.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    format!("{} (--help says more)", said.collect::<Vec<_>>().join(" "))
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// To standard error; if nobody reads that, there is nobody to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Listened for before anything is printed: who reads READY may send a signal at once.
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let closed = if arguments.ignore_stdin { None } else { watch_stdin() };
    let sandbox = Sandbox::start(options(&arguments))?;
    announce(&sandbox, &arguments)?;
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = async {
                match closed {
                    Some(closed) => { let _ = closed.await; }
                    None => std::future::pending().await,
                }
            } => {}
        }
    });
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    Options {
        address: arguments.address,
        port: arguments.port,
        control_port: Some(arguments.control_port),
        extra_names: arguments.names.clone(),
        lifetimes: Lifetimes { access: arguments.access_lifetime, refresh: arguments.refresh_lifetime },
        client_id: arguments.client_id.clone(),
        client_secret: Some(arguments.client_secret.clone()).filter(|secret| !secret.is_empty()),
        redirect_uris: arguments.redirect_uris.clone(),
        seed: arguments.seed,
        on_exchange: Some(Arc::new(log)),
    }
}

fn log(record: &ExchangeRecord) {
    complain(&format!("{} {}", Timestamp::now().strftime("%H:%M:%S"), describe(record)));
}

fn announce(sandbox: &Sandbox, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut lines = vec![
        format!("TOKEN_URL={}", sandbox.token_url()),
        format!("AUTHORIZATION_URL={}", sandbox.authorization_url()),
        format!("API_URL={}", sandbox.api_url()),
    ];
    lines.extend(sandbox.control_url().map(|url| format!("CONTROL_URL={url}")));
    if let Some(path) = &arguments.ca_file {
        write_file(path, sandbox.ca_pem(), 0o644)?;
        lines.push(format!("CA_FILE={}", path.display()));
    }
    for (name, file) in &arguments.connections {
        let token = sandbox.consent(name);
        match file {
            Some(path) => write_file(path, &token, 0o600)?,
            None => lines.push(format!("REFRESH_TOKEN_{name}={token}")),
        }
    }
    lines.push("READY=1\n".to_owned());
    let mut output = io::stdout().lock();
    output.write_all(lines.join("\n").as_bytes())?;
    output.flush()?;
    Ok(())
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Resolves when standard input ends, if it is a pipe or a socket: whoever held its other end, such
/// as a test that was killed, is gone.
fn watch_stdin() -> Option<oneshot::Receiver<()>> {
    let kind = fs::metadata("/dev/stdin").ok()?.file_type();
    if !kind.is_fifo() && !kind.is_socket() {
        return None;
    }
    let (closed, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut input = io::stdin().lock();
        while matches!(input.read(&mut buffer), Ok(read) if read > 0) {}
        let _ = closed.send(());
    });
    Some(receiver)
}
