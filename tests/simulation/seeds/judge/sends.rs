//! Every request that left. It left under a standing claim of its sender, and soon after that; its token was not sent before,
//! unless nobody could know what had become of it (I1); it was not known to be dead (I3); and it went home (I8), for a
//! connection that wanted it.

use std::{sync::Arc, time::Duration};

use pleo_operator::domain::token::{ClientCredentials, Fingerprint};

use super::{Judge, SLACK};
use crate::{
    seeds::{host::Host, stage::Stage},
    stage::{sent::Sent, world::seconds},
};

/// How long a sender listens.
const LISTENS: Duration = seconds(60);
/// Requests of one connection are so far apart, but for the two of one attempt.
const SPACING: Duration = seconds(1);
/// How long a server may still be at work.
const SETTLES: Duration = seconds(30);
/// Within this time of its claim's beginning a request leaves.
const SEND_WITHIN: Duration = seconds(10);
/// How old the look at a connection may be on which a token is sent: some calls that take as long as they may.
const LOOKS: Duration = seconds(90);
/// A node that stood still or was cut off within this time may have looked before.
const RECENT: Duration = seconds(300);
/// A holder that is frozen, suspended or cut off for this long may lose its claim before it can store what it heard.
pub(super) const LONG: Duration = seconds(20);

impl Judge {
    pub(super) fn look_at_sends(&mut self, stage: &Stage) {
        if self.sends == stage.world.pleo.sent_count() {
            return;
        }
        let sent = stage.world.pleo.sent();
        while let Some(this) = sent.get(self.sends) {
            self.sends += 1;
            let earlier = &sent[..self.sends - 1];
            let exchange = stage.world.pleo.record(this).map(|record| record.number).unwrap_or_default();
            let account = this.connection().unwrap_or("?");
            let what = format!("{account}: exchange {exchange} of {} by {}", short(this), this.process);
            stage.transcript.note(this.at, "pleo", what);
            let again = sent_again(self, stage, this, earlier);
            let (code, unwanted) = (code(self, stage, this, earlier), self.unwanted(stage, this));
            let objections = [self.fence(stage, this), self.refused(this), again, code, unwanted];
            let homes = earlier.iter().find_map(|before| not_home(this, before)).filter(|_| !self.is_forgotten(this));
            for what in objections.into_iter().chain([homes]).flatten() {
                self.object(stage, format!("{account}: {what}"));
            }
        }
    }

    /// Whether people touched any grant between these times.
    pub(super) fn meddled_between(&self, from: Duration, to: Duration) -> bool {
        let times = self.histories.values().flat_map(|history| history.meddled.iter().chain(&history.deleted));
        times.copied().any(|at| from <= at && at <= to + SLACK)
    }

    fn is_forgotten(&self, sent: &Sent) -> bool {
        self.histories.values().any(|history| history.forgotten.contains(&sent.token))
    }

    fn fence(&self, stage: &Stage, sent: &Sent) -> Option<String> {
        if self.meddled_between(sent.at.saturating_sub(seconds(30)), sent.at) {
            return None;
        }
        let Some(connection) = sent.connection() else {
            return Some(format!("{} was sent without a standing claim of {} (I1)", short(sent), sent.process));
        };
        let claim = sent.claims.iter().find(|(name, _)| name == connection).map(|(_, claim)| claim)?;
        let (attempt, since) = self.histories.get(connection)?.claimed.as_ref()?;
        let late = *attempt == claim.attempt && sent.at > *since + SEND_WITHIN + SLACK;
        // A clock that is set back while the node is suspended hides it from both clocks.
        let fooled = host(stage, sent).is_some_and(|host| !host.troubles.is_empty());
        (late && !fooled).then(|| format!("{} was sent {:?} after its claim (I1)", short(sent), sent.at - *since))
    }

    /// For a connection that is gone or suspended, or names another server, for longer than anybody may not have seen it.
    fn unwanted(&self, stage: &Stage, sent: &Sent) -> Option<String> {
        let named = &self.histories.get(sent.connection()?)?.named;
        let from = sent.at.saturating_sub(LOOKS);
        let standing = named.iter().rposition(|(since, _)| *since <= from).unwrap_or_default();
        let wanted = named.iter().skip(standing).any(|(_, server)| server.as_ref() == Some(&sent.token_url));
        let was_in_trouble =
            host(stage, sent)?.trouble_between(sent.at.saturating_sub(RECENT), sent.at) > Duration::ZERO;
        (!wanted && !was_in_trouble).then(|| {
            format!("{} was sent to {}, which nobody wants since {LOOKS:?} at least (I8)", short(sent), sent.token_url)
        })
    }

    fn refused(&self, sent: &Sent) -> Option<String> {
        let from = |client_id| (sent.token.clone(), sent.token_url.clone(), client_id);
        let keys = [from(None), from(Some(id_of(&sent.client_id)))];
        let since = self.histories.values().find_map(|history| keys.iter().find_map(|key| history.refused.get(key)))?;
        let sent_again = sent.at > *since && !self.is_forgotten(sent);
        sent_again.then(|| format!("{} was sent after it was known to be dead (I3)", short(sent)))
    }
}

/// The last time that this token was sent, and whether that was reason enough to send it again.
fn sent_again(judge: &Judge, stage: &Stage, this: &Sent, earlier: &[Arc<Sent>]) -> Option<String> {
    let before = earlier.iter().rfind(|before| before.token == this.token)?;
    if judge.is_forgotten(this) || judge.meddled_between(before.at.saturating_sub(SETTLES), this.at) {
        return None;
    }
    let host = host(stage, before)?;
    let died = host.death_of(&before.process).is_some_and(|death| death <= this.at);
    let unwell = host.trouble_between(before.at.saturating_sub(SEND_WITHIN), this.at) >= LONG;
    let (apart, heard) = (this.at - before.at, before.heard.as_ref().filter(|heard| heard.at <= this.at));
    let excused = match heard.map(|heard| heard.outcome) {
        // A consent that the wrong server refused outright, or from the wrong client, may be good at the right one.
        Some("rejected") if before.token_url != this.token_url || before.client_id != this.client_id => true,
        Some("success" | "rejected") => died || unwell,
        Some("unknown") => heard.is_some_and(|heard| this.at + SLACK >= heard.at + SETTLES),
        // At once only by the other method, where the server had not authenticated the client.
        Some("misconfigured") => before.method != this.method || apart + SLACK >= SPACING,
        Some(_) => true,
        None if died || unwell => apart + SLACK >= SETTLES,
        None => apart + SLACK >= LISTENS,
    };
    let heard = heard.map_or("nothing", |heard| heard.outcome);
    (!excused).then(|| format!("{} was sent again after {apart:?}, though {heard} was heard (I1)", short(this)))
}

/// A code goes once, and where the human consented. Who puts a grant back in which it still stood may make another process
/// send it once more.
fn code(judge: &Judge, stage: &Stage, this: &Sent, earlier: &[Arc<Sent>]) -> Option<String> {
    let given = stage.visits.given().into_iter().find(|given| given.code == this.token)?;
    let home = given.consented_at.split("/oauth/").next().is_some_and(|home| this.token_url.starts_with(home));
    let again = earlier.iter().any(|before| {
        let was_put_back = before.process != this.process && judge.meddled_between(before.at, this.at);
        // The server did not authenticate the client, so it did not look at the code.
        let fell_back = before.method != this.method && heard(before) == Some("misconfigured");
        before.token == this.token && !was_put_back && !fell_back
    });
    let asked_for = url::Url::parse(&given.consented_at).ok()?;
    let is_ours = asked_for.query_pairs().any(|(key, value)| key == "client_id" && value == this.client_id);
    match (again, home && is_ours) {
        (true, _) => Some(format!("the code {} was sent twice (I1)", short(this))),
        (false, false) => {
            Some(format!("the code {} was sent to {} by {} (I8)", short(this), this.token_url, this.client_id))
        }
        (false, true) => None,
    }
}

/// What the sender heard.
fn heard(sent: &Sent) -> Option<&'static str> {
    sent.heard.as_ref().map(|heard| heard.outcome)
}

/// A token that one server gave to a client, or accepted from it, and that went to the other, or was presented by another.
fn not_home(this: &Sent, before: &Sent) -> Option<String> {
    let from_there = before.issued.as_ref() == Some(&this.token);
    let accepted_there = before.token == this.token && before.issued.is_some();
    let elsewhere = before.token_url != this.token_url || before.client_id != this.client_id;
    let place = |sent: &Sent| format!("{} for {}", sent.client_id, sent.token_url);
    ((from_there || accepted_there) && elsewhere)
        .then(|| format!("{} belongs to {} and was sent by {} (I8)", short(this), place(before), place(this)))
}

/// As ledgers name a client.
fn id_of(client_id: &str) -> Fingerprint {
    ClientCredentials { id: client_id.to_owned(), secret: None }.id_fingerprint()
}

/// Where the sender lives.
pub(super) fn host<'a>(stage: &'a Stage, sent: &Sent) -> Option<&'a Host> {
    stage.hosts.iter().find(|host| host.pod.name == sent.process.identity)
}

/// A name for its token.
pub(super) fn short(sent: &Sent) -> String {
    sent.token.as_str().chars().take(6).collect()
}
