//! `kubectl pleo`. Exits 0 on success, 2 for bad arguments, 1 otherwise, with a message that says what to do.

#![forbid(unsafe_code)]
// What ends a program in the middle of a token's life, or changes a number unseen. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};
use pleo_operator::plugin::{
    args::{Cli, Command},
    change, check,
    cluster::{CliError, Cluster},
    connect, inject, status,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        // A closed pipe, as of `… | head`, is no failure.
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            eprintln!("{:#}", anyhow::Error::from(trouble));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<String, CliError> {
    if let Command::Completion { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "kubectl-pleo", &mut script);
        return Ok(String::from_utf8_lossy(&script).into_owned());
    }
    // One provider for both clients; there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (cluster, output) = (Cluster::connect(cli.context.as_deref(), cli.namespace).await?, cli.output);
    match cli.command {
        Command::Status { name: Some(name), .. } => status::one(&cluster, &name, output).await,
        Command::Status { name: None, all_namespaces } => status::all(&cluster, all_namespaces, output).await,
        Command::Connect(args) => connect::connect(&cluster, &args).await,
        Command::Refresh { which, wait, timeout } => {
            change::refresh(&cluster, &which, wait.then_some(timeout), output).await
        }
        Command::Suspend { which } => change::suspend(&cluster, &which, true, output).await,
        Command::Resume { which } => change::suspend(&cluster, &which, false, output).await,
        Command::Inject(args) => inject::inject(&cluster, &args).await,
        Command::Check { operator_namespace, lease_name } => {
            check::check(&cluster, &operator_namespace, &lease_name, output).await
        }
        Command::Completion { .. } => Ok(String::new()),
    }
}
