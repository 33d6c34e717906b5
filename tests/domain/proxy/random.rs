//! Whatever the folder, the calls and the server do.

use std::collections::BTreeSet;

use proptest::{prelude::*, proptest};

use super::*;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many milliseconds pass.
    Pass(u64),
    /// The server stops accepting the token in the folder, for all but one endpoint that never accepts any.
    Reject,
    /// The next token is in the folder, and the server accepts it.
    Renew,
    Unreadable,
    ReauthRequired,
    Call {
        route: u8,
        is_replayable: bool,
    },
    /// One of those that are out gets its answer, or none.
    Answer(usize),
    Lose(usize),
    /// A client is gone.
    Leave(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..4000_u64).prop_map(Event::Pass),
        1 => Just(Event::Pass(20_000)),
        1 => Just(Event::Reject),
        2 => Just(Event::Renew),
        1 => Just(Event::Unreadable),
        1 => Just(Event::ReauthRequired),
        6 => (0..4_u8, prop::bool::weighted(0.8)).prop_map(|(route, is_replayable)| Event::Call { route, is_replayable }),
        6 => (0..8_usize).prop_map(Event::Answer),
        1 => (0..8_usize).prop_map(Event::Lose),
        1 => (0..8_usize).prop_map(Event::Leave),
    ]
}

/// A call that is not over: under way to the server with this token, or waiting until then.
enum Place {
    Out(String),
    Waiting(u64),
}

#[derive(Default)]
struct World {
    accepted: Option<String>,
    tokens: u64,
    calls: Vec<(Call, Place)>,
    answered: BTreeSet<CallId>,
}

impl World {
    /// Asks again whatever waits for this instant; or all, where the gate said that something has changed. Each call that is over was
    /// answered once.
    fn settle(&mut self, stage: &mut Stage, mut is_news: bool) {
        for _ in 0..50 {
            let (mut moved, before) = (false, stage.state());
            for (mut call, place) in std::mem::take(&mut self.calls) {
                let is_due = match place {
                    Place::Out(_) => false,
                    Place::Waiting(until) => is_news || until <= stage.now,
                };
                if !is_due {
                    self.calls.push((call, place));
                    continue;
                }
                let now = moment(stage.now);
                let sent = call.times_sent();
                let state = stage.gate.note_trouble(now);
                match stage.gate.ask(&mut call, true, now) {
                    Step::Send(access) => {
                        assert_eq!(call.times_sent(), sent + 1);
                        let is_probe = matches!(state, State::Rejected | State::RefreshDue);
                        assert!(state == State::Ready || is_probe, "sent while {state:?}");
                        assert!(!is_probe || stage.state() == State::Probing, "one at a time");
                        assert!(call.times_sent() <= 3, "three sends");
                        assert!(call.is_replayable || call.times_sent() == 1, "a body that is gone");
                        moved = true;
                        self.calls.push((call, Place::Out(access.token.expose().to_owned())));
                    }
                    Step::Wait(until) => {
                        assert!(until > now.elapsed, "a wait that is over");
                        let until = u64::try_from(until.as_millis()).unwrap();
                        self.calls.push((call, Place::Waiting(until)));
                    }
                    Step::PassThrough | Step::Unavailable(_) => {
                        assert!(self.answered.insert(call.id), "answered twice");
                    }
                }
            }
            is_news = stage.state() != before;
            if !moved && !is_news {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// The clock goes on, with a stop wherever a call asked for one.
    fn pass(&mut self, stage: &mut Stage, millis: u64) {
        let end = stage.now + millis;
        loop {
            let waits = self.calls.iter().filter_map(|(_, place)| match place {
                Place::Waiting(until) => Some(*until),
                Place::Out(_) => None,
            });
            let next = waits.filter(|until| *until <= end).min().unwrap_or(end);
            let before = stage.state();
            stage.at(next.max(stage.now));
            let after = stage.gate.note_trouble(moment(stage.now));
            self.settle(stage, before != after);
            if next >= end {
                return;
            }
        }
    }

    fn out(&mut self, n: usize) -> Option<(Call, String)> {
        let out: Vec<usize> = (0..self.calls.len()).filter(|n| matches!(self.calls[*n].1, Place::Out(_))).collect();
        let (call, place) = self.calls.remove(*out.get(n % out.len().max(1))?);
        match place {
            Place::Out(token) => Some((call, token)),
            Place::Waiting(_) => None,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Each call is answered once, and in time; no token is sent twice for one call, nor a rejected one but by a probe at a time.
    #[test]
    fn every_call_is_answered_once_and_in_time(events in prop::collection::vec(event(), 1..80)) {
        let (mut stage, mut world) = (Stage::empty(), World::default());
        for event in events {
            let (before, mut is_news) = (stage.state(), false);
            match event {
                Event::Pass(millis) => world.pass(&mut stage, millis),
                Event::Reject => world.accepted = None,
                Event::Renew => {
                    world.tokens += 1;
                    let token = format!("token-{}", world.tokens);
                    let now = stage.now;
                    is_news = stage.token(&token, now + 60_000, now + 90_000) != News::None;
                    world.accepted = Some(token);
                }
                Event::Unreadable => drop(stage.look(None)),
                Event::ReauthRequired => {
                    is_news = stage.without_token(TokenState::ReauthRequired) != News::None;
                    world.accepted = None;
                }
                Event::Call { route, is_replayable } => {
                    let mut call = stage.call(&format!("GET /{route}"));
                    call.is_replayable = is_replayable;
                    world.calls.push((call, Place::Waiting(stage.now)));
                }
                Event::Answer(n) => {
                    if let Some((mut call, token)) = world.out(n) {
                        let now = moment(stage.now);
                        let is_accepted = world.accepted.as_ref() == Some(&token);
                        let never_accepted = call.route == Route::new("", "GET /0");
                        if is_accepted && !never_accepted {
                            is_news = stage.gate.answered(&mut call, Answer::Success, now);
                            prop_assert!(world.answered.insert(call.id));
                        } else {
                            is_news = stage.gate.answered(&mut call, Answer::Unauthorized { is_explicit: n % 2 == 0 }, now);
                            world.calls.push((call, Place::Waiting(stage.now)));
                        }
                    }
                }
                Event::Lose(n) => {
                    if let Some((mut call, _)) = world.out(n) {
                        is_news = stage.gate.answered(&mut call, Answer::Other, moment(stage.now));
                        prop_assert!(world.answered.insert(call.id));
                    }
                }
                Event::Leave(n) => {
                    if n < world.calls.len() {
                        let (call, _) = world.calls.remove(n);
                        is_news = stage.gate.leave(call.id, moment(stage.now));
                        world.answered.insert(call.id);
                    }
                }
            }
            let after = stage.gate.note_trouble(moment(stage.now));
            world.settle(&mut stage, is_news || before != after);
        }
        // Whatever comes back: after the longest hold, no call is left.
        for _ in 0..200 {
            while let Some((mut call, _)) = world.out(0) {
                stage.gate.answered(&mut call, Answer::Other, moment(stage.now));
                world.answered.insert(call.id);
            }
            world.pass(&mut stage, 1000);
        }
        prop_assert_eq!(world.calls.len(), 0);
        prop_assert_eq!(world.answered.len() as u64, stage.calls);
    }
}
