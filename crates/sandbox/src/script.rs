//! Misbehavior on demand: steps, and their queue for each connection. Pure.
//!
//! One step is used up per exchange. Without a step the server behaves. The JSON form of a step
//! is that of [`Step`]; every field may be left out:
//!
//! ```
//! # use pleo_sandbox::script::{Answer, Step};
//! # use std::time::Duration;
//! let step: Step = serde_json::from_str(
//!     r#"{"before": "2s", "rotate": true, "after": "hold",
//!         "answer": {"status": {"status": 503, "retry_after": {"seconds": 7}}}}"#,
//! )?;
//! assert_eq!(step.before, Some(pleo_sandbox::script::Wait::For(Duration::from_secs(2))));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod bodies;
mod build;
mod coding;
mod reply;

pub use coding::Coding;
pub use reply::{HttpReply, Reply, ReplyBody};

use crate::duration;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The name under which a script holds for every exchange whose connection has no step of its own,
/// and for tokens that belong to no connection.
pub const ANY: &str = "*";

/// How the server treats one exchange: waits, rotates or not, waits, answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// The wait before the token is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Wait>,
    /// Whether the token is judged, and so rotated if it is good; without it the answer decides,
    /// see [`Step::rotates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate: Option<bool>,
    /// The wait between that and the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Wait>,
    /// The answer. If the token was judged and is refused, the refusal is answered instead, unless
    /// the connection is cut.
    pub answer: Answer,
}

/// A wait within an exchange. In JSON a duration like `2s`, or `hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// This long.
    For(Duration),
    /// Until the connection is released.
    Hold,
}

/// What the client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The pair, or a refusal by the server's rules.
    #[default]
    Normal,
    /// The pair, or a refusal by the server's rules, in another form than usual.
    Pair(PairAnswer),
    /// Nothing: the connection is cut before the token is looked at.
    RequestLost,
    /// Nothing: the connection is cut after rotating.
    AnswerLost,
    /// A bare status, such as 429, 500 or 503.
    Status(StatusAnswer),
    /// An OAuth error, true or not.
    Error(ErrorAnswer),
    /// Status 200 with a body that is wrong in a known way.
    Malformed(Malformed),
    /// A redirect.
    Redirect(RedirectAnswer),
    /// Anything else.
    Custom(CustomAnswer),
}

/// The pair with another status, or compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairAnswer {
    /// 200 to 299; without it 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Content codings in the order in which they are applied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codings: Vec<Coding>,
}

/// A bare status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusAnswer {
    /// 200 to 599.
    pub status: u16,
    /// The header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
}

/// The header `Retry-After` in its two forms, and in none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u64),
    /// An HTTP date, this far from the moment of the answer.
    #[serde(with = "duration::text")]
    DateIn(Duration),
    /// Whatever stands here.
    Raw(String),
}

/// An OAuth error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorAnswer {
    /// The `error`, such as `invalid_grant`; any text.
    pub code: String,
    /// The status; without it 401 for `invalid_client` and 400 for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `error_description`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Bodies that are wrong in a known way, all with status 200 and after rotating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// Words instead of JSON, called JSON.
    NotJson,
    /// A page, as a gateway in between might send it.
    Html,
    /// Nothing.
    Empty,
    /// The right answer, cut in its middle.
    Truncated,
    /// The right answer, followed within the JSON by this many bytes of padding.
    Huge(u64),
    /// The right answer's first half, then one space after each such time, without end.
    #[serde(with = "duration::text")]
    Drip(Duration),
    /// `expires_in` is a string of digits.
    ExpiresInString,
    /// `expires_in` is not there.
    ExpiresInAbsent,
    /// `expires_in` is 0.
    ExpiresInZero,
    /// `expires_in` is negative.
    ExpiresInNegative,
    /// `expires_in` is larger than 64 bits hold.
    ExpiresInHuge,
    /// `expires_in` is the right number, and a half.
    ExpiresInFloat,
    /// No `refresh_token`.
    NoRefreshToken,
    /// No `access_token`.
    NoAccessToken,
    /// The tokens stand in lists.
    WrongTypes,
    /// Each token twice, first a wrong one.
    DuplicateKeys,
    /// The right answer, called gzip.
    GzipGarbage,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedirectAnswer {
    /// 300 to 399, such as 302 or 307.
    pub status: u16,
    /// The header `Location`.
    pub location: String,
}

/// Any answer at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomAnswer {
    /// 200 to 599.
    pub status: u16,
    /// Names and values; nothing is added to them but the length.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body. `{{access_token}}`, `{{refresh_token}}` and `{{expires_in}}` in it are replaced
    /// by those of the new pair, escaped as JSON strings are, without quotes.
    #[serde(default)]
    pub body: Bytes,
}

/// Bytes of a body. In JSON a string, or `{"base64": "…"}` where they are no UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Step {
    /// Whether the token is judged: as [`Step::rotate`] says; without it for `normal`,
    /// `pair`, `answer_lost` and `malformed`, and for `custom` where its body has a token's placeholder.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.rotate.unwrap_or(match &self.answer {
            Answer::Normal | Answer::Pair(_) | Answer::AnswerLost | Answer::Malformed(_) => true,
            Answer::Custom(custom) => bodies::has_placeholder(&custom.body.0),
            _ => false,
        })
    }

    /// The same for a step of an introspection, which rotates nothing.
    ///
    /// # Errors
    /// One sentence that says what to write instead.
    pub fn validate_introspection(&self) -> Result<(), String> {
        if self.rotate.is_some() {
            return Err("an introspection never rotates: leave `rotate` out".into());
        }
        match &self.answer {
            Answer::Pair(_) | Answer::Malformed(_) => {
                Err("an introspection never answers with a pair: write `normal`, `status`, `error` or `custom`".into())
            }
            Answer::AnswerLost => Err("an introspection uses up nothing: write `request_lost`".into()),
            _ => self.validate(),
        }
    }

    /// Checks what the types alone do not say.
    ///
    /// # Errors
    /// One sentence that says what to write instead.
    pub fn validate(&self) -> Result<(), String> {
        match (&self.answer, self.rotate) {
            (Answer::Normal, Some(false)) => {
                return Err("`normal` always rotates: leave `rotate` out, or choose another answer".into());
            }
            (Answer::RequestLost, Some(true)) => {
                return Err("`request_lost` never rotates: write `answer_lost`".into());
            }
            (Answer::AnswerLost, Some(false)) => {
                return Err("`answer_lost` always rotates: write `request_lost`".into());
            }
            _ => {}
        }
        let (status, least, most) = match &self.answer {
            Answer::Pair(answer) => (answer.status.unwrap_or(200), 200, 299),
            Answer::Status(answer) => (answer.status, 200, 599),
            Answer::Error(answer) => (answer.status.unwrap_or(400), 200, 599),
            Answer::Redirect(answer) => (answer.status, 300, 399),
            Answer::Custom(answer) => (answer.status, 200, 599),
            _ => return Ok(()),
        };
        if (least..=most).contains(&status) {
            Ok(())
        } else {
            Err(format!("`status` must be {least} to {most} here, not {status}"))
        }
    }
}

/// The steps of every connection.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    scripts: BTreeMap<String, Script>,
}

/// The steps of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Script {
    /// Used up one by one, the first first.
    pub steps: VecDeque<Step>,
    /// Used whenever there is no other.
    pub repeat: Option<Step>,
}

impl Scripts {
    /// Adds steps after those that are queued already.
    pub fn push(&mut self, connection: &str, steps: impl IntoIterator<Item = Step>) {
        self.scripts.entry(connection.to_owned()).or_default().steps.extend(steps);
    }

    /// From now on, until cleared: this step whenever the queue is empty.
    pub fn repeat(&mut self, connection: &str, step: Step) {
        self.scripts.entry(connection.to_owned()).or_default().repeat = Some(step);
    }

    /// The server behaves again.
    pub fn clear(&mut self, connection: &str) {
        self.scripts.remove(connection);
    }

    /// What is left for a connection.
    #[must_use]
    pub fn pending(&self, connection: &str) -> Script {
        self.scripts.get(connection).cloned().unwrap_or_default()
    }

    /// Uses up the next step: the connection's own, else that of [`ANY`], else good behavior.
    pub fn next(&mut self, connection: Option<&str>) -> Step {
        connection.and_then(|connection| self.take(connection)).or_else(|| self.take(ANY)).unwrap_or_default()
    }

    fn take(&mut self, name: &str) -> Option<Step> {
        let script = self.scripts.get_mut(name)?;
        script.steps.pop_front().or_else(|| script.repeat.clone())
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Hold => serializer.serialize_str("hold"),
            Self::For(duration) => duration::text::serialize(duration, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "hold" => Ok(Self::Hold),
            text => {
                duration::parse(text).map(Self::For).map_err(|error| de::Error::custom(format!("{error}, or `hold`")))
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a body is a string or {\"base64\": \"…\"}")]
enum BytesForm {
    Text(String),
    Encoded { base64: String },
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match String::from_utf8(self.0.clone()) {
            Ok(text) => BytesForm::Text(text),
            Err(error) => BytesForm::Encoded { base64: STANDARD.encode(error.as_bytes()) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match BytesForm::deserialize(deserializer)? {
            BytesForm::Text(text) => Ok(Self(text.into_bytes())),
            BytesForm::Encoded { base64 } => STANDARD.decode(base64).map(Self).map_err(de::Error::custom),
        }
    }
}
