//! `make e2e`: the operator on real nodes, installed with Helm under the chart's own rights, with pods that follow every
//! rotation. It needs root, for namespaces of its own; nothing outside of them is touched, and nothing is left behind.
//!
//! Exit status: 0 if all went as told, or if it was skipped for want of root; 1 otherwise. With `KEEP=1` it stays at the end,
//! for a look around.

mod connect;
mod figures;
mod follow;
mod install;
mod namespaced;
mod narrow;
mod proxied;
mod restart;
mod stage;
mod trouble;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use pleo_testbed::{
    Error,
    nodes::{Isolation, Place, isolate},
};

use crate::stage::Stage;

fn main() -> ExitCode {
    let place = match isolate() {
        Ok(Isolation::Inside(place)) => place,
        Ok(Isolation::Outside(code)) => return code,
        Err(why @ Error::NotRoot) => {
            let _ = writeln!(io::stdout(), "e2e: skipped, because {why}: run it as root");
            return ExitCode::SUCCESS;
        }
        Err(error) => return failed(&error.into()),
    };
    match play(&place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // There is nobody left to be told if even this cannot be written.
    let _ = writeln!(io::stderr(), "\ne2e: {error:#}");
    ExitCode::FAILURE
}

fn play(place: &Place) -> anyhow::Result<()> {
    let stage = Stage::set(place)?;
    let told = acts(&stage);
    if told.is_err() {
        stage.last_words();
    }
    if std::env::var_os("KEEP").is_some_and(|keep| !keep.is_empty() && keep != "0") {
        stage.stay(&told)?;
    }
    told
}

type Act = fn(&Stage) -> anyhow::Result<()>;

/// One story after another, on the same stage.
fn acts(stage: &Stage) -> anyhow::Result<()> {
    let acts: [(&str, Act); 10] = [
        ("Helm installs two replicas, and one leads", install::two_replicas_come_up),
        ("A connection becomes ready, and its Secret is mounted", connect::a_connection_becomes_ready),
        ("The operator's own credentials can do no more than they must", narrow::the_operator_cannot_do_more),
        ("Every rotation reaches the pods", follow::every_rotation_reaches_the_pods),
        ("A program behind the proxy sees no rotation", proxied::no_call_is_rejected),
        ("Workloads that cannot follow are restarted once a rotation", restart::once_for_each_rotation),
        ("The leader is killed, and another one drained", trouble::no_rotation_fails),
        ("An upgrade, and an uninstall, leave what is the user's", install::upgrade_and_uninstall),
        ("A namespaced install needs no cluster-wide right", namespaced::without_any_cluster_wide_right),
        ("No token in any log", stage::no_token_in_any_log),
    ];
    for (number, (title, act)) in (1..).zip(acts) {
        stage.say(&format!("\n{number}. {title}"))?;
        act(stage).and_then(|()| stage.hunt()).with_context(|| title.to_owned())?;
    }
    stage.say("\nAll checks passed.")
}
