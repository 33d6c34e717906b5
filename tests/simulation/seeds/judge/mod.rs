//! The judge sees every change of every object, every request that left and every word that was said, after each moment. It
//! knows what the operators cannot know, and asks whether they kept the invariants all the same.
//!
//! | module | |
//! |---|---|
//! | `grants` | I9, and whose claim may be taken from whom |
//! | `sends` | I1, I3, I8, and the fence: nothing leaves but under a standing claim of its sender |
//! | `tokens` | I4: what pods mount |
//! | `ends` | I2, I5, I6, I7: what must be true when all is over |

mod ends;
mod grants;
mod sends;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use pleo_operator::{
    api::names,
    domain::{
        ledger::{grant::Grant, held::AttemptId},
        token::Fingerprint,
    },
};
use serde_json::Value;

use super::{people::server_of, stage::Stage};
use crate::{
    apiserver::{Change, Record},
    stage::grants::read,
    stage::world::is_about_leases,
};

/// What the judge has seen.
#[derive(Default)]
pub struct Judge {
    violations: Vec<String>,
    version: u64,
    records: usize,
    sends: usize,
    /// By the name of the connection, whatever its uid.
    histories: BTreeMap<String, History>,
    /// What the operators wrote into objects that are no Secrets.
    said: String,
    figures: Figures,
    idle: ends::Idle,
}

/// What was seen of one connection.
#[derive(Default)]
struct History {
    /// As it stands.
    grant: Option<Grant>,
    /// Since when its claim stands.
    claimed: Option<(AttemptId, Duration)>,
    /// Every pair that was ever stored, in order.
    commits: Vec<Commit>,
    /// Tokens that the ledger calls dead, by the server that refused them and the client that it refused them from (none:
    /// whichever it is), and since when.
    refused: BTreeMap<(Fingerprint, String, Option<Fingerprint>), Duration>,
    /// Every token that the ledger ever knew.
    known: BTreeSet<Fingerprint>,
    /// What the operators cannot know any more: people took the ledger away.
    forgotten: BTreeSet<Fingerprint>,
    /// Refresh tokens of pairs whose end users were told of. Who deletes the connection takes that away.
    told_dead: BTreeSet<Fingerprint>,
    /// When people changed the grant, or took it away.
    meddled: Vec<Duration>,
    /// When the connection was deleted.
    deleted: Vec<Duration>,
    /// Which server the spec names, and since when; none: nothing may be sent.
    named: Vec<(Duration, Option<String>)>,
    /// The commit that pods see, by its place.
    published: Option<usize>,
}

struct Commit {
    refresh: Fingerprint,
    access: Option<String>,
    at: Duration,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub simulated: Duration,
    pub requests: usize,
    pub faults: usize,
    pub events: usize,
    pub exchanges: usize,
    pub rotations: usize,
    pub deaths: usize,
    /// Connections that needed a human when calm had come.
    pub asked: usize,
    /// Codes that people brought by link, and how many of them read in the end that they are connected.
    pub codes: usize,
    pub connected: usize,
}

impl Figures {
    /// Adds those of another story.
    pub fn add(&mut self, other: &Self) {
        self.simulated += other.simulated;
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.faults, other.faults),
            (&mut self.events, other.events),
            (&mut self.exchanges, other.exchanges),
            (&mut self.rotations, other.rotations),
            (&mut self.deaths, other.deaths),
            (&mut self.asked, other.asked),
            (&mut self.codes, other.codes),
            (&mut self.connected, other.connected),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.simulated.as_secs() / 3600;
        let Self { requests, faults, events, exchanges, rotations, deaths, asked, codes, connected, .. } = self;
        write!(f, "{hours} simulated hours, {exchanges} exchanges, {rotations} rotations, ")?;
        write!(f, "{requests} requests to the API server, {faults} of them disturbed, ")?;
        write!(f, "{events} other events, {deaths} ends of processes, {asked} connections in need of a human, ")?;
        write!(f, "{codes} consents by link, {connected} of them connected")
    }
}

/// What the judge says in the end.
pub struct Verdict {
    pub violations: Vec<String>,
    pub figures: Figures,
    /// Over all requests: the same for the same seed.
    pub fingerprint: u64,
}

impl Judge {
    pub fn new(stage: &Stage) -> Self {
        let names = stage.plan.connections.iter().map(|connection| connection.name.to_owned());
        let histories = names.map(|name| (name, History::default())).collect();
        Self { histories, ..Self::default() }
    }

    fn object(&mut self, stage: &Stage, what: impl Into<String>) {
        let what = what.into();
        stage.transcript.note(stage.now, "judge", format!("!!! {what}"));
        self.violations.push(format!("at {:.3} s: {what}", stage.now.as_secs_f64()));
    }

    /// What has happened since the last look.
    pub fn look(&mut self, stage: &Stage) {
        let server = &stage.world.server;
        let records = server.trace_after(self.records);
        self.records += records.len();
        let writers: BTreeMap<u64, &str> = records
            .iter()
            .filter(|record| record.changed)
            .map(|record| (record.resource_version, record.client.as_str()))
            .collect();
        for change in server.changes_since(self.version) {
            self.version = change.version;
            let writer = writers.get(&change.version).copied().filter(|writer| writer.starts_with("pod-"));
            self.change(stage, &change, writer);
        }
        self.write_down(stage, &records);
        self.look_at_sends(stage);
        for host in &stage.hosts {
            if host.fell {
                self.object(stage, format!("a process of {} ended by itself", host.pod.name));
            }
        }
        self.look_at_idle(stage);
    }

    fn change(&mut self, stage: &Stage, change: &Change, writer: Option<&str>) {
        let object = change.now.as_deref();
        if change.key.resource != "secrets" {
            if writer.is_some() && !change.key.resource.starts_with("leases") {
                self.said.push_str(&object.map(Value::to_string).unwrap_or_default());
            }
            let history = self.histories.get_mut(&change.key.name);
            if let Some(history) = history.filter(|_| change.key.resource == "pleoconnections.pleo.io") {
                history.named.push((stage.now, object.and_then(sends_to)));
                match object {
                    Some(connection) if tells_of_the_end(connection) => history.end_is_told(),
                    Some(_) => {}
                    None => {
                        history.deleted.push(stage.now);
                        history.told_dead.clear();
                    }
                }
            }
            return;
        }
        if let Some(name) = change.key.name.strip_prefix(names::GRANT_SECRET_PREFIX) {
            let grant = object.and_then(|secret| read(secret).ours().map(|grant| grant.value.clone()));
            self.grant_changed(stage, name, grant, writer);
        } else if let Some(writer) = writer {
            self.token_changed(stage, change, writer);
        }
    }

    /// The operators' writes, and all that went wrong, for whoever reads the transcript.
    fn write_down(&mut self, stage: &Stage, records: &[Record]) {
        for record in records.iter().filter(|record| !is_about_leases(record)) {
            self.figures.faults += usize::from(record.fault.is_some());
            if record.client.starts_with("pod-") && (record.verb.is_write() || record.fault.is_some()) {
                stage.transcript.note(stage.now, "api", record);
            }
        }
    }
}

/// The times of a plan's clocks are not those of the judge: this much may lie between.
const SLACK: Duration = Duration::from_millis(1500);

/// Where this connection's tokens may be sent now.
fn sends_to(connection: &Value) -> Option<String> {
    (connection["spec"]["suspend"] != true).then(|| server_of(connection).to_owned())
}

/// Whether users are told that the pair is dead.
fn tells_of_the_end(connection: &Value) -> bool {
    let reasons = ["GrantRefused", "TokenInvalid", "RotationLost"];
    let told = connection["status"]["conditions"].as_array().into_iter().flatten();
    told.filter(|told| told["type"] == "ReauthRequired").any(|told| reasons.iter().any(|dead| told["reason"] == *dead))
}
