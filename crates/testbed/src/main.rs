//! The command line of the testbed: a cluster in the foreground, and its kubectl.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::{fs::FileTypeExt, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, ExitCode},
    thread,
};

use clap::{Parser, Subcommand};
use pleo_testbed::{Assets, Cluster, Error, NodeAssets};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// A real etcd and kube-apiserver on loopback, for tests and for playing
///
/// The servers come from the folder that KUBEBUILDER_ASSETS names (with etcd, kube-apiserver and kubectl in it).
/// Where that is not set they are built from source with Go, which takes about 5 minutes, once.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run a cluster in the foreground
    ///
    /// When it is ready, after some seconds, two lines go to standard output: KUBECTL=, the kubectl that fits it,
    /// and then KUBECONFIG=, the file that gives access to it. It ends on Ctrl-C or SIGTERM, and, if standard
    /// input is a pipe, when that closes. Nothing is left behind then, also after SIGKILL.
    Cluster {
        /// Keep all files in this folder, which must be empty or new; it is removed at the end
        /// [default: a new one among the system's temporary files]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },

    /// Run the kubectl that belongs to the cluster, with the kubeconfig of the variable KUBECONFIG
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },

    /// Build etcd, kube-apiserver and kubectl now, unless that was done or KUBEBUILDER_ASSETS has them
    Build {
        /// Also what nodes need, and helm
        #[arg(long)]
        nodes: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pleo-testbed: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<(), Failure> {
    match action {
        Action::Cluster { dir } => cluster(dir),
        Action::Kubectl { arguments } => {
            let program = Assets::find()?.kubectl;
            // It takes the place of this process, so it comes back only when that failed.
            let source = Command::new(&program).args(arguments).exec();
            Err(Error::Run { program, source }.into())
        }
        Action::Build { nodes } => {
            Assets::find()?;
            if nodes {
                NodeAssets::find()?;
            }
            Ok(())
        }
    }
}

fn cluster(folder: Option<PathBuf>) -> Result<(), Failure> {
    let builder = Cluster::builder();
    let cluster = match folder {
        Some(folder) => builder.folder(folder),
        None => builder,
    }
    .start()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(&cluster))
}

/// Says that the cluster is ready, and waits for a signal to end, or for the end of standard input.
async fn serve(cluster: &Cluster) -> Result<(), Failure> {
    // Before anybody is told of the cluster, so that no signal ends this process in the usual, rude way.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut out = io::stdout();
    writeln!(out, "KUBECTL={}", cluster.kubectl_program().display())?;
    writeln!(out, "KUBECONFIG={}", cluster.kubeconfig().display())?;
    out.flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = end_of_input() => {}
    }
    Ok(())
}

/// Waits until standard input closes; for ever if it is no pipe, for it may be /dev/null from the start.
async fn end_of_input() {
    let is_pipe = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|input| File::from(input).metadata())
        .is_ok_and(|metadata| metadata.file_type().is_fifo());
    if !is_pipe {
        return std::future::pending().await;
    }
    let (sender, closed) = oneshot::channel::<()>();
    thread::spawn(move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    let _ = closed.await;
}

/// What ends the program: an error of the testbed, or one of its own input and output.
#[derive(thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Testbed(#[from] Error),
    #[error("cannot write to standard output, or await a signal: {0}")]
    Io(#[from] io::Error),
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Testbed(error) => write!(f, "{error:?}"),
            Self::Io(_) => write!(f, "{self}"),
        }
    }
}
