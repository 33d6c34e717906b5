//! What a 401 means. It is evidence, not proof: one endpoint that always answers 401 must neither hold up the others nor cause a
//! refresh.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use super::call::{Call, Route, Unauthorized};
use crate::domain::time::between;

/// A success speaks for its token for this long.
const SUCCESS_COUNTS_FOR: Duration = Duration::from_secs(5);
/// How long a 401 that nothing explains waits for other evidence.
const UNEXPLAINED: Duration = Duration::from_secs(2);
/// So many routes that answer 401, and none that succeeds while one of them waits, outweigh a success before.
const MANY: usize = 3;
/// How long after its planned refresh a rejected token is taken for refreshed.
const DUE_FOR: Duration = Duration::from_secs(60);
/// How long a route that answers 401 to two tokens is left alone.
const LISTED_FOR: Duration = Duration::from_secs(600);
const MOST_ROUTES: usize = 64;

/// What is to follow from a 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets it: it is this endpoint's own.
    Endpoint,
    /// Not known before then.
    Open(Duration),
    /// The server does not accept the token any more.
    Token(Certainty),
}

/// How much speaks against the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It was due for a refresh.
    Due,
    Likely,
}

/// What was seen of the current token, and of endpoints.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    last_success: Option<Success>,
    succeeded: VecDeque<Route>,
    /// Since the last success, and when the first of them came.
    unauthorized: VecDeque<Route>,
    unauthorized_since: Option<Duration>,
    /// Answered 401 to two tokens: until when they are left alone.
    listed: VecDeque<(Route, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Success {
    sent_at: Duration,
    at: Duration,
}

impl Evidence {
    /// Another token: nothing is known of it.
    pub fn forget_token(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        *self = Self { listed, ..Self::default() };
    }

    /// The current token was accepted.
    pub fn accepted(&mut self, call: &Call, at: Duration) {
        self.last_success = Some(Success { sent_at: call.sent_at, at });
        self.unauthorized.clear();
        self.unauthorized_since = None;
        self.listed.retain(|(route, _)| *route != call.route);
        push(&mut self.succeeded, call.route);
    }

    /// A 401 to the current token.
    pub fn unauthorized(&mut self, call: &Call, at: Duration) {
        self.unauthorized_since.get_or_insert(at);
        push(&mut self.unauthorized, call.route);
    }

    /// A route that answers 401 to two tokens rejects the client, not the token.
    pub fn list(&mut self, route: Route, now: Duration) {
        self.listed.retain(|(other, _)| *other != route);
        self.listed.push_back((route, now.saturating_add(LISTED_FOR)));
        if self.listed.len() > MOST_ROUTES {
            self.listed.pop_front();
        }
    }

    /// Whether a 401 of this route would say something: it is not known to answer so anyway.
    pub fn is_telling(&self, route: Route, now: Duration) -> bool {
        self.succeeded.contains(&route) || !self.is_listed(route, now) && !self.unauthorized.contains(&route)
    }

    /// Whether it answered 401 to two tokens.
    pub fn is_listed(&self, route: Route, now: Duration) -> bool {
        self.listed.iter().any(|(listed, until)| *listed == route && now < *until)
    }

    /// What a 401 of a route that is not listed means for the current token. `due`: when its refresh was planned, unless it was accepted since.
    pub fn judge(&self, call: &Call, unauthorized: &Unauthorized, due: Option<Timestamp>, now: Duration) -> Verdict {
        if due.is_some_and(|due| due <= unauthorized.at.wall && between(due, unauthorized.at.wall) < DUE_FOR) {
            return Verdict::Token(Certainty::Due);
        }
        let at = unauthorized.at.elapsed;
        if self.last_success.is_some_and(|success| success.sent_at > at) {
            return Verdict::Endpoint;
        }
        let recent = self.last_success.is_some_and(|success| at < success.at.saturating_add(SUCCESS_COUNTS_FOR));
        let others = self.unauthorized.iter().filter(|route| **route != call.route).count();
        let is_contradicted = !recent && (others > 0 || unauthorized.is_explicit);
        if self.succeeded.contains(&call.route) || is_contradicted {
            return Verdict::Token(Certainty::Likely);
        }
        // Also where each client gives up sooner than that.
        let until = self.unauthorized_since.unwrap_or(at).saturating_add(UNEXPLAINED);
        let fell_silent = self.last_success.is_some_and(|success| success.at <= at) && others >= MANY - 1;
        match (now < until, recent) {
            (true, _) => Verdict::Open(until),
            (false, true) if !fell_silent => Verdict::Endpoint,
            (false, _) => Verdict::Token(Certainty::Likely),
        }
    }
}

fn push(routes: &mut VecDeque<Route>, route: Route) {
    if !routes.contains(&route) {
        routes.push_back(route);
    }
    if routes.len() > MOST_ROUTES {
        routes.pop_front();
    }
}
