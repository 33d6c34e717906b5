//! What one server was asked and what it answered, step by step, and how two such transcripts are compared.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::support::normal::Names;

/// One question and its answer, or one thing that was seen.
pub struct Step {
    pub asked: String,
    /// The code, and for a refusal the reason.
    pub answer: String,
    pub body: Value,
    /// What the story says that the answer is to be.
    pub expected: Option<String>,
}

#[derive(Default)]
struct Inside {
    steps: Vec<Step>,
    names: Names,
}

/// The transcript of one server. Clones write on the same tape.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Inside>>);

impl Tape {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Writes down something that was seen otherwise than as an answer. Gives its place.
    pub fn note(&self, asked: &str, answer: &str, body: Value) -> usize {
        let step = Step { asked: asked.into(), answer: answer.into(), body, expected: None };
        let mut inside = self.inside();
        inside.steps.push(step);
        inside.steps.len() - 1
    }

    /// Writes down a line of a watch.
    pub fn note_event(&self, plural: &str, event: &Value) {
        let body = self.inside().names.event(plural, event);
        self.note(&format!("a watch of {plural} told"), event["type"].as_str().unwrap_or("nothing"), body);
    }

    /// Writes down an object that was seen otherwise than as an answer.
    pub fn note_object(&self, asked: &str, answer: &str, object: &Value) {
        let body = self.inside().names.answer("", object);
        self.note(asked, answer, body);
    }

    pub fn expect(&self, at: usize, expected: &str) {
        self.inside().steps[at].expected = Some(expected.to_owned());
    }

    /// The place of the last step.
    pub fn last(&self) -> usize {
        self.inside().steps.len() - 1
    }

    pub fn into_steps(self) -> Vec<Step> {
        std::mem::take(&mut self.inside().steps)
    }

    /// The same client, but all that passes through it is written down.
    pub fn recording(&self, client: &kube::Client, namespace: &str) -> kube::Client {
        let (tape, client) = (self.clone(), client.clone());
        let service = tower::service_fn(move |request| {
            let (tape, client) = (tape.clone(), client.clone());
            async move { tape.pass(&client, request).await }
        });
        kube::Client::new(service, namespace)
    }

    async fn pass(&self, client: &kube::Client, request: Request<Body>) -> kube::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let sent = body.collect().await?.to_bytes();
        let question = Question::new(&parts, &sent);
        let request = Request::from_parts(parts, Body::from(sent));
        let (parts, body) = client.send(request).await?.into_parts();
        let code = parts.status.as_u16();
        if question.is_watch && code == 200 {
            self.note(&question.text, "200", Value::Null);
            return Ok(Response::from_parts(parts, body));
        }
        let received = body.collect().await?.to_bytes();
        self.note_answer(&question, code, &received);
        Ok(Response::from_parts(parts, Body::from(received)))
    }

    fn note_answer(&self, question: &Question, code: u16, received: &Bytes) {
        let body = json_or_text(received);
        let answer = match body["reason"].as_str() {
            Some(reason) if body["kind"] == "Status" => format!("{code} {reason}"),
            _ => code.to_string(),
        };
        let mut inside = self.inside();
        let sent = inside.names.normal(&question.plural, &question.sent);
        let body = inside.names.answer(&question.plural, &body);
        let asked = if sent.is_null() { question.text.clone() } else { format!("{} {sent}", question.text) };
        inside.steps.push(Step { asked, answer, body, expected: None });
    }
}

struct Question {
    text: String,
    plural: String,
    is_watch: bool,
    sent: Value,
}

impl Question {
    fn new(parts: &http::request::Parts, sent: &Bytes) -> Self {
        let pairs = form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes());
        let mut query = String::new();
        for (key, value) in pairs {
            // They are numbers of the server's own; which one is meant shows in the answer.
            let value = if ["resourceVersion", "continue"].contains(&key.as_ref()) { "…" } else { value.as_ref() };
            write!(query, " {key}={value}").unwrap();
        }
        let path = parts.uri.path();
        let is_kind = |segment: &&str| segment.len() > 3 && !["apis", "namespaces"].contains(segment);
        let after_namespace = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split('/').nth(1));
        let plural = after_namespace.or_else(|| path.rsplit('/').find(is_kind)).unwrap_or_default();
        Self {
            text: format!("{} {path}{query}", parts.method),
            plural: plural.to_owned(),
            is_watch: query.contains("watch=true"),
            sent: if sent.is_empty() { Value::Null } else { json_or_text(sent) },
        }
    }
}

fn json_or_text(bytes: &Bytes) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

/// Where the two servers differ, and where one is not as the story says; empty where all is well.
pub fn differences(memory: &[Step], real: &[Step]) -> String {
    let mut told = String::new();
    for (at, (memory, real)) in memory.iter().zip(real).enumerate() {
        let mut lines = Vec::new();
        for (server, step) in [("in memory", memory), ("really", real)] {
            let expected = step.expected.as_ref().unwrap_or(&step.answer);
            if *expected != step.answer {
                lines.push(format!("the answer is to be {expected}, but {server} it is {}", step.answer));
            }
        }
        differ("answer", &memory.answer.as_str().into(), &real.answer.as_str().into(), &mut lines);
        // Of two different answers the bodies tell nothing more.
        if memory.answer == real.answer {
            differ("body", &memory.body, &real.body, &mut lines);
        }
        // Another question is mostly the echo of another answer, which was told already.
        if told.is_empty() && lines.is_empty() {
            differ("asked", &memory.asked.as_str().into(), &real.asked.as_str().into(), &mut lines);
        }
        if !lines.is_empty() {
            write!(told, "\nstep {at}: {}\n    {}", real.asked, lines.join("\n    ")).unwrap();
        }
    }
    if memory.len() != real.len() {
        let (longer, rest) = if memory.len() > real.len() {
            ("in memory", &memory[real.len()..])
        } else {
            ("really", &real[memory.len()..])
        };
        for step in rest {
            write!(told, "\nonly {longer}: {} -> {} {}", step.asked, step.answer, step.body).unwrap();
        }
    }
    told
}

/// The places at which two values differ.
fn differ(place: &str, memory: &Value, real: &Value, lines: &mut Vec<String>) {
    match (memory, real) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
                let absent = Value::String("(absent)".into());
                let (ours, theirs) = (ours.get(key).unwrap_or(&absent), theirs.get(key).unwrap_or(&absent));
                differ(&format!("{place}.{key}"), ours, theirs, lines);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                differ(&format!("{place}[{at}]"), ours, theirs, lines);
            }
        }
        _ if memory != real => lines.push(format!("{place}: in memory {memory}, really {real}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn step(answer: &str, body: Value) -> Step {
        Step { asked: "GET a".into(), answer: answer.into(), body, expected: Some("200".into()) }
    }

    #[test]
    fn every_difference_is_told_with_its_place() {
        let memory = [step("200", json!({"a": {"b": [1, 2]}, "c": 1}))];
        assert_eq!(differences(&memory, &memory), "");
        let other_body = [step("200", json!({"a": {"b": [1, 3]}}))];
        let told = differences(&memory, &other_body);
        assert!(told.contains("body.a.b[1]: in memory 2, really 3"), "{told}");
        assert!(told.contains("body.c: in memory 1, really \"(absent)\""), "{told}");
        let other_answer = [step("409 Conflict", json!({}))];
        let told = differences(&memory, &other_answer);
        assert!(told.contains("answer: in memory \"200\", really \"409 Conflict\""), "{told}");
        let told = differences(&memory, &[]);
        assert!(told.contains("only in memory: GET a"), "{told}");
    }

    #[test]
    fn two_servers_that_are_wrong_in_the_same_way_do_not_pass() {
        let wrong = [step("404 NotFound", Value::Null)];
        let told = differences(&wrong, &wrong);
        assert!(told.contains("the answer is to be 200, but really it is 404 NotFound"), "{told}");
    }
}
