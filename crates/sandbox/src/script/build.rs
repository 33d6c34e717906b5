//! Steps from Rust, in a line each. Pure.

use super::{
    Answer, Bytes, Coding, CustomAnswer, ErrorAnswer, Malformed, PairAnswer, RedirectAnswer, RetryAfter, StatusAnswer,
    Step, Wait,
};
use std::time::Duration;

impl Step {
    /// Good behavior, to which waits can be added.
    #[must_use]
    pub fn normal() -> Self {
        Self::default()
    }

    /// The pair with another status of success, such as 201.
    #[must_use]
    pub fn pair_with_status(status: u16) -> Self {
        Self::answering(Answer::Pair(PairAnswer { status: Some(status), codings: Vec::new() }))
    }

    /// The pair, compressed by these codings one after the other.
    #[must_use]
    pub fn pair_coded(codings: &[Coding]) -> Self {
        Self::answering(Answer::Pair(PairAnswer { status: None, codings: codings.to_vec() }))
    }

    /// The connection is cut before the token is looked at.
    #[must_use]
    pub fn request_lost() -> Self {
        Self::answering(Answer::RequestLost)
    }

    /// The connection is cut after rotating.
    #[must_use]
    pub fn answer_lost() -> Self {
        Self::answering(Answer::AnswerLost)
    }

    /// A bare status, without rotating.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::answering(Answer::Status(StatusAnswer { status, retry_after: None }))
    }

    /// An OAuth error, without rotating.
    #[must_use]
    pub fn error(code: &str) -> Self {
        Self::answering(Answer::Error(ErrorAnswer { code: code.to_owned(), status: None, description: None }))
    }

    /// A malformed answer, after rotating.
    #[must_use]
    pub fn malformed(malformed: Malformed) -> Self {
        Self::answering(Answer::Malformed(malformed))
    }

    /// A redirect, without rotating.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::answering(Answer::Redirect(RedirectAnswer { status, location: location.to_owned() }))
    }

    /// Any body, called JSON; rotates if it has a token's placeholder.
    #[must_use]
    pub fn custom(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self::answering(Answer::Custom(CustomAnswer { status, headers, body: Bytes(body.into()) }))
    }

    fn answering(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }

    /// The token is judged, and so rotated if it is good, whatever the answer.
    #[must_use]
    pub fn rotating(mut self) -> Self {
        self.rotate = Some(true);
        self
    }

    /// The token is not looked at.
    #[must_use]
    pub fn not_rotating(mut self) -> Self {
        self.rotate = Some(false);
        self
    }

    /// A delay before the token is judged.
    #[must_use]
    pub fn delayed_before(mut self, delay: Duration) -> Self {
        self.before = Some(Wait::For(delay));
        self
    }

    /// A delay between the judgement and the answer.
    #[must_use]
    pub fn delayed_after(mut self, delay: Duration) -> Self {
        self.after = Some(Wait::For(delay));
        self
    }

    /// Held before the token is judged, until the connection is released.
    #[must_use]
    pub fn held_before(mut self) -> Self {
        self.before = Some(Wait::Hold);
        self
    }

    /// Held between the judgement and the answer, until the connection is released.
    #[must_use]
    pub fn held_after(mut self) -> Self {
        self.after = Some(Wait::Hold);
        self
    }

    /// With this `Retry-After`, for a bare status.
    #[must_use]
    pub fn retry_after(mut self, retry_after: RetryAfter) -> Self {
        if let Answer::Status(answer) = &mut self.answer {
            answer.retry_after = Some(retry_after);
        }
        self
    }

    /// With this status, for whatever has one.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        match &mut self.answer {
            Answer::Status(answer) => answer.status = status,
            Answer::Error(answer) => answer.status = Some(status),
            Answer::Redirect(answer) => answer.status = status,
            Answer::Custom(answer) => answer.status = status,
            _ => {}
        }
        self
    }

    /// With this `error_description`, for an OAuth error.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        if let Answer::Error(answer) = &mut self.answer {
            answer.description = Some(description.to_owned());
        }
        self
    }

    /// With one more header, for a custom answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Answer::Custom(answer) = &mut self.answer {
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}
