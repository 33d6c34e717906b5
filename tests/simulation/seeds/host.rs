//! One node and the operator's pod on it. It has a runtime of its own, and so a clock of its own: dropping it kills the
//! process at whatever await it has come to, skipping its turns freezes it, and its wall clock can be wrong.

use std::{sync::Arc, time::Duration};

use axum::Router;
use pleo_operator::{domain::ledger::grant::Holder, reports::intake::Intake};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, advance, sleep_until},
};

use super::plan::Plan;
use crate::stage::{
    process::{Pod, Process},
    world::World,
};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Well,
    /// The process is dead; a new one comes then.
    Down(Duration),
    /// Nothing runs until then, and all clocks go on.
    Frozen(Duration),
    /// Nothing runs until then, and the monotonic clock stands still.
    Suspended(Duration),
}

pub struct Host {
    pub pod: Pod,
    pub condition: Condition,
    /// The living process, and what it lives in.
    life: Option<Life>,
    /// How long processes stay away after their death.
    absence: Duration,
    /// Every process that has died, and when.
    pub deaths: Vec<(Holder, Duration)>,
    /// When this node was not itself: frozen, suspended, cut off from the API server.
    pub troubles: Vec<(Duration, Duration)>,
    /// A process ended without being told to.
    pub fell: bool,
}

struct Life {
    process: Process,
    runtime: Runtime,
    /// An instant of the runtime, and the true time then.
    known: (Instant, Duration),
    told_to_end: bool,
}

pub fn paused_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

impl Host {
    pub fn new(pod: Pod) -> Self {
        let (deaths, troubles) = (Vec::new(), Vec::new());
        let condition = Condition::Down(Duration::ZERO);
        Self { pod, condition, life: None, absence: Duration::from_secs(5), deaths, troubles, fell: false }
    }

    /// All that happens on this node until then.
    pub fn turn(&mut self, world: &World, now: Duration, until: Duration) {
        match self.condition {
            Condition::Down(back) | Condition::Frozen(back) | Condition::Suspended(back) if back > now => return,
            Condition::Down(_) => self.start(world, now),
            Condition::Frozen(_) => self.thaw(now),
            Condition::Suspended(_) => self.resume(now),
            Condition::Well => {}
        }
        self.condition = Condition::Well;
        let Some(life) = &mut self.life else { return };
        let (instant, time) = life.known;
        let end = instant + until.saturating_sub(time);
        life.runtime.block_on(async { sleep_until(end).await });
        if life.process.client.is_crashed() {
            self.die(until);
        } else if life.process.has_ended() {
            self.fell |= !life.told_to_end;
            self.die(until);
        }
    }

    fn start(&mut self, world: &World, now: Duration) {
        let runtime = paused_runtime();
        let (process, instant) = runtime.block_on(async {
            self.pod.clock.set_true_time(Plan::wall(now));
            (self.pod.start(world), Instant::now())
        });
        self.life = Some(Life { process, runtime, known: (instant, now), told_to_end: false });
    }

    fn thaw(&mut self, now: Duration) {
        let Some(life) = &self.life else { return };
        let (instant, time) = life.known;
        life.runtime.block_on(async {
            let behind = (instant + now.saturating_sub(time)).saturating_duration_since(Instant::now());
            advance(behind).await;
        });
    }

    fn resume(&mut self, now: Duration) {
        let Some(life) = &mut self.life else { return };
        life.known = life.runtime.block_on(async {
            self.pod.clock.set_true_time(Plan::wall(now));
            (Instant::now(), now)
        });
    }

    /// SIGKILL, or the power fails.
    pub fn die(&mut self, now: Duration) {
        if let Some(life) = self.life.take() {
            self.deaths.push((life.process.holder.clone(), now));
            life.process.client.crash();
        }
        self.condition = Condition::Down(now + self.absence);
    }

    pub fn kill(&mut self, now: Duration, absence: Duration) {
        self.absence = absence;
        self.die(now);
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        if let Some(life) = &mut self.life {
            life.told_to_end = true;
            life.process.terminate();
        }
    }

    pub fn freeze(&mut self, now: Duration, length: Duration) {
        self.stand_still(now, length, Condition::Frozen(now + length));
    }

    pub fn suspend(&mut self, now: Duration, length: Duration) {
        self.stand_still(now, length, Condition::Suspended(now + length));
    }

    fn stand_still(&mut self, now: Duration, length: Duration, condition: Condition) {
        if self.condition == Condition::Well && self.life.is_some() {
            self.condition = condition;
            self.troubles.push((now, now + length));
        }
    }

    /// The pages that its process shows, while one lives.
    pub fn pages(&self) -> Option<Router> {
        self.life.as_ref().and_then(|life| life.process.pages.clone())
    }

    /// What takes reports of rejected tokens, while a process lives.
    pub fn intake(&self) -> Option<Arc<Intake>> {
        self.life.as_ref().map(|life| Arc::clone(&life.process.intake))
    }

    /// Somebody does something by this node; it ends with its process.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(life) = &self.life {
            life.runtime.spawn(task);
        }
    }

    /// Its line to the API server, while a process lives.
    pub fn line(&self) -> Option<&crate::apiserver::SimClient> {
        self.life.as_ref().map(|life| &life.process.client)
    }

    /// How long this node was in trouble between two times.
    pub fn trouble_between(&self, from: Duration, to: Duration) -> Duration {
        let overlap = |(begin, end): &(Duration, Duration)| (*end).min(to).saturating_sub((*begin).max(from));
        self.troubles.iter().map(overlap).sum()
    }

    /// When this process died, if it did.
    pub fn death_of(&self, process: &Holder) -> Option<Duration> {
        self.deaths.iter().find(|(dead, _)| dead == process).map(|(_, at)| *at)
    }
}
