//! What must be true when all is over: no pair is lost without a reason (I2), no secret was said (I5), nothing is done that is
//! not due (I6), and all is well but where a human is truly needed (I7).

use std::{sync::Arc, time::Duration};

use pleo_operator::domain::{ledger::grant::Grant, token::Fingerprint};
use pleo_sandbox::authority::Delivery;

use super::{Figures, Judge, Verdict, sends};
use crate::{
    seeds::{people, stage::Stage},
    stage::{sent::Sent, world::seconds},
};

/// What was seen while nothing was due.
#[derive(Default)]
pub(super) struct Idle {
    begun: bool,
    writes: usize,
    rotations: usize,
    /// When pods' tokens are looked at next.
    next: Duration,
    /// Since when pods have no token that works, by the place of the connection.
    without: Vec<Option<Duration>>,
}

/// Reasons for which a human is needed, and no token could help.
const ASKS: [&str; 8] = [
    "ReauthRequired",
    "InitialGrantMissing",
    "InitialGrantInvalid",
    "GrantShared",
    "RetriesExhausted",
    "InvalidClient",
    "InvalidRequest",
    "GrantUnreadable",
];

impl Judge {
    /// Whether a connection is where it should be: ready, with a token that works, or waiting for a human, be it beside a
    /// token that is good until it ends.
    pub fn is_settled(&self, stage: &Stage, name: &str) -> bool {
        let ready = stage.world.condition(name, "Ready");
        // Whatever else is wrong, a token that would work is still being tried.
        let asks =
            || ASKS.iter().any(|reason| ready == format!("False {reason}")) && self.unused_token(stage, name).is_none();
        let is_asked = stage.world.condition(name, "ReauthRequired").starts_with("True");
        let asks_beside = stage.world.is_ready(name) && is_asked && self.unused_token(stage, name).is_none();
        Self::is_well(stage, name) || asks_beside || asks()
    }

    /// Whether it is ready, its token works, and nobody needs to consent.
    pub fn is_well(stage: &Stage, name: &str) -> bool {
        // Unknown: a new consent is still to be tried.
        let consented = stage.world.condition(name, "ReauthRequired").starts_with("False");
        stage.world.is_ready(name) && works(stage, name) && consented
    }

    /// Calm has done what it can.
    pub fn after_calm(&mut self, stage: &Stage) {
        for connection in &stage.plan.connections {
            let name = connection.name;
            let (ready, consent) =
                (stage.world.condition(name, "Ready"), stage.world.condition(name, "ReauthRequired"));
            let what = format!("{name} is {ready}, ReauthRequired {consent}");
            stage.transcript.note(stage.now, "judge", &what);
            self.figures.asked += usize::from(!stage.world.is_ready(name));
            if !self.is_settled(stage, name) {
                let unused = self.unused_token(stage, name).unwrap_or_default();
                self.object(stage, format!("calm did not heal it: {what} {unused} (I7)"));
            }
            let dead = ["GrantRefused", "TokenInvalid", "RotationLost"].iter().any(|reason| consent.ends_with(reason));
            let secret = people::token_secret(&stage.world, name);
            if dead && stage.world.secret(&secret, "access_token").is_some() {
                self.object(stage, format!("{what}, and pods still have a token (I4)"));
            }
        }
        self.pairs_are_stored(stage);
    }

    /// A token that would work, and that the operators may use.
    fn unused_token(&self, stage: &Stage, name: &str) -> Option<String> {
        let (pleo, server) = (&stage.world.pleo, people::server_of(&stage.world.connection(name)));
        let history = self.histories.get(name)?;
        let restored = history.meddled.last() >= history.commits.last().map(|commit| &commit.at);
        let uid = stage.world.connection(name)["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let grant = history.grant.as_ref().filter(|grant| grant.connection == uid && !restored)?;
        let here = |url: &str| url == server;
        let halted =
            |grant: &Grant| grant.current.as_ref().is_some_and(|current| current.refresh.attempts.halt().is_some());
        let client = people::client_of(&stage.world);
        let is_its = |owner: &Option<Fingerprint>| owner.as_ref().is_none_or(|owner| Some(owner) == client.as_ref());
        let current = grant.current.as_ref().filter(|current| here(current.refresh.server.as_str()) && !halted(grant));
        let current = current.filter(|current| is_its(&current.refresh.client_id));
        if current.is_some_and(|current| pleo.would_refresh(current.refresh.token.expose())) {
            return Some("its current token would work".to_owned());
        }
        let candidate = grant.candidate.as_ref().filter(|held| here(held.server.as_str()));
        let candidate = candidate.filter(|held| held.attempts.halt().is_none() && is_its(&held.client_id));
        // Whoever holds the claim may have sent it, and then it is that client's.
        let claim = grant.claim.as_ref();
        let claimed =
            |held: &Fingerprint| claim.filter(|claim| claim.fingerprint == *held).map(|claim| &claim.client_id);
        let candidate = candidate.filter(|held| claimed(&held.fingerprint).is_none_or(is_its));
        candidate.filter(|held| pleo.would_refresh(held.token.expose())).map(|_| "its candidate would work".to_owned())
    }

    /// I2: every pair that a server made was stored, or there is a reason why not.
    fn pairs_are_stored(&mut self, stage: &Stage) {
        for sent in stage.world.pleo.sent() {
            let Some(issued) = &sent.issued else { continue };
            if !self.is_committed(issued)
                && let Some(what) = self.lost(stage, &sent)
            {
                self.object(stage, format!("the pair that {} bought was lost: {what} (I2)", sends::short(&sent)));
            }
        }
    }

    /// Whoever read that he is connected, is.
    fn pages_are_true(&mut self, stage: &Stage) {
        let sent = stage.world.pleo.sent();
        for given in stage.visits.given() {
            self.figures.codes += 1;
            if !given.is_connected {
                continue;
            }
            self.figures.connected += 1;
            let bought = sent.iter().filter(|sent| sent.token == given.code).find_map(|sent| sent.issued.clone());
            if !bought.is_some_and(|pair| self.is_committed(&pair)) {
                self.object(stage, "a page said that all is well, and no pair is stored (I2)");
            }
        }
    }

    fn is_committed(&self, token: &Fingerprint) -> bool {
        self.histories.values().any(|history| history.commits.iter().any(|commit| commit.refresh == *token))
    }

    /// Why a pair that is not stored should have been.
    fn lost(&self, stage: &Stage, sent: &Sent) -> Option<String> {
        let record = stage.world.pleo.record(sent)?;
        let host = sends::host(stage, sent)?;
        let died = host.death_of(&sent.process);
        // Who is frozen or suspended does not listen, and may die before he does again.
        let listened = died.map(|death| death.saturating_sub(host.trouble_between(sent.at, death)));
        let took = record.finished_at?.saturating_sub(sent.at);
        match &sent.heard {
            None if !was_success(record.answer) || took + seconds(1) >= seconds(60) => None,
            None if listened.is_some_and(|end| end <= sent.at + took + seconds(1)) => None,
            None => Some(format!("{} did not listen, though the answer came after {took:?}", sent.process)),
            Some(heard) if heard.outcome != "success" => None,
            Some(heard) => {
                // Without a claim that stood, people had taken the grant away already.
                let history = self.histories.get(sent.connection()?)?;
                let gone = history.deleted.iter().any(|at| *at + seconds(60) >= sent.at);
                let newer = history
                    .commits
                    .iter()
                    .any(|commit| commit.at >= sent.at && self.family(stage, &commit.refresh) > record.family);
                let excused = gone || newer || died.is_some_and(|death| death >= heard.at);
                (!excused).then(|| format!("{} heard it at {:.3} s", sent.process, heard.at.as_secs_f64()))
            }
        }
    }

    /// The consent that a token descends from.
    fn family(&self, stage: &Stage, token: &Fingerprint) -> Option<pleo_sandbox::authority::FamilyId> {
        let bought = |sent: &&Arc<Sent>| sent.issued.as_ref() == Some(token);
        let sent = stage.world.pleo.sent();
        sent.iter().find(bought).and_then(|sent| stage.world.pleo.record(sent)).and_then(|record| record.family)
    }

    pub fn after_way_back(&mut self, stage: &Stage) {
        for connection in &stage.plan.connections {
            let name = connection.name;
            if !Self::is_well(stage, name) {
                let ready = stage.world.condition(name, "Ready");
                self.object(stage, format!("{name} is {ready} though people did what it said (I7)"));
            }
        }
        self.pairs_are_stored(stage);
    }

    pub fn idle_begins(&mut self, stage: &Stage) {
        let without = vec![None; stage.plan.connections.len()];
        self.idle = Idle {
            begun: true,
            writes: stage.world.writes().len(),
            rotations: rotations(stage),
            next: stage.now,
            without,
        };
    }

    /// While nothing is wrong, pods are never without a token that works, but for the moment of its rotation.
    pub(super) fn look_at_idle(&mut self, stage: &Stage) {
        if !self.idle.begun || stage.now < self.idle.next {
            return;
        }
        self.idle.next = stage.now + seconds(1);
        // Who took over from a clock that was wrong may be late by as much, once.
        let patience = seconds(6) + stage.plan.clock_error();
        for (place, connection) in stage.plan.connections.iter().enumerate() {
            let since = &mut self.idle.without[place];
            *since = if works(stage, connection.name) { None } else { since.or(Some(stage.now)) };
            if since.is_some_and(|since| stage.now > since + patience) {
                *since = Some(stage.now + seconds(3600));
                self.object(stage, format!("{} has no token that works, and nothing is wrong (I6)", connection.name));
            }
        }
    }

    /// Claim, commit, token, status: no more than that for a rotation.
    pub fn after_idle(&mut self, stage: &Stage) {
        let (writes, rotations) =
            (stage.world.writes().len() - self.idle.writes, rotations(stage) - self.idle.rotations);
        // Two that lead at once do it all twice, and may disagree by their clocks each time they look: every minute, while a
        // consent cannot be used.
        let (replicas, disputes) = if stage.plan.two_leaders { (2, 2 * 10) } else { (1, 0) };
        let most = 4 * rotations * replicas + (4 + disputes) * stage.plan.connections.len();
        if writes > most {
            self.object(stage, format!("{writes} writes for {rotations} rotations while nothing was wrong (I6)"));
        }
    }

    /// The end of it all.
    pub fn verdict(mut self, stage: &Stage) -> Verdict {
        self.pages_are_true(stage);
        let said = format!("{}{}", self.said, stage.transcript.text());
        if said.contains("panicked") {
            self.object(stage, "a task of an operator panicked");
        }
        for token in stage.world.pleo.issued_tokens() {
            let escaped = serde_json::to_string(&token).unwrap_or_default();
            if said.contains(&token) || said.contains(escaped.trim_matches('"')) {
                self.object(stage, "a token was said (I5)");
            }
        }
        let figures = Figures {
            simulated: stage.now,
            requests: stage.world.server.requests(),
            events: stage.plan.events.len(),
            exchanges: stage.world.pleo.sent().len(),
            rotations: rotations(stage),
            deaths: stage.hosts.iter().map(|host| host.deaths.len()).sum(),
            ..self.figures
        };
        Verdict { violations: self.violations, figures, fingerprint: stage.world.server.fingerprint() }
    }
}

fn was_success(answer: Option<Delivery>) -> bool {
    matches!(answer, Some(Delivery::Status(200..=299)))
}

fn rotations(stage: &Stage) -> usize {
    stage.world.pleo.sent().iter().filter(|sent| sent.issued.is_some()).count()
}

/// Whether pods have a token in hand that works.
fn works(stage: &Stage, name: &str) -> bool {
    let secret = people::token_secret(&stage.world, name);
    let token = stage.world.secret(&secret, "access_token");
    token.and_then(|token| stage.world.pleo.accepts(&token)).is_some()
}
