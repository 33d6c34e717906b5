//! Logs: JSON or text on stderr, with a ceiling for libraries that print bodies when asked for details. No setting of
//! `RUST_LOG` lifts it: a token in a log is a token lost.

use std::io::IsTerminal;

use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Libraries that may print what they carry, and the most that is heard of each.
const CEILINGS: [(&str, LevelFilter); 8] = [
    ("kube_client", LevelFilter::ERROR),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    // It repeats the names in a certificate, which are the server's text; the failure says the rest.
    ("rustls_platform_verifier", LevelFilter::OFF),
    ("tower", LevelFilter::INFO),
];

/// Begins to log. `RUST_LOG` says what; `info` without it.
pub fn init(format: LogFormat) {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let harmless = filter_fn(is_below_ceiling);
    let layer = match format {
        LogFormat::Json => {
            fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Text => {
            let is_terminal = std::io::stderr().is_terminal();
            fmt::layer().with_ansi(is_terminal).with_writer(std::io::stderr).boxed()
        }
    };
    tracing_subscriber::registry().with(wanted).with(layer.with_filter(harmless)).init();
}

fn is_below_ceiling(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next().unwrap_or_default();
    let ceiling = CEILINGS.iter().find(|(name, _)| *name == library);
    ceiling.is_none_or(|(_, most)| *metadata.level() <= *most)
}
