//! The command line of `kubectl pleo`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use url::Url;

use crate::api::GoDuration;

/// Manages Pleo connections: status, authorization, refresh.
#[derive(Debug, Parser)]
#[command(name = "kubectl pleo", bin_name = "kubectl pleo", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The namespace; without it, the kubeconfig's.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The kubeconfig's context to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Output format.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all connections, or all about one of them.
    Status {
        /// The connection.
        name: Option<String>,
        /// In all namespaces.
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Authorize in a browser on this machine, and store the new grant for the operator.
    Connect(ConnectArgs),
    /// Request a refresh now. It invalidates the token that pods have, and they get a new one.
    Refresh {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Wait for the result, and print it.
        #[arg(long)]
        wait: bool,
        /// How long to wait.
        #[arg(long, default_value = "3m", value_parser = duration, value_name = "DURATION")]
        timeout: Duration,
    },
    /// Send nothing for a connection until it is resumed.
    Suspend {
        /// Which.
        #[command(flatten)]
        which: Which,
    },
    /// Resume refreshing.
    Resume {
        /// Which.
        #[command(flatten)]
        which: Which,
    },
    /// Print the proxy as a sidecar: a patch for a workload, or whole manifests with it. Changes nothing in the cluster.
    Inject(Box<InjectArgs>),
    /// Check the installation: the CRD, a leader, your rights, the clock.
    Check {
        /// The namespace of the operator's Lease.
        #[arg(long, default_value = "pleo-system", value_name = "NAME")]
        operator_namespace: String,
        /// The Lease.
        #[arg(long, default_value = "pleo-operator", value_name = "NAME")]
        lease_name: String,
    },
    /// Print a script that completes commands, for bash, zsh, fish and others.
    Completion {
        /// For which shell.
        shell: Shell,
    },
}

/// What `connect` takes.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// The connection.
    pub name: String,
    /// The redirect URI on this machine. It must be registered with Pleo exactly like this.
    #[arg(long, default_value = "http://localhost:8976/callback", value_name = "URL")]
    pub redirect_uri: String,
    /// Print the address instead of opening a browser.
    #[arg(long)]
    pub no_browser: bool,
    /// How long to wait for the authorization.
    #[arg(long, default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
}

/// What `inject` takes.
#[derive(Debug, Args)]
pub struct InjectArgs {
    /// The connection.
    pub name: String,
    /// The operator's image.
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// The API, if the connection has a server of its own; else Pleo's, production or staging.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<Url>,
    /// How long a call waits for a token; 120s where pods are not notified of rotations.
    #[arg(long, value_name = "DURATION")]
    pub max_hold: Option<GoDuration>,
    /// The operator's Service for reports of rejected tokens.
    #[arg(long, default_value = "http://pleo-operator-reports.pleo-system", value_name = "URL")]
    pub reports: Url,
    /// A file with manifests, which are printed with the sidecar in each pod; - reads standard input. Without it, a patch is printed.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A container that calls the API, which gets PLEO_API_URL by the patch; repeat for several. In manifests, each one gets it.
    #[arg(short, long = "container", value_name = "NAME", conflicts_with = "file")]
    pub containers: Vec<String>,
}

/// Which connections.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// These.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Those with these labels.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// All of the namespace.
    #[arg(long)]
    pub all: bool,
}

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: crate::api::GoDuration =
        text.parse().map_err(|error: crate::api::InvalidDuration| error.to_string())?;
    Ok(duration.get())
}
