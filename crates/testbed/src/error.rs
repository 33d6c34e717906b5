//! What can go wrong with a testbed, in words that say what to do.

use std::{fmt, io, path::PathBuf, process::ExitStatus};

/// An error of the testbed. Its `Debug` is the message with its causes, since tests show errors by `unwrap`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `KUBEBUILDER_ASSETS` names a folder which lacks a program.
    #[error(
        "KUBEBUILDER_ASSETS is {folder}, but there is no {program} in it: set it to a folder with etcd, \
         kube-apiserver and kubectl, or unset it to have them built from source"
    )]
    AssetMissing {
        /// The folder that the variable names.
        folder: PathBuf,
        /// The program that is not there.
        program: &'static str,
    },

    /// There is no Go to build the programs with.
    #[error(
        "Go was not found, and the parts of Kubernetes are built with it, once: install Go 1.26 or newer; for etcd, \
         kube-apiserver and kubectl alone, KUBEBUILDER_ASSETS may name a folder that has the three programs"
    )]
    GoMissing(#[source] io::Error),

    /// Go did not build the programs.
    #[error("building {parts} in {folder} failed ({status}):\n{output}")]
    Build {
        /// What was to be built.
        parts: String,
        /// The folder of the Go module.
        folder: PathBuf,
        /// How `go build` ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },

    /// A file or a folder could not be read, written or made.
    #[error("cannot {doing} {path}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The chosen folder holds something, and a testbed removes its folder at the end.
    #[error("{0} is not empty, and the testbed removes its folder at its end: choose one that is empty or new")]
    FolderNotEmpty(PathBuf),

    /// A program could not be run at all.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// A server ended while it was expected to start.
    #[error("{program} ended before it was ready{how}. The end of its log:\n{log}")]
    Ended {
        /// The server.
        program: &'static str,
        /// Its exit code, where known.
        how: String,
        /// The last lines that it wrote.
        log: String,
    },

    /// A server took too long to start or to stop.
    #[error("{program} was not {awaited} within {seconds} s: is the machine very busy? The end of its log:\n{log}")]
    TooSlow {
        /// The server.
        program: &'static str,
        /// What was awaited.
        awaited: &'static str,
        /// For how long.
        seconds: u64,
        /// The last lines that it wrote.
        log: String,
    },

    /// There was no port to listen on.
    #[error("found no free port on 127.0.0.1 between {first} and {last}: end some testbeds that still run")]
    NoPort {
        /// The lowest port that was considered.
        first: u16,
        /// The highest one.
        last: u16,
    },

    /// The API server is not running, and what was asked needs it.
    #[error("the API server is stopped: call start_again() first")]
    Stopped,

    /// The API server is running already.
    #[error("the API server runs already: call stop() first, or restart()")]
    Running,

    /// kubectl ended with an error.
    #[error("kubectl {arguments} failed ({status}): {output}")]
    Kubectl {
        /// Its arguments.
        arguments: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        output: String,
    },

    /// Namespaces, mounts and control groups are for root.
    #[error("nodes need root, for namespaces, mounts and control groups of their own")]
    NotRoot,

    /// A node did not take an image.
    #[error("{node} did not take the image {image}: {said}")]
    Image {
        /// The image.
        image: String,
        /// The node.
        node: String,
        /// What containerd's client said.
        said: String,
    },

    /// What nodes need could not be fetched or unpacked.
    #[error("{program} failed: {said}. Nodes need a Debian whose lists of packages are there (apt-get update)")]
    Packages {
        /// The program.
        program: PathBuf,
        /// What it said on standard error.
        said: String,
    },

    /// A kubeconfig of the testbed could not be used.
    #[error("cannot use the kubeconfig {path}: was its cluster ended?")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kube::config::KubeconfigError,
    },

    /// A request to the API server failed.
    #[error("cannot {doing}: is the API server stopped or frozen?")]
    Request {
        /// What was tried.
        doing: String,
        /// Why not.
        source: Box<kube::Error>,
    },

    /// A line of the audit log is not what it should be.
    #[error("the audit log {path} has a line that does not parse: {line}")]
    Audit {
        /// The log.
        path: PathBuf,
        /// The line.
        line: String,
        /// Why not.
        source: serde_json::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Adds to an error of the file system what was tried, and where.
pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { doing, path: path.into(), source }
}
