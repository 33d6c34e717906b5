//! The authorization servers, as strict as can be: a refresh kills every earlier token, and a spent token that is presented
//! kills its family. And the wire to them, which loses things.

use pleo_operator::domain::{
    plan::link::{self, AuthorizationResponse},
    token::{AuthorizationCode, CodeVerifier, Fingerprint},
};

use crate::world::{
    books::{Fault, Known, pair_in},
    state::{Answer, Doing, Family, Initial, Name, Pod, Request, State, at},
    tokens::{self, Token},
};

impl State {
    /// The server decides about a request.
    pub fn judge(&mut self, index: usize) {
        let Request { token, to, client, is_excused, .. } = self.requests[index];
        let awaited = self.awaited_by(&self.requests[index]).is_some();
        let family = self.family(token);
        let answer = if family.home != to || family.client != client || !family.alive {
            Answer::Refused
        } else if token.number == family.current {
            family.current += 1;
            family.excused |= is_excused;
            Answer::Pair(token.next())
        } else {
            family.alive = false;
            if !family.excused && !is_excused {
                self.keep_books(|books| books.blame(Fault::Killed));
            }
            Answer::Refused
        };
        self.answer(index, answer, awaited);
    }

    /// The server wants to be left in peace.
    pub fn throttle(&mut self, index: usize) {
        let awaited = self.awaited_by(&self.requests[index]).is_some();
        self.answer(index, Answer::Throttled, awaited);
    }

    /// The server does not authenticate the client, and does not look at the token.
    pub fn unauthenticate(&mut self, index: usize) {
        let awaited = self.awaited_by(&self.requests[index]).is_some();
        self.answer(index, Answer::Unauthenticated, awaited);
    }

    fn answer(&mut self, index: usize, answer: Answer, awaited: bool) {
        if awaited {
            self.requests[index].answer = Some(answer);
        } else {
            self.requests.remove(index);
        }
    }

    /// An answer is lost on the wire; a pair in it with it.
    pub fn lose_answer(&mut self, index: usize) {
        let request = self.requests.remove(index);
        self.family(request.token).excused = true;
    }

    /// Nobody waits for this attempt's answer any more.
    pub fn abandon(&mut self, sender: Name, is_excused: bool) {
        let Some(index) = self.requests.iter().position(|request| request.by == sender) else { return };
        let tick = self.tick;
        let request = &mut self.requests[index];
        (request.given_up, request.is_excused) = (Some(tick), is_excused);
        if self.requests[index].answer.is_some() {
            let request = self.requests.remove(index);
            self.family(request.token).excused |= is_excused;
        }
    }

    /// A process dies, and its next one begins with an empty memory.
    pub fn crash(&mut self, pod: usize) {
        if let Some(job) = self.pods[pod].doing.job() {
            let (name, token) = (job.name, job.token);
            if let Doing::Ended { ending, .. } = &self.pods[pod].doing
                && let Some(pair) = pair_in(&ending.outcome)
                && self.grant.as_ref().and_then(|grant| tokens::current(&grant.value)) != Some(pair)
            {
                self.family(token).excused = true;
            }
            self.abandon(name, true);
            self.keep_books(|books| books.settle(name, Known::May));
        }
        self.change(pod, |pod| {
            *pod = Pod {
                process: pod.process + 1,
                attempts: 0,
                memory: Default::default(),
                cached: pod.cached,
                is_frozen: false,
                doing: Doing::Idle,
            };
        });
    }

    /// A human consents at the server that the spec names, and puts the token there. A bad consent was revoked at once.
    pub fn consent(&mut self, is_good: bool) {
        let token = Token::consent(u8::try_from(self.families.len()).unwrap());
        let mut named = [false; 2];
        named[self.spec.server as usize] = true;
        self.families.push(Family {
            home: self.spec.server,
            client: self.client,
            current: 0,
            alive: is_good,
            named,
            by_link: false,
            excused: false,
        });
        self.put_initial(Some(token));
    }

    /// A human comes back to a page with a code, and it is taken in by one write.
    pub fn consent_by_link(&mut self) {
        let code = Token::consent(u8::try_from(self.families.len()).unwrap());
        let home = self.spec.server;
        let mut named = [false; 2];
        named[home as usize] = true;
        let client = self.client;
        self.families.push(Family { home, client, current: 0, alive: true, named, by_link: true, excused: false });
        let arrival = AuthorizationResponse {
            id: format!("visit {code}"),
            browser: Fingerprint::of(&["browser"]),
            code: AuthorizationCode::new(code.to_string()),
            verifier: CodeVerifier::new("verifier"),
            server: home.url(),
            client_id: client.credentials().id_fingerprint(),
            redirect_uri: "https://pleo.example.com/callback".into(),
        };
        let Some(old) = self.grant.take() else { return };
        let new = link::accept(&old.value, arrival, at(self.tick, 0));
        self.note_grant(Some(&old.value), &new, self.left.restores > 0);
        self.put_grant(new);
    }

    pub fn put_initial(&mut self, token: Option<Token>) {
        self.initial = Initial { token, version: self.initial.version + 1 };
    }
}
