//! `make demo`: the operator at work, in under a minute, on a real API server and against a strict fake of Pleo.
//!
//! Everything runs on this machine: etcd and kube-apiserver, the sandbox, and the operator as a process of its own. All
//! commands that are shown are run as shown. Nothing is left behind, however it ends. With `KEEP=1` in the environment
//! it stays at the end, for playing. Exit status: 0 if all checks passed, 130 after Ctrl-C on the way, 1 otherwise.

mod consumer;
mod kubectl;
mod operator;
mod play;
mod screen;
mod story;
mod user;
mod world;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{operator::Operator, world::World};

/// The longest that the story may take. It only ends a demo that hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a demo ended that did not fail.
enum End {
    Passed,
    Interrupted,
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Signals::listen() {
        Ok(mut signals) => demo(&mut signals).await,
        Err(error) => Err(error).context("cannot listen for signals"),
    };
    match ended {
        Ok(End::Passed) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(error) => {
            // There is no way left to report it if even this cannot be written.
            let _ = writeln!(io::stderr(), "\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(signals: &mut Signals) -> anyhow::Result<End> {
    let world = tokio::select! {
        biased;
        () = signals.received() => return Ok(End::Interrupted),
        world = prepare() => world?,
    };
    let mut operator = Operator::start(&world)?;
    let about = operator.about.clone();
    let shown = tokio::select! {
        biased;
        () = signals.received() => Ok(End::Interrupted),
        ended = operator.ended() => ended,
        shown = tokio::time::timeout(PATIENCE, story::tell(&world, &about)) => shown.context("the demo hangs").flatten(),
    };
    let shown = match shown {
        Ok(End::Passed) if stays() => tokio::select! {
            biased;
            () = signals.received() => Ok(End::Passed),
            ended = operator.ended() => ended,
            played = play::play(&world, &about) => played,
        },
        shown => shown,
    };
    if shown.is_err() {
        world.screen.last_words(&about.log()?);
    }
    let shown = shown?;
    operator.stop().await?;
    if let End::Passed = shown {
        story::the_end(&world, &about)?;
    }
    Ok(shown)
}

async fn prepare() -> anyhow::Result<World> {
    let world = World::start().await?;
    story::install(&world).await?;
    Ok(world)
}

/// Whether one wants to play at the end.
fn stays() -> bool {
    std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty() && keep != "0")
}

/// Ctrl-C, and the other polite ways to ask for the end.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn received(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Ends the demo with a clear line unless that holds.
fn expect(holds: bool, what: impl FnOnce() -> String) -> anyhow::Result<()> {
    if !holds {
        bail!("not as expected: {}", what());
    }
    Ok(())
}
