//! The books: what was sent, refused, committed and published, and every breach of an invariant. The rules never see them.

mod marks;

pub use marks::{Bits, Fault, Mark};
use std::time::Duration;

use pleo_operator::domain::{
    failure::{FailureKind, Outcome},
    ledger::grant::{Grant, RejectionReason},
    snapshot::published::Content,
    time::between,
};

use crate::{
    world::shared::Shared,
    world::state::{Doing, Job, Name, PACE, PATIENCE, State, since},
    world::tokens::{self, Client, Side, Token},
};

/// What the sender of a request knows of its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// It waits, or has it in hand.
    Open,
    /// It knows that the token is spent or dead.
    Dead,
    /// It may be spent, or is surely not: it may be sent once more.
    May,
}

/// A token that a server got to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Presented {
    pub token: Token,
    pub to: Side,
    pub client: Client,
    /// The attempt; none as soon as it is over.
    pub by: Option<Name>,
    pub known: Known,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Books {
    pub presented: Vec<Presented>,
    /// Refusals that the ledger tells of.
    pub refused: Vec<(Token, Side, Client)>,
    /// The consents that were adopted and for which server, in the order in which they count as given.
    pub adopted: Vec<(u8, Side)>,
    /// All pairs, in the order in which they were stored.
    pub committed: Vec<Token>,
    /// The youngest of them that pods have seen, and its rotation.
    pub published: (usize, u64),
    /// A human deleted or overwrote the grant: what only the ledger knew is forgotten.
    pub is_meddled_with: bool,
    /// A backup was put back that nobody can know to be one: then pods go back with it.
    pub is_rolled_back: bool,
    /// Attempts whose claim a human took away while they were under way.
    pub bereft: Vec<Name>,
    /// The grants that a backup may hold. Kept only where one may be put back.
    pub backups: Vec<Shared<Grant>>,
    pub faults: Bits,
    pub marks: Bits,
}

impl Books {
    pub fn blame(&mut self, fault: Fault) {
        self.faults.put(fault as u16);
    }

    pub fn mark(&mut self, mark: Mark) {
        self.marks.put(mark as u16);
    }

    /// What is newer: a later consent, or a later token of the same.
    fn rank(&self, token: Token) -> (Option<usize>, u8) {
        (self.adopted.iter().position(|(family, _)| *family == token.family), token.number)
    }

    /// A consent is adopted. One that follows the spec to another server counts as given anew, but for those that were given
    /// there since it came and are not proved yet; and one that only a lost ledger knew is new in any case.
    fn note_authorization(&mut self, family: u8, to: Side) {
        let first = self.adopted.iter().position(|(other, _)| *other == family);
        self.adopted.retain(|(other, _)| *other != family);
        let is_open = |family: u8| !self.committed.iter().any(|token| token.family == family);
        let dead = self.adopted.iter().rposition(|(other, server)| *server == to && !is_open(*other));
        let came = first.filter(|_| !self.is_meddled_with).unwrap_or(self.adopted.len());
        let later = came.max(dead.unwrap_or_default());
        let waits = |(family, other): &(u8, Side)| *other == to && is_open(*family);
        let given_since = self.adopted.iter().skip(later).position(waits);
        let place = given_since.map_or(self.adopted.len(), |place| later + place);
        self.adopted.insert(place, (family, to));
    }

    /// What became of this attempt's request, as far as anybody knows who lives.
    pub fn settle(&mut self, by: Name, known: Known) {
        let known = if self.bereft.contains(&by) { Known::May } else { known };
        for presented in self.presented.iter_mut().filter(|presented| presented.by == Some(by)) {
            (presented.by, presented.known) = (None, known);
        }
        self.presented.sort();
        self.presented.dedup();
    }
}

/// What an outcome that is stored tells of the token that was sent.
pub fn known_by(outcome: &Outcome) -> Known {
    match outcome {
        Outcome::Issued(_) => Known::Dead,
        Outcome::Failed(failure) => match failure.kind {
            FailureKind::Rejected(_) => Known::Dead,
            _ => Known::May,
        },
    }
}

impl State {
    /// A request leaves.
    pub fn note_sending(&mut self, job: &Job, to: Side) {
        let (token, tick) = (job.token, self.tick);
        let family = self.family(token).clone();
        let claim = self.grant.as_ref().and_then(|grant| grant.value.claim.as_ref());
        let is_claimed = claim.is_some_and(|claim| claim.attempt == job.attempt.id);
        let was_bereft = |name: &Name| self.books.bereft.contains(name);
        let overlaps = self.pods.iter().any(|pod| match &pod.doing {
            Doing::Sent(other, at) => {
                other.token.family == token.family
                    && since(*at, tick) < PACE.request_timeout
                    && !was_bereft(&other.name)
                    && !was_bereft(&job.name)
            }
            _ => false,
        });
        let is_at_work = self.requests.iter().any(|request| {
            let lately = |tick| since(tick, self.tick) < PACE.settle_time();
            request.token.family == token.family && request.given_up.is_some_and(lately) && !was_bereft(&request.by)
        });
        let client = job.client();
        let is_accepted = token.number > 0 || family.current > 0;
        self.keep_books(|books| {
            if client != family.client && is_accepted && !books.is_meddled_with {
                books.blame(Fault::WrongClient);
            }
            let is_same = |before: &&Presented| before.token == token && before.to == to && before.client == client;
            let mut before = books.presented.iter().filter(is_same);
            if before.any(|before| before.known != Known::May) && !books.bereft.contains(&job.name) {
                books.blame(Fault::SentAgain);
            }
            let is_bereft = books.bereft.contains(&job.name);
            // A code is taken out of the grant by its claim: whatever became of it, it goes once, or twice in one attempt.
            let is_code = family.by_link && token.number == 0;
            if is_code && !is_bereft && !job.fell_back && books.presented.iter().any(|before| before.token == token) {
                books.blame(Fault::SentAgain);
            }
            if books.refused.contains(&(token, to, client)) {
                books.blame(Fault::RefusedSentAgain);
            }
            if overlaps {
                books.blame(Fault::TwoInFlight);
            }
            if is_at_work {
                books.blame(Fault::SentTooSoon);
            }
            if !is_claimed && !is_bereft && !books.is_rolled_back {
                books.blame(Fault::SentWithoutClaim);
            }
            let is_at_home = to == family.home || family.current == 0 && token.number == 0;
            if !is_at_home || !family.named[to as usize] || job.scene.spec.token_url() != Some(&to.url()) {
                books.blame(Fault::WrongServer);
            }
            let known = if is_bereft { Known::May } else { Known::Open };
            // Who finds a code that a human put back cannot know of one that was sent since.
            if !is_bereft || !is_code {
                books.presented.push(Presented { token, to, client, by: Some(job.name), known });
            }
        });
    }

    /// A process writes the grant.
    pub fn note_grant(&mut self, old: Option<&Grant>, new: &Grant, keeps_backups: bool) {
        let is_backup = old.is_some_and(|old| self.told().outdates(old));
        let (before, after) = (old.and_then(tokens::current), tokens::current(new));
        let refused = new
            .last_rejection
            .as_ref()
            .filter(|refused| old.is_none_or(|old| old.last_rejection.as_ref() != Some(refused)));
        let refused = refused.map(|refused| Token::named(&refused.fingerprint));
        let sent_to = refused.and_then(|token| self.requests_side(token, old));
        let consents = consents_in(new)
            .filter(|consent| !old.is_some_and(|old| consents_in(old).any(|before| before == *consent)));
        let consents: Vec<_> = consents.collect();
        let is_misnamed = refused.is_some_and(|token| self.is_misnamed(token, new));
        self.keep_books(|books| {
            for (family, to) in consents {
                books.note_authorization(family, to);
            }
            if is_misnamed && !books.is_meddled_with {
                books.blame(Fault::Misnamed);
            }
            if let Some(after) = after
                && !books.committed.contains(&after)
            {
                books.committed.push(after);
            }
            let as_client = old.and_then(|old| old.claim.as_ref()?.client_id.as_ref()).map(Client::named);
            let as_client = as_client.unwrap_or(Client::Acme);
            let was_refused = |token: Token| books.refused.iter().any(|(refused, ..)| *refused == token);
            if after != before && after.is_some_and(|after| was_refused(Token::consent(after.family))) {
                books.mark(Mark::ForAnotherClient);
            }
            books.refused.extend(refused.zip(sent_to).map(|(token, to)| (token, to, as_client)));
            let rank = |token| books.rank(token);
            // Which of two consents came later, nobody can know for sure when a human took the memory of it away.
            let is_another = after.map(|token| token.family) != before.map(|token| token.family);
            let is_newer = after.map(rank) > before.map(rank) || books.is_meddled_with && is_another;
            if before.is_some() && before != after && !is_newer && !is_backup && refused != before {
                books.blame(Fault::LiveGivenUp);
            }
            let adopted = old.map(|old| old.history.as_slice()).unwrap_or_default();
            if !adopted.iter().all(|old| new.has_seen(&old.fingerprint)) {
                books.blame(Fault::Forgotten);
            }
            if books.committed.len() >= 2
                && books.committed.first().map(|token| token.family) != after.map(|token| token.family)
            {
                books.mark(Mark::SecondProved);
            }
            if new.rotation >= 3 {
                books.mark(Mark::TwoRotations);
            }
            if refused.is_some() && refused == before {
                books.mark(Mark::RefusedWiped);
            }
            if keeps_backups {
                books.backups.push(Shared::new(new.clone()));
            }
        });
    }

    /// A pair that was lost on the way is called the user's doing.
    fn is_misnamed(&self, refused: Token, grant: &Grant) -> bool {
        let is_spent = self.families[usize::from(refused.family)].current > refused.number;
        let reason = grant.last_rejection.as_ref().map(|refused| refused.reason);
        is_spent && reason != Some(RejectionReason::RotationLost)
    }

    /// Where a token that was just refused had been sent.
    fn requests_side(&self, token: Token, old: Option<&Grant>) -> Option<Side> {
        let old = old?;
        let candidate = old.candidate.as_ref().filter(|_| tokens::candidate(old) == Some(token));
        let current = old.current.as_ref().filter(|_| tokens::current(old) == Some(token));
        let server = candidate.map(|held| &held.server).or(current.map(|held| &held.refresh.server));
        server.map(Side::of)
    }

    /// A process writes the token Secret (I4).
    pub fn note_token(&mut self, content: &Content) {
        let access = content.access.as_ref().map(|access| Token::read(access.token.expose()));
        self.keep_books(|books| {
            let (youngest, rotation) = books.published;
            let place = access.map(|access| books.committed.iter().position(|committed| *committed == access));
            if place == Some(None) {
                books.blame(Fault::NeverCommitted);
            }
            let place = place.flatten().unwrap_or(youngest);
            // A grant that is made anew counts on from what was published when somebody looked.
            let goes_back = place < youngest || content.rotation < rotation && !books.is_meddled_with;
            if goes_back && !books.is_rolled_back {
                books.blame(Fault::WentBack);
            }
            books.published = (place.max(youngest), content.rotation.max(rotation));
        });
    }

    /// A living process ends an attempt and lets go of a pair (I2): only for a pair that is newer. Where no pair was stored since
    /// it was claimed there is none, whatever people did to the grant.
    pub fn note_dropped(&mut self, job: &Job, pair: Token) {
        let claimed = job.attempt.claimed.rotation;
        let is_vacant = |grant: &Grant| grant.current.is_none() && grant.rotation <= claimed;
        let is_vacant = self.grant.as_ref().is_some_and(|grant| is_vacant(&grant.value));
        self.keep_books(|books| {
            let newer = |committed: &Token| books.rank(*committed) >= books.rank(pair);
            let is_newest = !books.committed.iter().any(newer) && !books.is_meddled_with;
            if is_newest || is_vacant && !books.committed.contains(&pair) {
                books.blame(Fault::PairDropped);
            }
        });
    }

    /// A holder that was passed over for longer than anybody waits for it.
    pub fn excuse_the_overdue(&mut self) {
        for pod in 0..2 {
            let Some(job) = self.pods[pod].doing.job() else { continue };
            let (name, token) = (job.name, job.token);
            let holds = matches!(self.pods[pod].doing, Doing::Sent(..) | Doing::Ended { .. });
            if holds && !self.api_is_down && since(job.begun, self.tick) >= patience(job) {
                self.family(token).excused = true;
                self.keep_books(|books| books.settle(name, Known::May));
            }
        }
    }

    /// A family that was proved and lives, whose token nobody holds, and whom no newer consent replaced.
    pub fn look_for_orphans(&mut self) {
        for index in 0..self.families.len() {
            let family = &self.families[index];
            if !family.alive || family.excused || family.current == 0 {
                continue;
            }
            let token = Token { family: index as u8, number: family.current };
            let is_replaced = self.books.committed.iter().any(|newer| self.books.rank(*newer) > self.books.rank(token));
            if !is_replaced && !self.is_held(token) {
                self.keep_books(|books| books.blame(Fault::Orphaned));
            }
        }
    }

    fn is_held(&self, token: Token) -> bool {
        let stored = self.grant.as_ref().is_some_and(|grant| tokens::current(&grant.value) == Some(token));
        let in_hand = |doing: &Doing| match doing {
            Doing::Ended { ending, .. } => pair_in(&ending.outcome) == Some(token),
            _ => false,
        };
        let on_the_wire = |request: &crate::world::state::Request| {
            request.answer == Some(crate::world::state::Answer::Pair(token)) && self.awaited_by(request).is_some()
        };
        stored || self.pods.iter().any(|pod| in_hand(&pod.doing)) || self.requests.iter().any(on_the_wire)
    }
}

/// The consents that a grant holds and no server has accepted yet, each with the server that it is meant for.
fn consents_in(grant: &Grant) -> impl Iterator<Item = (u8, Side)> {
    let candidate = tokens::candidate(grant).zip(grant.candidate.as_ref().map(|held| &held.server));
    let code = tokens::code(grant).zip(grant.by_link.code.as_ref().map(|code| &code.record.server));
    candidate.into_iter().chain(code).map(|(token, server)| (token.family, Side::of(server)))
}

/// How long another pod waits for this attempt's claim: longer, while the token that pods have is good.
fn patience(job: &Job) -> Duration {
    let claimed = &job.attempt.claimed;
    let (Some(claim), Some(current)) = (&claimed.claim, &claimed.current) else { return PATIENCE };
    PATIENCE.max(between(claim.started_at, current.issue.expires_at()).min(Duration::from_secs(300)))
}

/// The pair in an outcome.
pub fn pair_in(outcome: &Outcome) -> Option<Token> {
    match outcome {
        Outcome::Issued(issued) => issued.refresh.as_ref().map(|refresh| Token::read(refresh.expose())),
        Outcome::Failed(_) => None,
    }
}
