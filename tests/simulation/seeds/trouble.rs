//! Makes the plan's events happen, each at its time, and ends what lasts.

use std::{collections::VecDeque, time::Duration};

use super::{
    host::Condition,
    plan::{ApiEvent, Event, NodeEvent, Plan, PleoEvent, Visit},
    stage::Stage,
};
use crate::apiserver::{Refusal, Verb};

/// What ends by itself.
enum Lasting {
    Line(usize),
    Unreachable,
    Connecting,
    NoRights,
    Silence,
}

pub struct Trouble {
    coming: VecDeque<(Duration, Event)>,
    lasting: Vec<(Duration, Lasting)>,
    /// Until when nobody reaches the API server, whenever his process began.
    outage: Duration,
}

impl Trouble {
    pub fn of(plan: &Plan) -> Self {
        Self { coming: plan.events.iter().cloned().collect(), lasting: Vec::new(), outage: Duration::ZERO }
    }

    /// All that is to happen by now.
    pub fn befall(&mut self, stage: &mut Stage) {
        while let Some(at) = self.lasting.iter().position(|(end, _)| *end <= stage.now) {
            let (_, lasting) = self.lasting.remove(at);
            end(stage, &lasting);
        }
        while self.coming.front().is_some_and(|(at, _)| *at <= stage.now) {
            let Some((_, event)) = self.coming.pop_front() else { return };
            self.happen(stage, event);
        }
        if stage.now < self.outage {
            stage.hosts.iter().filter_map(|host| host.line()).for_each(pleo_apiserver::SimClient::cut_off);
        }
    }

    fn happen(&mut self, stage: &mut Stage, event: Event) {
        match event {
            Event::Node(node, event) => self.node(stage, node, &event),
            Event::Pleo(connection, event) => {
                let name = stage.plan.connections[connection].name;
                self.pleo(stage, name, event);
            }
            Event::People(connection, deed) => {
                let (name, now) = (stage.plan.connections[connection].name, stage.now);
                let what = format!("{deed:?} {name}");
                stage.act("people", &what, async |world, people| people.do_it(world, now, name, deed).await);
            }
            Event::Visit(connection, Visit { node, thinks }) => {
                let name = stage.plan.connections[connection].name;
                stage.visit(name, node, thinks);
            }
            Event::Report(connection, node) => {
                let name = stage.plan.connections[connection].name;
                stage.report(name, node);
            }
            Event::Api(event) => self.api(stage, event),
        }
    }

    fn node(&mut self, stage: &mut Stage, node: usize, event: &NodeEvent) {
        let (now, host) = (stage.now, &mut stage.hosts[node]);
        stage.transcript.note(now, &host.pod.name, format!("*** {event:?}"));
        match *event {
            NodeEvent::Kill { absence } => host.kill(now, absence),
            NodeEvent::Terminate => host.terminate(),
            NodeEvent::Freeze(length) => host.freeze(now, length),
            NodeEvent::Suspend(length) => host.suspend(now, length),
            NodeEvent::CutOff(length) => {
                if let Some(line) = host.line() {
                    line.cut_off();
                    self.line_trouble(stage, node, length);
                }
            }
            NodeEvent::Hang(length) => {
                if let Some(line) = host.line() {
                    line.freeze();
                    self.line_trouble(stage, node, length);
                }
            }
            NodeEvent::SetClock(by) => host.pod.clock.jump(by),
        }
    }

    fn line_trouble(&mut self, stage: &mut Stage, node: usize, length: Duration) {
        let now = stage.now;
        stage.hosts[node].troubles.push((now, now + length));
        self.lasting.push((now + length, Lasting::Line(node)));
    }

    fn pleo(&mut self, stage: &Stage, name: &str, event: PleoEvent) {
        stage.transcript.note(stage.now, "pleo", format!("*** {name}: {event:?}"));
        let pleo = &stage.world.pleo;
        match event {
            PleoEvent::Next(steps) => pleo.script(name, steps),
            PleoEvent::Unreachable(length) => {
                pleo.set_reachable(false);
                self.lasting.push((stage.now + length, Lasting::Unreachable));
            }
            PleoEvent::SlowToConnect(delay, length) => {
                pleo.set_connecting(delay);
                self.lasting.push((stage.now + length, Lasting::Connecting));
            }
            PleoEvent::Revoke => pleo.revoke(name),
            PleoEvent::RejectAccessToken => pleo.reject_access_token(name),
        }
    }

    fn api(&mut self, stage: &mut Stage, event: ApiEvent) {
        stage.transcript.note(stage.now, "cluster", format!("*** {event:?}"));
        match event {
            ApiEvent::Outage(length) => {
                self.outage = self.outage.max(stage.now + length);
                for node in 0..stage.hosts.len() {
                    if let Some(line) = stage.hosts[node].line() {
                        line.cut_off();
                    }
                    // All are cut off alike, also those that start meanwhile: nobody takes anything over.
                    self.lasting.push((stage.now + length, Lasting::Line(node)));
                }
            }
            ApiEvent::Compaction => stage.world.server.compact(),
            ApiEvent::NoRights(what, length) => {
                stage.world.server.refuse_writes(move |call, _| {
                    let refused = call.client != "user" && call.resource == what && call.verb != Verb::Get;
                    refused.then(|| Refusal::new(403, "Forbidden", format!("{what} is forbidden: the rights are gone")))
                });
                self.lasting.push((stage.now + length, Lasting::NoRights));
            }
            ApiEvent::Silence(what, length) => {
                stage.world.server.silence_watches(Some(what));
                self.lasting.push((stage.now + length, Lasting::Silence));
            }
        }
    }

    /// All of it is over.
    pub fn end(mut self, stage: &mut Stage) {
        for (_, lasting) in self.lasting.drain(..) {
            end(stage, &lasting);
        }
        for connection in &stage.plan.connections {
            stage.world.pleo.behave(connection.name);
        }
        let now = stage.now;
        for host in &mut stage.hosts {
            match &mut host.condition {
                Condition::Well => {}
                Condition::Down(until) | Condition::Frozen(until) | Condition::Suspended(until) => {
                    *until = now.min(*until);
                }
            }
        }
    }
}

fn end(stage: &mut Stage, lasting: &Lasting) {
    match lasting {
        Lasting::Line(node) => {
            if let Some(line) = stage.hosts[*node].line() {
                line.restore();
            }
        }
        Lasting::Unreachable => stage.world.pleo.set_reachable(true),
        Lasting::Connecting => stage.world.pleo.set_connecting(Duration::ZERO),
        Lasting::NoRights => stage.world.server.refuse_nothing(),
        Lasting::Silence => stage.world.server.silence_watches(None),
    }
}
