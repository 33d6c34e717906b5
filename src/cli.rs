//! The command line: every flag is an environment variable too.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use url::Url;

use crate::{
    api::GoDuration,
    domain::spec::AllowedServer,
    proxy::config::{Listen, Origin, ReportUrl},
    telemetry::logs::LogFormat,
    web::address::{PublicUrl, ReturnSite},
};

/// Keeps Pleo OAuth 2.0 tokens fresh in Kubernetes Secrets.
#[derive(Debug, Parser)]
#[command(name = "pleo-operator", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator. It finds its cluster like kubectl does (in-cluster, KUBECONFIG).
    Run(Box<RunArgs>),
    /// Forward an application's calls to the API with the current token, beside it in its pod.
    Proxy(Box<ProxyArgs>),
    /// Print the CustomResourceDefinition, for `kubectl apply -f -`.
    Crd,
    /// Print the version.
    Version,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A namespace to manage; repeat for several. Without it: all.
    #[arg(long = "namespace", env = "PLEO_NAMESPACE", value_delimiter = ',', value_parser = clap::builder::NonEmptyStringValueParser::new(), value_name = "NAME")]
    pub namespaces: Vec<String>,
    /// A server that tokens may be sent to (scheme, host and port of its token URL); repeat for several. Without it: Pleo's two.
    #[arg(long = "allowed-server", env = "PLEO_ALLOWED_SERVER", value_delimiter = ',', value_name = "URL")]
    pub allowed_servers: Vec<AllowedServer>,
    /// Name of the Lease for leader election.
    #[arg(long, env = "PLEO_LEASE_NAME", default_value = "pleo-operator", value_parser = clap::builder::NonEmptyStringValueParser::new(), value_name = "NAME")]
    pub lease_name: String,
    /// Namespace of the Lease. Without it: the pod's, else the kubeconfig's.
    #[arg(long, env = "PLEO_LEASE_NAMESPACE", value_parser = clap::builder::NonEmptyStringValueParser::new(), value_name = "NAME")]
    pub lease_namespace: Option<String>,
    /// How long the other replicas wait for a leader that does not renew; 1s at least.
    #[arg(long, env = "PLEO_LEASE_DURATION", default_value = "15s", value_parser = at_least_a_second, value_name = "DURATION")]
    pub lease_duration: Duration,
    /// Name of this replica; no two may share it. Without it: in a cluster the pod's name, elsewhere host name and a random part.
    #[arg(long, env = "PLEO_IDENTITY", value_parser = clap::builder::NonEmptyStringValueParser::new(), value_name = "NAME")]
    pub identity: Option<String>,
    /// How long to wait for a response of the token endpoint; 1s at least.
    #[arg(long, env = "PLEO_REQUEST_TIMEOUT", default_value = "60s", value_parser = at_least_a_second, value_name = "DURATION")]
    pub request_timeout: Duration,
    /// Whether to ask a server's introspection endpoint (RFC 7662) about a token that may already have been used, before it is sent:
    /// auto or never.
    #[arg(long, env = "PLEO_INTROSPECTION", value_enum, default_value_t = Introspection::Auto, value_name = "WHEN")]
    pub introspection: Introspection,
    /// How many connections are reconciled at once.
    #[arg(long, env = "PLEO_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub concurrency: u16,
    /// How many tokens of working grants a server may reject, beyond one in ten, until those of its other connections are held and tried
    /// one at a time; 0: any number.
    #[arg(long, env = "PLEO_MAX_REFUSALS", default_value_t = 5, value_name = "N")]
    pub max_refusals: u32,
    /// How many pods are notified of rotations per second, by an annotation; 0: none.
    #[arg(long, env = "PLEO_NOTIFY_PODS_PER_SECOND", default_value_t = 50, value_name = "N")]
    pub notify_pods_per_second: u16,
    /// The https URL under which users reach the authorization pages; the authorization server must have URL/callback as a
    /// redirect URI. Without it there are no links.
    #[arg(long, env = "PLEO_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// Where those pages are served, in plain HTTP, behind an Ingress or a gateway.
    #[arg(long, env = "PLEO_LINK_ADDRESS", value_parser = address, default_value = "0.0.0.0:8081", value_name = "ADDRESS")]
    pub link_address: SocketAddr,
    /// Where clients report in plain HTTP that the API rejects an access token, so that it is refreshed early. Without it there are no
    /// reports.
    #[arg(long, env = "PLEO_REPORT_ADDRESS", value_parser = address, value_name = "ADDRESS")]
    pub report_address: Option<SocketAddr>,
    /// A site that a link may return to (`?return=`; scheme, host and port); repeat for several.
    #[arg(
        long = "allowed-return",
        env = "PLEO_ALLOWED_RETURN",
        value_delimiter = ',',
        value_name = "URL",
        requires = "public_url"
    )]
    pub allowed_returns: Vec<ReturnSite>,
    /// A webhook that is notified when a user must authorize, and on recovery.
    #[arg(
        long,
        env = "PLEO_NOTIFY_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = webhook_url,
        requires = "notify_key_file"
    )]
    pub notify_url: Option<WebhookUrl>,
    /// A file with the key that signs these notices: whsec_ and 24 to 64 random bytes in base64.
    #[arg(long, env = "PLEO_NOTIFY_KEY_FILE", value_name = "FILE")]
    pub notify_key_file: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "PLEO_ADMIN_ADDRESS", value_parser = address, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub admin_address: SocketAddr,
    /// Format of the log; RUST_LOG selects what is logged.
    #[arg(long, env = "PLEO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Flags of `proxy`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// The folder where the token Secret is mounted.
    #[arg(long, env = "PLEO_TOKEN_DIR", default_value = "/var/run/pleo", value_name = "FOLDER")]
    pub token_dir: PathBuf,
    /// Where calls are taken, in plain HTTP: an address that only this pod reaches, or unix:PATH.
    #[arg(long, env = "PLEO_LISTEN", default_value = "127.0.0.1:8089", value_name = "ADDRESS")]
    pub listen: Listen,
    /// The API that calls are forwarded to.
    #[arg(long, env = "PLEO_UPSTREAM", default_value = "https://external.pleo.io", value_name = "URL")]
    pub upstream: Origin,
    /// A PEM file with certificates that are trusted for the API, beside the system's.
    #[arg(long, env = "PLEO_UPSTREAM_CA_FILE", value_name = "FILE")]
    pub upstream_ca_file: Option<PathBuf>,
    /// Where /livez and /metrics are served.
    #[arg(long, env = "PLEO_ADMIN_ADDRESS", value_parser = address, default_value = "0.0.0.0:8090", value_name = "ADDRESS")]
    pub admin_address: SocketAddr,
    /// How long a call waits for a token at most; 1s at least.
    #[arg(long, env = "PLEO_MAX_HOLD", default_value = "30s", value_parser = at_least_a_second, value_name = "DURATION")]
    pub max_hold: Duration,
    /// A name that the Host header may have, beside those of the loopback address; repeat for several.
    #[arg(long = "allow-host", env = "PLEO_ALLOW_HOST", value_delimiter = ',', value_parser = clap::builder::NonEmptyStringValueParser::new(), value_name = "HOST")]
    pub allowed_hosts: Vec<String>,
    /// Where a token that the API rejects is reported: http://HOST/v1/connections/NAMESPACE/NAME/rejections. Without it, none is.
    #[arg(long, env = "PLEO_REPORT_URL", value_name = "URL")]
    pub report_url: Option<ReportUrl>,
    /// Where users authorize again: named in the responses while they must.
    #[arg(long, env = "PLEO_RECONNECT_URL", value_name = "URL")]
    pub reconnect_url: Option<Url>,
    /// The node's address, from the downward API: with --pod-ip, a pod that shares the node's network is refused.
    #[arg(long, env = "PLEO_HOST_IP", value_name = "IP")]
    pub host_ip: Option<String>,
    /// The pod's address, from the downward API.
    #[arg(long, env = "PLEO_POD_IP", value_name = "IP")]
    pub pod_ip: Option<String>,
    /// Format of the log; RUST_LOG selects what is logged.
    #[arg(long, env = "PLEO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// When introspection endpoints are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Introspection {
    /// Where the server has one that proved to be right.
    Auto,
    Never,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8081 or [::]:8081".to_owned())
}

/// Where notices go. Such URLs often hold a secret of their own, so it is not printed; what is none is kept until it can be
/// refused without being quoted.
#[derive(Clone)]
pub struct WebhookUrl(Option<Url>);

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl")
    }
}

impl WebhookUrl {
    /// The URL, if it is one.
    pub fn get(&self) -> Option<&Url> {
        self.0.as_ref()
    }
}

#[allow(clippy::unnecessary_wraps, reason = "clap would quote what was refused here")]
fn webhook_url(text: &str) -> Result<WebhookUrl, String> {
    let url = Url::parse(text).ok();
    Ok(WebhookUrl(url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())))
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error: crate::api::InvalidDuration| error.to_string())?;
    if duration.get() < Duration::from_secs(1) {
        return Err("must be 1s at least".to_owned());
    }
    Ok(duration.get())
}

/// Why there is nothing to run.
pub enum Refused {
    /// Help or version was asked for: this is it.
    Text(String),
    /// Bad arguments, in one line.
    Usage(String),
}

/// Reads the arguments.
///
/// # Errors
/// If they are bad, or ask for help.
pub fn parse() -> Result<Cli, Refused> {
    let cli = Cli::try_parse().map_err(refused)?;
    match &cli.command {
        Command::Run(args) if args.notify_url.as_ref().is_some_and(|url| url.get().is_none()) => {
            let help = "error: --notify-url is not a URL that can be notified: write https://host/path, or http within the cluster";
            Err(Refused::Usage(help.to_owned()))
        }
        Command::Run(_) | Command::Proxy(_) | Command::Crd | Command::Version => Ok(cli),
    }
}

fn refused(error: clap::Error) -> Refused {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refused::Text(error.to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Refused::Usage("error: say what to do: run, proxy, crd or version (see --help)".to_owned())
        }
        _ => {
            let text = error.to_string();
            let lines = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
            let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
            Refused::Usage(format!("{} (see --help)", lines.join(" ")))
        }
    }
}
