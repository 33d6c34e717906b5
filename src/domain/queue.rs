//! Which connection is looked at next: the one with the earliest deadline, and no server keeps those of other servers waiting.
//!
//! Connections wait in lanes: one for looks, one for each server that a token is to be sent to. The next one is the earliest of those at the
//! heads of the lanes that have room. So a connection that is ready is overtaken only by earlier deadlines, or while its server has no room
//! or is held ([`governor`](super::governor)); and a deadline is never moved back. In overload all are late alike.
//!
//! Times are counted from the start of the process.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    governor::{Governor, ServerState, Shown},
    spec::TokenUrl,
};

/// `namespace`, `name` of a connection.
pub type Key = (String, String);

/// Its deadline, and its number in the order in which they came.
type Waiting = (Duration, u64, Key);

/// How many token requests are in flight at most.
pub const MOST_IN_FLIGHT: usize = 256;

/// A turn that is not had within this time, nor by its deadline, becomes a look.
const SOON: Duration = Duration::from_secs(1);

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
    /// The token may be used already: it goes first where a server does not answer, and last where it rejects.
    pub is_in_doubt: bool,
}

impl Turn {
    pub fn look(deadline: Duration) -> Self {
        Self { lane: Lane::Look, deadline, is_in_doubt: false }
    }
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
#[derive(Debug)]
pub struct Queue {
    entries: BTreeMap<Key, Entry>,
    /// Those that wait for a time.
    timers: BTreeSet<(Duration, Key)>,
    /// Those that wait for room: by deadline, and in the order in which they came.
    lanes: BTreeMap<Lane, BTreeSet<Waiting>>,
    servers: BTreeMap<TokenUrl, Governor>,
    /// See [`Governor::new`].
    max_refusals: u32,
    came: u64,
}

/// A server, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// See [`TokenUrl::shown`].
    pub server: String,
    pub state: ServerState,
    /// Connections that wait for it.
    pub held: usize,
    /// Connections that it rejected lately.
    pub rejected: usize,
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
    /// None waits.
    pub fn new(max_refusals: u32) -> Self {
        let (entries, timers, lanes, servers) = Default::default();
        Self { entries, timers, lanes, servers, max_refusals, came: 0 }
    }

    /// Something has changed: the connection is to be looked at.
    pub fn offer(&mut self, key: &Key, deadline: Duration) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.is_at_work {
            entry.again = Some(entry.again.map_or(deadline, |again| again.min(deadline)));
        } else {
            self.place(key, Turn::look(deadline));
        }
    }

    /// The next one, which is at work from now on. For a token to a server, it is in flight from now on.
    pub fn pop(&mut self, now: Duration) -> Option<(Key, Turn)> {
        self.move_due(now);
        let heads = self
            .lanes
            .iter()
            .filter(|(lane, _)| self.has_room(lane, now))
            .filter_map(|(lane, waiting)| Some((lane, self.head(lane, waiting)?)));
        let (_, (_, _, key)) = heads.min_by_key(|(_, (deadline, came, _))| (*deadline, *came))?;
        let key = key.clone();
        let (turn, _) = self.take_place(&key)?;
        self.take_timer(&key);
        if let Lane::Server(server) = &turn.lane {
            self.governor(server).enter();
        }
        self.entries.entry(key.clone()).or_default().is_at_work = true;
        Some((key, turn))
    }

    /// Whether a connection that was only to be looked at may send a token to this server at once. It is in flight then. What is `asked`
    /// for, by a refresh request or a new authorization, is sent whatever other tokens have met.
    pub fn enter(&mut self, server: &TokenUrl, deadline: Duration, asked: bool, now: Duration) -> bool {
        let lane = Lane::Server(server.clone());
        let is_first = |waiting: &BTreeSet<_>| waiting.first().is_none_or(|(earliest, _, _)| deadline < *earliest);
        let may = match asked {
            true => self.has_share(server),
            false => self.has_room(&lane, now) && self.lanes.get(&lane).is_none_or(is_first),
        };
        if may {
            self.governor(server).enter();
        }
        may
    }

    /// A token request has ended, or was not sent.
    pub fn leave(&mut self, server: &TokenUrl) {
        self.governor(server).leave();
    }

    /// A connection to this server is there; `is_rejected`: an earlier process met a rejection lately.
    pub fn note_connection(&mut self, server: &TokenUrl, uid: &str, is_rejected: bool, now: Duration) {
        let governor = self.governor(server);
        governor.note_connection(uid);
        if is_rejected {
            governor.note_earlier_rejection(uid, now);
        }
    }

    /// What a request of the connection with this uid showed. The server's state, if that changed it.
    pub fn note(&mut self, server: &TokenUrl, uid: &str, shown: Shown, now: Duration) -> Option<ServerState> {
        let governor = self.governor(server);
        let before = governor.state();
        governor.note(uid, shown, now);
        Some(governor.state()).filter(|state| *state != before)
    }

    pub fn state(&self, server: &TokenUrl) -> ServerState {
        self.servers.get(server).map_or(ServerState::Healthy, Governor::state)
    }

    /// The servers, as they are shown. One that no connection waits for, and that rejected none lately, is as good as any other.
    pub fn servers(&self, now: Duration) -> Vec<ServerView> {
        let mut views: BTreeMap<&str, ServerView> = BTreeMap::new();
        for (server, governor) in &self.servers {
            let held = self.lanes.get(&Lane::Server(server.clone())).map_or(0, BTreeSet::len);
            let rejected = governor.rejected(now);
            let state = match governor.state() {
                ServerState::Refusing if held == 0 && rejected == 0 => ServerState::Healthy,
                state => state,
            };
            let new = ServerView { server: server.shown().to_owned(), state, held: 0, rejected: 0 };
            let view = views.entry(server.shown()).or_insert(new);
            view.state = view.state.max(state);
            view.held = view.held.saturating_add(held);
            view.rejected = view.rejected.saturating_add(rejected);
        }
        views.into_values().collect()
    }

    /// The work on a connection has ended.
    pub fn finish(&mut self, key: &Key, next: Next) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.is_at_work = false;
        let again = entry.again.take();
        if let Some((at, turn)) = next.later {
            self.set_timer(key, at, turn);
        }
        if let Some(turn) = next.waits {
            self.place(key, turn);
        }
        if let Some(deadline) = again {
            self.place(key, Turn::look(deadline));
        }
        self.forget_idle(key);
    }

    /// None waits any more; what is at work goes on.
    pub fn clear(&mut self) {
        self.timers.clear();
        self.lanes.clear();
        // What another process has met since then is found in the statuses.
        self.servers.retain(|_, governor| governor.in_flight() > 0);
        self.entries.retain(|_, entry| entry.is_at_work);
        self.entries.values_mut().for_each(|entry| entry.again = None);
    }

    /// When time alone brings something to do: a timer is due, or a server that some wait for may be probed.
    pub fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let opens_at = |lane: &Lane| match lane {
            Lane::Look => None,
            Lane::Server(server) => self.servers.get(server)?.opens_at().filter(|at| *at > now),
        };
        let timer = self.timers.first().map(|(at, _)| *at);
        self.lanes.keys().filter_map(opens_at).chain(timer).min()
    }

    fn governor(&mut self, server: &TokenUrl) -> &mut Governor {
        let max_refusals = self.max_refusals;
        self.servers.entry(server.clone()).or_insert_with(|| Governor::new(max_refusals))
    }

    fn has_room(&self, lane: &Lane, now: Duration) -> bool {
        match lane {
            Lane::Look => true,
            Lane::Server(server) => {
                self.has_share(server) && self.servers.get(server).is_none_or(|governor| governor.is_open(now))
            }
        }
    }

    /// One server may have as many requests in flight as there is room for besides: a server that does not answer takes half, a second
    /// one a quarter, and so on.
    fn has_share(&self, server: &TokenUrl) -> bool {
        let total: usize = self.servers.values().map(Governor::in_flight).sum();
        self.servers.get(server).map_or(0, Governor::in_flight) < MOST_IN_FLIGHT.saturating_sub(total)
    }

    /// The first one in a lane. Where a server does not answer, each request puts a token in doubt: one that is in doubt already is sent
    /// first. Where it rejects, such a token would show nothing, as it may be used: another is sent first.
    fn head<'a>(&self, lane: &Lane, waiting: &'a BTreeSet<Waiting>) -> Option<&'a Waiting> {
        let state = match lane {
            Lane::Look => ServerState::Healthy,
            Lane::Server(server) => self.state(server),
        };
        let place = |key: &Key| self.entries.get(key).and_then(|entry| entry.place.as_ref());
        let is_in_doubt = |key: &Key| place(key).is_some_and(|(turn, _)| turn.is_in_doubt);
        let preferred = match state {
            ServerState::Healthy | ServerState::Throttled => None,
            ServerState::Failing => waiting.iter().find(|(_, _, key)| is_in_doubt(key)),
            ServerState::Refusing => waiting.iter().find(|(_, _, key)| !is_in_doubt(key)),
        };
        preferred.or(waiting.first())
    }

    fn move_due(&mut self, now: Duration) {
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, key.clone()));
            let Some((_, turn)) = self.entries.get_mut(&key).and_then(|entry| entry.timer.take()) else { continue };
            if turn.lane != Lane::Look {
                // Pods and users see that the token has expired, though its server gets no request.
                let at = turn.deadline.max(now.saturating_add(SOON));
                self.set_timer(&key, at, Turn::look(at));
            }
            self.place(&key, turn);
        }
    }

    /// Puts it among those that wait. Of two turns the look counts, since it shows what is to be sent where; and the earlier deadline.
    fn place(&mut self, key: &Key, turn: Turn) {
        let (turn, came) = match self.take_place(key) {
            Some((before, came)) => {
                let (lane, deadline) = (turn.lane.min(before.lane), turn.deadline.min(before.deadline));
                (Turn { lane, deadline, is_in_doubt: turn.is_in_doubt || before.is_in_doubt }, came)
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

    fn set_timer(&mut self, key: &Key, at: Duration, turn: Turn) {
        self.take_timer(key);
        self.timers.insert((at, key.clone()));
        self.entries.entry(key.clone()).or_default().timer = Some((at, turn));
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
