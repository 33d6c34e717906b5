//! Every change of a grant Secret. A living pair gives way only to one that a server made, or to a refusal (I9); rotations
//! are counted one by one; and a claim is taken from its holder only after the time that he is given.

use std::time::Duration;

use pleo_operator::domain::{
    introspection::Introspected,
    ledger::{authorization::SessionEnd, grant::Grant},
    token::Fingerprint,
};

use super::{Commit, History, Judge, SLACK};
use crate::{
    seeds::stage::Stage,
    stage::{pleo::introspection::Asked, world::seconds},
};

/// How long a claim stands at least before another pod takes it: its length, and a grace.
const ANOTHERS_CLAIM: Duration = seconds(75);
/// How far apart reports are that move a refresh forward.
const REPORTS_APART: Duration = seconds(600);
/// How long it stands before the next process of the same pod takes it.
const OWN_CLAIM: Duration = seconds(30);

impl Judge {
    pub(super) fn grant_changed(&mut self, stage: &Stage, name: &str, now: Option<Grant>, writer: Option<&str>) {
        let Some(history) = self.histories.get_mut(name) else { return };
        let before = std::mem::replace(&mut history.grant, now.clone());
        match (writer, now) {
            (Some(writer), Some(now)) => {
                let objections = history.written(stage, before.as_ref(), &now, writer);
                objections.into_iter().for_each(|what| self.object(stage, format!("{name}: {what}")));
            }
            (Some(writer), None) => {
                self.object(stage, format!("{name}: {writer} removed the grant, or wrote one that cannot be read"));
            }
            (None, now) if now == before => {}
            (None, now) => {
                history.meddled_with(stage.now, now.as_ref());
            }
        }
    }
}

impl History {
    /// People, or the garbage collector.
    fn meddled_with(&mut self, at: Duration, now: Option<&Grant>) {
        self.meddled.push(at);
        self.claimed = now.and_then(|now| now.claim.as_ref()).map(|claim| (claim.attempt.clone(), at));
        let knows = |token: &Fingerprint| now.is_some_and(|now| now.has_seen(token));
        let forgotten: Vec<Fingerprint> = self.known.iter().filter(|token| !knows(token)).cloned().collect();
        self.forgotten.extend(forgotten);
        // A backup may know a token as a living one that was refused since; unless users were told of its end.
        let holds = |token: &Fingerprint| now.is_some_and(|now| now.holding(token).is_some());
        let revived = self.refused.keys().map(|(token, ..)| token).filter(|token| holds(token));
        self.forgotten.extend(revived.filter(|token| !self.told_dead.contains(*token)).cloned());
        // Or a consent as one that was tried at another server only.
        let tried = |token: &Fingerprint| {
            let adopted = now.into_iter().flat_map(|now| &now.history).filter(|old| old.fingerprint == *token);
            adopted.map(|old| old.server.as_str().to_owned()).collect::<Vec<_>>()
        };
        self.refused.retain(|(token, server, _), _| {
            let at = tried(token);
            at.is_empty() || at.contains(server)
        });
    }

    /// Users are told that the last pair is dead.
    pub(super) fn end_is_told(&mut self) {
        let refused = self.refused.keys().map(|(token, ..)| token);
        let was_live = |token: &&Fingerprint| self.commits.iter().any(|commit| commit.refresh == **token);
        self.told_dead.extend(refused.filter(was_live).cloned());
    }

    /// An operator wrote: what is wrong with that.
    fn written(&mut self, stage: &Stage, before: Option<&Grant>, now: &Grant, writer: &str) -> Vec<String> {
        let mut objections = Vec::new();
        // What people put there, or what a connection left behind that is gone, is not a living grant.
        let is_own = before.filter(|before| before.connection == now.connection && !self.is_restored());
        if let Some(before) = is_own {
            objections.extend(changes_of_live(stage, before, now));
            objections.extend(too_many_reports(stage, before, now));
            objections.extend(self.changes_of_claim(stage, before, now, writer));
        }
        self.remember(stage.now, now);
        objections
    }

    /// Whether people touched the grant after the last pair was stored.
    fn is_restored(&self) -> bool {
        let committed = self.commits.last().map_or(Duration::ZERO, |commit| commit.at);
        self.meddled.last().is_some_and(|at| *at >= committed)
    }

    fn changes_of_claim(&self, stage: &Stage, before: &Grant, now: &Grant, writer: &str) -> Option<String> {
        let old = before.claim.as_ref()?;
        let since = self.claimed.as_ref().filter(|(attempt, _)| *attempt == old.attempt).map(|(_, at)| *at)?;
        let stood = stage.now.saturating_sub(since);
        match &now.claim {
            Some(new) if new.attempt == old.attempt || new.holder == old.holder => None,
            Some(new) => {
                let least = if new.holder.identity == old.holder.identity { OWN_CLAIM } else { ANOTHERS_CLAIM };
                let early = stood + SLACK < least;
                early.then(|| format!("{} took the claim of {} after {stood:?} (I1)", new.holder, old.holder))
            }
            None if old.holder.identity == writer => None,
            // A code is not sent again: who would take its claim over gives it up.
            None if now.by_link.session.as_ref().is_some_and(|visit| visit.end == Some(SessionEnd::Lost)) => {
                let early = stood + SLACK < ANOTHERS_CLAIM;
                early.then(|| format!("{writer} gave up the code of {} after {stood:?} (I1)", old.holder))
            }
            // A token that the introspection endpoint calls inactive is not sent: who would take its claim over ends it.
            None if now.last_rejection.as_ref().is_some_and(|lost| lost.fingerprint == old.fingerprint) => {
                let early = stood + SLACK < ANOTHERS_CLAIM;
                early.then(|| format!("{writer} ended the claim of {} after {stood:?} (I1)", old.holder))
            }
            None => Some(format!("{writer} removed the claim of {} (I1)", old.holder)),
        }
    }

    fn remember(&mut self, at: Duration, now: &Grant) {
        let claim = now.claim.as_ref().map(|claim| claim.attempt.clone());
        if self.claimed.as_ref().map(|(attempt, _)| attempt) != claim.as_ref() {
            self.claimed = claim.map(|attempt| (attempt, at));
        }
        if let Some(current) = &now.current {
            let access = current.access.as_ref().map(|access| access.expose().to_owned());
            let is_new = self
                .commits
                .last()
                .is_none_or(|last| last.refresh != current.refresh.fingerprint || last.access != access);
            if is_new {
                self.commits.push(Commit { refresh: current.refresh.fingerprint.clone(), access, at });
            }
            self.known.insert(current.refresh.fingerprint.clone());
        }
        self.known.extend(now.candidate.iter().map(|candidate| candidate.fingerprint.clone()));
        self.known.extend(now.history.iter().map(|adopted| adopted.fingerprint.clone()));
        for dead in now.history.iter().filter(|known| known.is_rejected()) {
            let from: Vec<_> = match dead.rejected_from.as_slice() {
                [] => vec![None],
                clients => clients.iter().cloned().map(Some).collect(),
            };
            for client_id in from {
                let key = (dead.fingerprint.clone(), dead.server.as_str().to_owned(), client_id);
                self.refused.entry(key).or_insert(at);
            }
        }
    }
}

fn changes_of_live(stage: &Stage, before: &Grant, now: &Grant) -> Option<String> {
    if now.rotation < before.rotation || now.rotation > before.rotation + 1 {
        return Some(format!("rotation {} became {} (I4)", before.rotation, now.rotation));
    }
    let token = |grant: &Grant| grant.current.as_ref().map(|current| current.refresh.fingerprint.clone());
    match (token(before), token(now)) {
        (before, now) if before == now => None,
        (_, Some(now)) => {
            let sent = stage.world.pleo.sent();
            let proved = sent.iter().any(|sent| sent.issued.as_ref() == Some(&now));
            (!proved).then(|| "a token that no server gave for another became the live one (I9)".to_owned())
        }
        (Some(before), None) => {
            let sent = stage.world.pleo.sent();
            let refused = sent.iter().any(|sent| {
                sent.token == before && sent.heard.as_ref().is_some_and(|heard| heard.outcome == "rejected")
            });
            // An endpoint that called no token active is not believed.
            let asked = stage.world.pleo.asked();
            let is_proved = asked.iter().any(|asked| asked.answer == Introspected::Active);
            let is_inactive = |asked: &Asked| asked.token == before && asked.answer == Introspected::Inactive;
            let is_lost = refused || is_proved && asked.iter().any(is_inactive);
            (!is_lost).then(|| "a living grant was given up, and no server had refused it (I9)".to_owned())
        }
        (None, None) => None,
    }
}

/// A client may lie: its reports move one refresh forward in ten minutes, and each of them once.
fn too_many_reports(stage: &Stage, before: &Grant, now: &Grant) -> Option<String> {
    let (old, new) = (before.rejection_report.as_ref()?, now.rejection_report.as_ref()?);
    // One that the server contradicted moved nothing.
    let is_another = new.rotation != old.rotation && !old.is_refuted;
    let apart = new.due_at.duration_since(old.due_at).unsigned_abs();
    let is_early = apart < REPORTS_APART && stage.plan.clock_error() == Duration::ZERO;
    (is_another && is_early).then(|| format!("a report was noted {apart:?} after the last (I1)"))
}
