//! Which connection is looked at next: the one with the earliest deadline, and no server keeps those of other servers waiting.
//!
//! Connections wait in lanes: one for looks, one for each server that a token is to be sent to. The next one is the earliest of those at the
//! heads of the lanes that have room. So a connection that is ready is overtaken only by earlier deadlines, or while its server has no room;
//! and a deadline is never moved back. In overload all are late alike.
//!
//! Times are counted from the start of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::spec::TokenUrl;

/// `namespace`, `name` of a connection.
pub type Key = (String, String);

/// How many token requests are in flight at most.
pub const MOST_IN_FLIGHT: usize = 256;

/// What a connection waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Being looked at.
    Look,
    /// Sending a token to this server.
    Server(TokenUrl),
}

/// A turn to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub lane: Lane,
    /// When it should be over. It decides about the order.
    pub deadline: Duration,
}

/// What a look at a connection leaves behind. Without either it waits for a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// It waits for room, from now on.
    pub waits: Option<Turn>,
    /// From then on it waits for this turn.
    pub later: Option<(Duration, Turn)>,
}

/// Connections that wait, and what is in flight.
#[derive(Debug, Default)]
pub struct Queue {
    entries: BTreeMap<Key, Entry>,
    /// Those that wait for a time.
    timers: BTreeSet<(Duration, Key)>,
    /// Those that wait for room: by deadline, and in the order in which they came.
    lanes: BTreeMap<Lane, BTreeSet<(Duration, u64, Key)>>,
    in_flight: BTreeMap<TokenUrl, usize>,
    came: u64,
}

#[derive(Debug, Default)]
struct Entry {
    is_at_work: bool,
    /// While it is at work: it is to be looked at again, by then.
    again: Option<Duration>,
    place: Option<(Turn, u64)>,
    timer: Option<(Duration, Turn)>,
}

impl Queue {
    /// Something has changed: the connection is to be looked at.
    pub fn offer(&mut self, key: &Key, deadline: Duration) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.is_at_work {
            entry.again = Some(entry.again.map_or(deadline, |again| again.min(deadline)));
        } else {
            self.place(key, Turn { lane: Lane::Look, deadline });
        }
    }

    /// The next one, which is at work from now on. For a token to a server, it is in flight from now on.
    pub fn pop(&mut self, now: Duration) -> Option<(Key, Turn)> {
        self.move_due(now);
        let heads = self.lanes.iter().filter(|(lane, _)| self.has_room(lane));
        let (lane, (deadline, _, key)) = heads
            .filter_map(|(lane, waiting)| Some((lane, waiting.first()?)))
            .min_by_key(|(_, (deadline, came, _))| (*deadline, *came))?;
        let (turn, key) = (Turn { lane: lane.clone(), deadline: *deadline }, key.clone());
        self.take_place(&key);
        self.take_timer(&key);
        if let Lane::Server(server) = &turn.lane {
            *self.in_flight.entry(server.clone()).or_default() += 1;
        }
        self.entries.entry(key.clone()).or_default().is_at_work = true;
        Some((key, turn))
    }

    /// Whether a connection that was only to be looked at may send a token to this server at once. It is in flight then.
    pub fn enter(&mut self, server: &TokenUrl, deadline: Duration) -> bool {
        let lane = Lane::Server(server.clone());
        let is_first = |waiting: &BTreeSet<_>| waiting.first().is_none_or(|(earliest, _, _)| deadline < *earliest);
        let may = self.has_room(&lane) && self.lanes.get(&lane).is_none_or(is_first);
        if may {
            *self.in_flight.entry(server.clone()).or_default() += 1;
        }
        may
    }

    /// A token request has ended.
    pub fn leave(&mut self, server: &TokenUrl) {
        if let Some(in_flight) = self.in_flight.get_mut(server) {
            *in_flight = in_flight.saturating_sub(1);
            if *in_flight == 0 {
                self.in_flight.remove(server);
            }
        }
    }

    /// The work on a connection has ended.
    pub fn finish(&mut self, key: &Key, next: Next) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        (entry.is_at_work, entry.timer) = (false, next.later.clone());
        let again = entry.again.take();
        if let Some((at, _)) = next.later {
            self.timers.insert((at, key.clone()));
        }
        if let Some(turn) = next.waits {
            self.place(key, turn);
        }
        if let Some(deadline) = again {
            self.place(key, Turn { lane: Lane::Look, deadline });
        }
        self.forget_idle(key);
    }

    /// None waits any more; what is at work goes on.
    pub fn clear(&mut self) {
        self.timers.clear();
        self.lanes.clear();
        self.entries.retain(|_, entry| entry.is_at_work);
        self.entries.values_mut().for_each(|entry| entry.again = None);
    }

    /// When a timer is due next.
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// One server may have as many requests in flight as there is room for besides: a server that does not answer takes half, a second
    /// one a quarter, and so on.
    fn has_room(&self, lane: &Lane) -> bool {
        match lane {
            Lane::Look => true,
            Lane::Server(server) => {
                let total: usize = self.in_flight.values().sum();
                self.in_flight.get(server).copied().unwrap_or_default() < MOST_IN_FLIGHT.saturating_sub(total)
            }
        }
    }

    fn move_due(&mut self, now: Duration) {
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, key.clone()));
            if let Some((_, turn)) = self.entries.get_mut(&key).and_then(|entry| entry.timer.take()) {
                self.place(&key, turn);
            }
        }
    }

    /// Puts it among those that wait. Of two turns the look counts, since it shows what is to be sent where; and the earlier deadline.
    fn place(&mut self, key: &Key, turn: Turn) {
        let (turn, came) = match self.take_place(key) {
            Some((before, came)) => {
                (Turn { lane: turn.lane.min(before.lane), deadline: turn.deadline.min(before.deadline) }, came)
            }
            None => {
                self.came = self.came.saturating_add(1);
                (turn, self.came)
            }
        };
        self.lanes.entry(turn.lane.clone()).or_default().insert((turn.deadline, came, key.clone()));
        self.entries.entry(key.clone()).or_default().place = Some((turn, came));
    }

    fn take_place(&mut self, key: &Key) -> Option<(Turn, u64)> {
        let (turn, came) = self.entries.get_mut(key)?.place.take()?;
        if let Some(waiting) = self.lanes.get_mut(&turn.lane) {
            waiting.remove(&(turn.deadline, came, key.clone()));
            if waiting.is_empty() {
                self.lanes.remove(&turn.lane);
            }
        }
        Some((turn, came))
    }

    fn take_timer(&mut self, key: &Key) {
        if let Some((at, _)) = self.entries.get_mut(key).and_then(|entry| entry.timer.take()) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    fn forget_idle(&mut self, key: &Key) {
        let is_idle = |entry: &Entry| !entry.is_at_work && entry.place.is_none() && entry.timer.is_none();
        if self.entries.get(key).is_some_and(is_idle) {
            self.entries.remove(key);
        }
    }
}
