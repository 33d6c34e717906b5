//! Everything about a connection on one screen: conditions, times, Secrets, the last events, and what to do next. Of Secrets it reads
//! only the state that pods get.

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use super::{
    args::Output,
    cluster::{CliError, Cluster},
};
use crate::{
    api::{ConditionStatus, ConditionType, PleoConnection, ReadyReason, ReauthReason, names},
    clock::{SystemClock, WallClock},
};

/// How many events are shown.
const EVENTS: usize = 8;

/// A line for each connection.
///
/// # Errors
/// If they may not be listed.
pub async fn all(cluster: &Cluster, everywhere: bool, output: Output) -> Result<String, CliError> {
    let api: Api<PleoConnection> = if everywhere { Api::all(cluster.client.clone()) } else { cluster.connections() };
    let found = api.list(&ListParams::default()).await;
    let found = found.map_err(|error| cluster.trouble(error, "list connections", "list", "pleoconnections.pleo.io"))?;
    if output == Output::Json {
        let all: Vec<Value> = found.items.iter().map(|connection| json!(connection)).collect();
        return Ok(format!("{:#}\n", Value::from(all)));
    }
    if found.items.is_empty() {
        let place = if everywhere { "in any namespace".to_owned() } else { format!("in {}", cluster.namespace) };
        return Ok(format!("there is no connection {place}\n"));
    }
    let now = SystemClock.now();
    let mut rows = vec![["NAMESPACE", "NAME", "READY", "REAUTH", "EXPIRES", "NEXT", "REASON"].map(str::to_owned)];
    rows.extend(found.items.iter().map(|connection| row(connection, now)));
    Ok(table(&rows, usize::from(!everywhere)))
}

fn row(connection: &PleoConnection, now: Timestamp) -> [String; 7] {
    let status = connection.status.clone().unwrap_or_default();
    let word = |kind| status.condition(kind).map_or_else(|| "-".to_owned(), |condition| condition.status.clone());
    let time = |time: &Option<Time>| time.as_ref().map_or_else(|| "-".to_owned(), |time| from_now(time.0, now));
    let wrong = status.condition(ConditionType::Stalled).or_else(|| status.condition(ConditionType::Ready));
    [
        connection.namespace().unwrap_or_default(),
        connection.name_any(),
        word(ConditionType::Ready),
        word(ConditionType::ReauthRequired),
        time(&status.expiration_time),
        time(&status.next_refresh_time),
        wrong.map_or_else(|| "-".to_owned(), |condition| condition.reason.clone()),
    ]
}

/// Everything about one.
///
/// # Errors
/// If it is not there or may not be read. Secrets and events that may not be read are left out, and that is said.
pub async fn one(cluster: &Cluster, name: &str, output: Output) -> Result<String, CliError> {
    let connection = cluster.connection(name).await?;
    let secrets = Secrets::read(cluster, &connection).await;
    let events = cluster.events(&connection).await;
    if output == Output::Json {
        let events = events.unwrap_or_default();
        let seen = json!({"connection": connection, "secrets": secrets.json(), "events": events, "next": next_step(&connection)});
        return Ok(format!("{seen:#}\n"));
    }
    let (status, now) = (connection.status.clone().unwrap_or_default(), SystemClock.now());
    let mut text = format!("{}/{name}\n\n", connection.namespace().unwrap_or_default());
    for condition in &status.conditions {
        text += &condition_line(condition, now);
    }
    let time = |time: &Option<Time>| {
        time.as_ref().map_or_else(|| "-".to_owned(), |time| format!("{} ({})", time.0, from_now(time.0, now)))
    };
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    text += "\n";
    text += &table(
        &[
            ["Rotations".to_owned(), number(status.rotation)],
            ["Last refresh".to_owned(), time(&status.last_refresh_time)],
            ["Token ends".to_owned(), time(&status.expiration_time)],
            ["Next".to_owned(), time(&status.next_refresh_time)],
            ["Failures in a row".to_owned(), number(status.failures.map(i64::from))],
        ],
        0,
    );
    if let Some(failure) = &status.last_failure {
        text += &format!("Last failure: {} ago, {}: {}\n", age(failure.time.0, now), failure.reason, failure.message);
    }
    text += "\nSecrets\n";
    text += &secrets.text();
    text += "\nEvents\n";
    text += &match events {
        Ok(events) if events.is_empty() => "  none\n".to_owned(),
        Ok(events) => events.iter().rev().take(EVENTS).map(|event| happened(event, now)).collect(),
        Err(trouble) => format!("  not shown: {trouble}\n"),
    };
    text += &format!("\nWhat to do\n  {}\n", next_step(&connection));
    Ok(text)
}

fn condition_line(condition: &Condition, now: Timestamp) -> String {
    let Condition { type_, status, reason, message, last_transition_time, .. } = condition;
    format!("{type_}: {status} {reason}, for {}\n  {message}\n", age(last_transition_time.0, now))
}

fn happened(event: &Event, now: Timestamp) -> String {
    let time = event.event_time.as_ref().map_or_else(|| "-".to_owned(), |time| age(time.0, now));
    let (reason, note) = (event.reason.clone().unwrap_or_default(), event.note.clone().unwrap_or_default());
    format!("  {time} ago  {reason}: {note}\n")
}

/// What a person should do next, in one sentence.
pub fn next_step(connection: &PleoConnection) -> String {
    let name = connection.name_any();
    let status = connection.status.clone().unwrap_or_default();
    let Some(ready) = status.condition(ConditionType::Ready) else {
        return "The operator has not reconciled it yet: `kubectl pleo check` shows whether one is running.".to_owned();
    };
    let secret = &connection.spec.client.secret_ref.name;
    let is_true = |condition: &&Condition| ConditionStatus::of(condition) == ConditionStatus::True;
    if let Some(reauth) = status.condition(ConditionType::ReauthRequired).filter(is_true) {
        if reauth.reason == ReauthReason::ClientChanged.as_str() {
            return format!(
                "Put the old client_id back into the Secret {secret}; or, to use the new client: `kubectl pleo connect {name}`"
            );
        }
        if reauth.reason == ReauthReason::ServerChanged.as_str() {
            return format!(
                "Change the server in the spec back; or, to use the new one: `kubectl pleo connect {name}`"
            );
        }
        return match &status.authorization_url {
            Some(link) => format!("A user must authorize: `kubectl pleo connect {name}`, or open {link}"),
            None => format!("A user must authorize: `kubectl pleo connect {name}`"),
        };
    }
    if connection.spec.suspend == Some(true) {
        return format!("It is suspended: `kubectl pleo resume {name}`");
    }
    let stalled = status.condition(ConditionType::Stalled);
    let missing = ReadyReason::ClientSecretMissing.as_str();
    if [Some(ready), stalled].into_iter().flatten().any(|condition| condition.reason == missing) {
        return format!(
            "Create or correct the Secret {secret}, as the message above says: the operator sees it at once."
        );
    }
    if let Some(stalled) = stalled {
        return format!("{}: see the message above; then `kubectl pleo refresh {name} --wait`.", stalled.reason);
    }
    if is_true(&ready) {
        return "Nothing.".to_owned();
    }
    "Nothing: it is retried automatically.".to_owned()
}

/// The Secrets of a connection, as far as they may be read.
struct Secrets(Vec<Looked>);

/// One of them: its name, what it is for, and what was found.
struct Looked {
    name: String,
    role: &'static str,
    found: Result<Option<Secret>, CliError>,
}

impl Secrets {
    async fn read(cluster: &Cluster, connection: &PleoConnection) -> Self {
        let (spec, name) = (&connection.spec, connection.name_any());
        let token = spec.secret_name.clone().unwrap_or_else(|| name.clone());
        let initial = spec.initial_grant.as_ref().map(|initial| initial.secret_ref.name.clone());
        let wanted = [
            (Some(spec.client.secret_ref.name.clone()), "client"),
            (initial, "initial grant"),
            (Some(names::grant_secret(&name)), "grant"),
            (Some(token), "token, for pods"),
        ];
        let mut read = Vec::new();
        for (name, role) in wanted {
            if let Some(name) = name {
                let found = cluster.secret(&name).await;
                read.push(Looked { name, role, found });
            }
        }
        Self(read)
    }

    fn text(&self) -> String {
        let row = |looked: &Looked| [format!("  {}", looked.role), looked.name.clone(), describe(&looked.found)];
        table(&self.0.iter().map(row).collect::<Vec<_>>(), 0)
    }

    fn json(&self) -> Value {
        let one = |Looked { name, role, found }: &Looked| json!({"name": name, "role": role, "found": describe(found)});
        self.0.iter().map(one).collect::<Vec<_>>().into()
    }
}

/// Which keys it has, and the values of those that pods may show.
fn describe(secret: &Result<Option<Secret>, CliError>) -> String {
    let secret = match secret {
        Ok(Some(secret)) => secret,
        Ok(None) => return "not there".to_owned(),
        Err(trouble) => return format!("not shown: {trouble}"),
    };
    let data = secret.data.clone().unwrap_or_default();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    let word = |key: &str| data.get(key).map(|ByteString(value)| String::from_utf8_lossy(value).into_owned());
    let state = word("state").map_or_else(String::new, |state| format!(", state {state}"));
    format!("{} ({}){state}", secret.type_.as_deref().unwrap_or("no type"), keys.join(", "))
}

/// How long ago, in one unit.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn from_now(time: Timestamp, now: Timestamp) -> String {
    if time < now { format!("{} ago", age(time, now)) } else { format!("in {}", age(now, time)) }
}

/// Columns of the same width; `skip` of them are left out.
fn table<const N: usize>(rows: &[[String; N]], skip: usize) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate().skip(skip);
        let padded = cells.map(|(column, cell)| format!("{cell:width$}", width = width(column).unwrap_or_default()));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
