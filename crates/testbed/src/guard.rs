//! Processes and a folder which never outlive this process, however it ends: by a panic, Ctrl-C or SIGKILL too.
//!
//! Each server runs under a small shell script, its guard, which holds one end of a pipe. When this process is
//! gone the pipe closes, and the guard kills the server, also one that is stopped. Another script, the keeper,
//! removes the folder after the last server and guard is gone. They are in process groups of their own, or
//! Ctrl-C in a terminal would end them before their work is done.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::error::{Error, file};

/// How long the end of something that was killed may take.
const KILLED: Duration = Duration::from_secs(30);

/// A folder that is removed when this value, every guarded program in it, and this process are gone.
pub(crate) struct Folder {
    path: PathBuf,
    /// None while being dropped.
    keeper: Option<(Child, OwnedFd)>,
}

impl Folder {
    /// Makes the folder, readable for its owner alone; it may exist if it is empty.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file("make the folder", path))?;
        let path = path.canonicalize().map_err(file("find the folder", path))?;
        let mut entries = fs::read_dir(&path).map_err(file("read the folder", &path))?;
        if entries.next().is_some() {
            return Err(Error::FolderNotEmpty(path));
        }
        let mut keeper = script(include_str!("keeper.sh"), "keeper")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot_run("sh"))?;
        let Some(pipe) = keeper.stdin.take() else {
            return Err(cannot_run("sh")(io::ErrorKind::BrokenPipe.into()));
        };
        Ok(Self { path, keeper: Some((keeper, pipe.into())) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a program that ends with this process, and before the folder is removed. It runs in the folder,
    /// and both its outputs are appended to `log`.
    pub(crate) fn run<'a>(
        &self,
        program: &Path,
        arguments: &[String],
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        log: &Path,
    ) -> Result<Guarded, Error> {
        let hold = match &self.keeper {
            Some((_, pipe)) => pipe.try_clone().map_err(cannot_run(program))?,
            None => return Err(cannot_run(program)(io::ErrorKind::BrokenPipe.into())),
        };
        let mut guard = script(include_str!("guard.sh"), "guard")
            .arg(log)
            .arg(program)
            .args(arguments)
            .envs(variables)
            .current_dir(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(hold)
            .spawn()
            .map_err(cannot_run(program))?;
        let (Some(signals), Some(answers)) = (guard.stdin.take(), guard.stdout.take()) else {
            return Err(cannot_run(program)(io::ErrorKind::BrokenPipe.into()));
        };
        let (sender, end) = mpsc::channel();
        thread::spawn(move || sender.send(guard.wait()));
        Ok(Guarded { signals: Some(signals), answers: BufReader::new(answers), end })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some((mut keeper, pipe)) = self.keeper.take() {
            drop(pipe);
            // Nothing is left to be told, whatever wait says.
            let _ = keeper.wait();
        }
    }
}

/// A program that ends, at the latest, with this process; it is killed when this value is dropped.
pub(crate) struct Guarded {
    /// None while being dropped.
    signals: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    end: Receiver<io::Result<ExitStatus>>,
}

/// Why awaiting a program's end was given up: it still runs.
pub(crate) struct StillRuns;

impl Guarded {
    /// Sends a signal, by its name without SIG; returns when it was sent, or when the program is gone.
    pub(crate) fn signal(&mut self, name: &str) {
        let Some(pipe) = &mut self.signals else {
            return;
        };
        // A pipe that is broken means that guard and program are gone: there is nothing to signal.
        if writeln!(pipe, "{name}").is_ok() {
            let _ = self.answers.read_line(&mut String::new());
        }
    }

    /// Waits until the program has ended, and gives its exit code where there is one.
    pub(crate) fn ended_within(&self, limit: Duration) -> Result<Option<i32>, StillRuns> {
        match self.end.recv_timeout(limit) {
            Ok(status) => Ok(status.ok().and_then(|status| status.code())),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(StillRuns),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.signals.take();
        let _ = self.end.recv_timeout(KILLED);
    }
}

/// A shell that runs a script of ours in a process group of its own.
fn script(text: &str, name: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text, name]).process_group(0);
    command
}

fn cannot_run(program: impl AsRef<OsStr>) -> impl FnOnce(io::Error) -> Error {
    let program = PathBuf::from(program.as_ref());
    move |source| Error::Run { program, source }
}
