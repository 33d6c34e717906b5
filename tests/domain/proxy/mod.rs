//! The rules of the proxy, as a transcript: what a folder holds, what calls ask, and what the server answers.

mod evidence;
mod gate;
mod random;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pleo_operator::{
    api::TokenState,
    domain::{
        proxy::{
            call::{Answer, Call, CallId, Moment, Route},
            gate::Gate,
            step::{News, State, Step, Unavailable},
        },
        snapshot::published::{Access, Content},
        token::AccessToken,
    },
};

use crate::scenes::at;

/// The token that was refreshed at noon is refreshed again in 100 s, and ends in 120 s.
const REFRESH: u64 = 100_000;
const END: u64 = 120_000;
const MAX_HOLD: Duration = Duration::from_secs(30);

/// A gate, and its clock in milliseconds since noon.
struct Stage {
    gate: Gate,
    now: u64,
    calls: u64,
}

fn moment(millis: u64) -> Moment {
    Moment { wall: wall(millis), elapsed: Duration::from_millis(millis) }
}

fn wall(millis: u64) -> Timestamp {
    at(0) + SignedDuration::from_millis(i64::try_from(millis).unwrap())
}

fn content(token: &str, refresh_at: u64, expires_at: u64) -> Content {
    let (expires_at, refresh_at) = (wall(expires_at), Some(wall(refresh_at)));
    let access = Access { token: AccessToken::new(token), token_type: "Bearer".into(), expires_at, refresh_at };
    Content { access: Some(access), rotation: 1, state: TokenState::Ready }
}

impl Stage {
    fn empty() -> Self {
        Self { gate: Gate::new(MAX_HOLD), now: 0, calls: 0 }
    }

    /// With the token `first`, which is good.
    fn ready() -> Self {
        let mut stage = Self::empty();
        assert_eq!(stage.token("first", REFRESH, END), News::Changed);
        stage
    }

    /// As [`Stage::ready`], and its server rejects the token: two endpoints did so.
    fn rejected() -> Self {
        let mut stage = Self::ready();
        for route in ["GET /a", "GET /b"] {
            let mut call = stage.sent(route);
            stage.unauthorized(&mut call);
            stage.ask(&mut call);
        }
        assert_eq!(stage.state(), State::Rejected);
        stage
    }

    fn token(&mut self, token: &str, refresh_at: u64, expires_at: u64) -> News {
        self.look(Some(content(token, refresh_at, expires_at)))
    }

    fn without_token(&mut self, state: TokenState) -> News {
        self.look(Some(Content::without_token(state, 1)))
    }

    fn look(&mut self, content: Option<Content>) -> News {
        let news = self.gate.look(content, moment(self.now));
        self.gate.note_trouble(moment(self.now));
        news
    }

    /// The clock stands at so many milliseconds after noon.
    fn at(&mut self, millis: u64) -> &mut Self {
        assert!(self.now <= millis, "time does not go back");
        self.now = millis;
        self
    }

    fn state(&self) -> State {
        self.gate.state(moment(self.now))
    }

    fn call(&mut self, route: &str) -> Call {
        self.calls += 1;
        Call::new(CallId(self.calls), Route::new("", route), true, None)
    }

    fn streamed(&mut self, route: &str) -> Call {
        let mut call = self.call(route);
        call.is_replayable = false;
        call
    }

    /// The token that it is sent with, or until when it waits, or how it ends.
    fn ask(&mut self, call: &mut Call) -> String {
        match self.gate.ask(call, true, moment(self.now)) {
            Step::Send(access) => format!("send {}", access.token.expose()),
            Step::Wait(until) => format!("wait until {}", until.as_millis()),
            Step::PassThrough => "the server's own 401".to_owned(),
            Step::Unavailable(why) => format!("{why:?}"),
        }
    }

    /// A call that was let through at once.
    #[track_caller]
    fn sent(&mut self, route: &str) -> Call {
        let mut call = self.call(route);
        let step = self.ask(&mut call);
        assert!(step.starts_with("send"), "{step}");
        call
    }

    fn succeeds(&mut self, call: &mut Call) -> bool {
        self.gate.answered(call, Answer::Success, moment(self.now))
    }

    fn unauthorized(&mut self, call: &mut Call) -> bool {
        self.gate.answered(call, Answer::Unauthorized { is_explicit: false }, moment(self.now))
    }

    fn invalid_token(&mut self, call: &mut Call) -> bool {
        self.gate.answered(call, Answer::Unauthorized { is_explicit: true }, moment(self.now))
    }

    fn fails(&mut self, call: &mut Call) -> bool {
        self.gate.answered(call, Answer::Other, moment(self.now))
    }
}

fn unavailable(why: Unavailable) -> String {
    format!("{why:?}")
}
