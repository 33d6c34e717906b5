//! From a step and a judgement to what goes over the wire. Pure: the wall clock comes in as a value.

use super::{Answer, Coding, ErrorAnswer, PairAnswer, RetryAfter, StatusAnswer, Step, bodies};
use crate::authority::{Delivery, Pair, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::fmt;

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing: the connection is cut.
    Cut,
    /// An HTTP response.
    Http(HttpReply),
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// Its status.
    pub status: u16,
    /// Its headers, all but the length.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: ReplyBody,
}

/// The body of a response.
#[derive(Clone, PartialEq, Eq)]
pub enum ReplyBody {
    /// These bytes.
    Whole(Vec<u8>),
    /// These bytes, so many padding ones, and these. Made while it is sent, so it may be huge.
    Padded(Vec<u8>, u64, Vec<u8>),
    /// These bytes, then a space after each such time, without end.
    Drip(Vec<u8>, std::time::Duration),
}

/// Tells the sort only: there are tokens in it.
impl fmt::Debug for ReplyBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Whole(_) => "Whole(…)",
            Self::Padded(..) => "Padded(…)",
            Self::Drip(..) => "Drip(…)",
        })
    }
}

impl Reply {
    /// How the authority remembers it.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Cut => Delivery::Cut,
            Self::Http(reply) => Delivery::Status(reply.status),
        }
    }

    /// An OAuth error as the server itself would word it.
    #[must_use]
    pub fn oauth_error(status: u16, code: &str, description: Option<&str>) -> Self {
        let mut body = json!({ "error": code });
        if let (Some(description), Some(object)) = (description, body.as_object_mut()) {
            object.insert("error_description".to_owned(), description.into());
        }
        Self::json(status, body.to_string().into_bytes())
    }

    fn refusal(refusal: Refusal) -> Self {
        Self::oauth_error(refusal.status(), refusal.code(), Some(refusal.description()))
    }

    fn json(status: u16, body: Vec<u8>) -> Self {
        Self::http(status, &[("content-type", "application/json")], ReplyBody::Whole(body))
    }

    fn http(status: u16, headers: &[(&str, &str)], body: ReplyBody) -> Self {
        // RFC 6749 section 5.1: whatever may hold a token must not be cached.
        let always = [("cache-control", "no-store"), ("pragma", "no-cache")];
        let headers = always.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::Http(HttpReply { status, headers: headers.collect(), body })
    }
}

impl Step {
    /// The reply, given how the authority judged the token if it did, and the time on the wall.
    #[must_use]
    pub fn reply(&self, judged: Option<&Result<Pair, Refusal>>, wall: Timestamp) -> Reply {
        let cut = matches!(self.answer, Answer::RequestLost | Answer::AnswerLost);
        let pair = match judged {
            _ if cut => return Reply::Cut,
            Some(Err(refusal)) => return Reply::refusal(*refusal),
            Some(Ok(pair)) => pair.clone(),
            None => bodies::never_issued(),
        };
        match &self.answer {
            Answer::Normal => Reply::json(200, bodies::normal(&pair)),
            Answer::Pair(answer) => coded(answer, &pair),
            Answer::RequestLost | Answer::AnswerLost => Reply::Cut,
            Answer::Status(answer) => status(answer, wall),
            Answer::Error(answer) => error(answer),
            Answer::Malformed(malformed) => {
                let content_type = bodies::content_type(malformed);
                let mut headers = vec![("content-type", content_type)];
                headers.extend(bodies::extra_header(malformed));
                Reply::http(200, &headers, bodies::malformed(malformed, &pair))
            }
            Answer::Redirect(answer) => {
                Reply::http(answer.status, &[("location", &answer.location)], ReplyBody::Whole(Vec::new()))
            }
            Answer::Custom(answer) => Reply::Http(HttpReply {
                status: answer.status,
                headers: answer.headers.clone(),
                body: ReplyBody::Whole(bodies::fill(&answer.body.0, &pair)),
            }),
        }
    }

    /// The reply to an introspection, given what is true about the token.
    #[must_use]
    pub fn introspection_reply(&self, truth: Result<bool, Refusal>, wall: Timestamp) -> Reply {
        match (&self.answer, truth) {
            (Answer::Normal, Ok(active)) => Reply::json(200, json!({ "active": active }).to_string().into_bytes()),
            (Answer::Normal, Err(refusal)) => Reply::refusal(refusal),
            _ => self.reply(None, wall),
        }
    }
}

fn coded(answer: &PairAnswer, pair: &Pair) -> Reply {
    let plain = bodies::normal(pair);
    // What cannot be compressed is sent as it is; reading from memory never fails.
    let body = answer.codings.iter().try_fold(plain.clone(), |body, coding| coding.apply(&body)).unwrap_or(plain);
    let names: Vec<&str> = answer.codings.iter().map(|coding| Coding::name(*coding)).collect();
    let names = names.join(", ");
    let mut headers = vec![("content-type", "application/json")];
    if !names.is_empty() {
        headers.push(("content-encoding", &names));
    }
    Reply::http(answer.status.unwrap_or(200), &headers, ReplyBody::Whole(body))
}

fn error(answer: &ErrorAnswer) -> Reply {
    let by_default = if answer.code == "invalid_client" { 401 } else { 400 };
    Reply::oauth_error(answer.status.unwrap_or(by_default), &answer.code, answer.description.as_deref())
}

fn status(answer: &StatusAnswer, wall: Timestamp) -> Reply {
    let body = ReplyBody::Whole(format!("status {} by script\n", answer.status).into_bytes());
    let text = ("content-type", "text/plain");
    match &answer.retry_after {
        None => Reply::http(answer.status, &[text], body),
        Some(retry_after) => {
            let value = match retry_after {
                RetryAfter::Seconds(seconds) => seconds.to_string(),
                RetryAfter::DateIn(delay) => http_date(wall, *delay),
                RetryAfter::Raw(value) => value.clone(),
            };
            Reply::http(answer.status, &[text, ("retry-after", &value)], body)
        }
    }
}

fn http_date(wall: Timestamp, delay: std::time::Duration) -> String {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let date = wall.checked_add(delay).unwrap_or(Timestamp::MAX);
    date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
