//! What `operator::steps::rotate` and `operator::steps::apply` do: each decision made true by one write, and the course of an exchange:
//! claim, send, wait, store.

mod outcome;

use std::time::Duration;

use pleo_operator::domain::{
    commit::{
        attempt::{self, Claiming, Terms},
        settlement::AttemptResult,
    },
    failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
    ledger::{
        authorization::SessionEnd,
        grant::{Grant, Holder},
    },
    plan::{
        adoption::{Adoption, TokenRemoval},
        authentication::{is_unauthenticated, methods},
        decide::Decision,
        link,
        next_refresh::Rotation,
        projection,
        schedule::SEND_WITHIN,
    },
    snapshot::{
        ClientSecretState, GrantSecret, InitialGrant, Snapshot, TokenSecret, Versioned,
        published::{Content, Published},
    },
    token::{ClientCredentials, LinkKey},
};

use crate::{
    protocol::World,
    world::books::{Known, Mark},
    world::shared::Shared,
    world::state::{Answer, Doing, Job, LateWrite, Name, PACE, Request, State, Stored, at, since},
    world::tokens::{Side, Token},
};

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is applied or refused at once, and the writer is told so.
    Answered,
    /// It is applied or refused, and the answer is lost.
    AnswerLost,
    /// The same, and what the writer reads after it is lost too.
    Silence,
    /// It is not applied yet; it may be at any later time, as long as the version is the same.
    Late,
}

impl World {
    /// The write that was decided on.
    pub fn act(&self, state: &mut State, pod: usize, fate: Fate) {
        let Doing::Decided(decided) = &state.pods[pod].doing else { return };
        let (snapshot, decision) = <(Snapshot, Decision)>::clone(decided);
        match decision {
            Decision::Publish(content) => self.publish(state, pod, snapshot, &content, fate),
            Decision::Adopt(adoption) => self.adopt(state, pod, &snapshot, *adoption, fate),
            Decision::RemoveAdoptedToken(token_removal) => self.tidy(state, pod, snapshot, &token_removal, fate),
            Decision::Rotate(rotation) => {
                state.goes_on(pod, Doing::Idle);
                self.begin(state, pod, snapshot, &rotation);
                if !self.scenario.fine {
                    self.claim(state, pod, fate);
                }
            }
            Decision::DropAuthorizationCode(grant) => {
                let replaces = snapshot.grant.ours().map(|grant| grant.version.clone());
                if grant.by_link.session.as_ref().and_then(|visit| visit.end) == Some(SessionEnd::Lost) {
                    state.keep_books(|books| books.mark(Mark::CodeLost));
                }
                self.write_down(state, pod, snapshot, *grant, replaces, fate);
            }
            Decision::CreateLink => {
                let key = LinkKey::new(format!("key {}", state.versions.grant));
                let now = at(state.tick, self.scenario.skew[pod]);
                let Some((grant, replaces)) = link::create(&snapshot, key, now) else {
                    return self.breaks_off(state, pod, fate);
                };
                self.write_down(state, pod, snapshot, grant, replaces, fate);
            }
            Decision::Ignore
            | Decision::Wait(_)
            | Decision::ProveIntrospection
            | Decision::DeleteOldSecret(_)
            | Decision::Restart(_) => {
                unreachable!("nothing of this kind is in the model: {decision:?}")
            }
        }
    }

    fn publish(&self, state: &mut State, pod: usize, mut snapshot: Snapshot, content: &Content, fate: Fate) {
        let replaces = match &snapshot.token {
            TokenSecret::Ours(published) => Some(published.version.parse().unwrap()),
            TokenSecret::Absent | TokenSecret::NotOwned => None,
        };
        if state.token.as_ref().map(|token| token.version) != replaces {
            return self.breaks_off(state, pod, fate);
        }
        let spec = &snapshot.spec;
        let published = Published::read(
            content.encode(),
            projection::labels(spec),
            spec.secret_annotations.clone(),
            Some(spec.uid.clone()),
        );
        state.note_token(content);
        state.versions.token += 1;
        let stored = Stored { value: Shared::new(published), version: state.versions.token };
        snapshot.token = TokenSecret::Ours(stored.versioned());
        state.token = Some(stored);
        match fate {
            Fate::Answered => self.goes_over(state, pod, snapshot),
            Fate::AnswerLost | Fate::Silence | Fate::Late => self.breaks_off(state, pod, fate),
        }
    }

    fn adopt(&self, state: &mut State, pod: usize, snapshot: &Snapshot, adoption: Adoption, fate: Fate) {
        let replaces = adoption.replaces.map(|version| version.parse().unwrap());
        let moves = snapshot.grant.ours().is_some_and(|grant| grant.value.holding(&adoption.fingerprint).is_some());
        let written = self.write(state, adoption.grant, replaces, fate);
        if written && moves {
            state.keep_books(|books| books.mark(Mark::Moved));
        }
        // The connection may have been edited meanwhile: the next pass looks again.
        self.breaks_off(state, pod, fate);
    }

    /// A write of the grant that sends nothing; the pass goes on with it.
    fn write_down(
        &self,
        state: &mut State,
        pod: usize,
        mut snapshot: Snapshot,
        grant: Grant,
        replaces: Option<String>,
        fate: Fate,
    ) {
        let replaces = replaces.map(|version| version.parse().unwrap());
        let written = self.write(state, grant.clone(), replaces, fate);
        if !written || fate != Fate::Answered {
            return self.breaks_off(state, pod, fate);
        }
        let version = state.versions.grant.to_string();
        snapshot.grant = GrantSecret::Ours(Versioned { value: grant, version });
        self.goes_over(state, pod, snapshot);
    }

    fn tidy(&self, state: &mut State, pod: usize, mut snapshot: Snapshot, token_removal: &TokenRemoval, fate: Fate) {
        if state.initial.version.to_string() != token_removal.version {
            return self.breaks_off(state, pod, fate);
        }
        state.put_initial(None);
        match fate {
            Fate::Answered => snapshot.initial = InitialGrant::Missing("it was adopted and removed".into()),
            Fate::AnswerLost | Fate::Silence | Fate::Late => {
                self.outage(state, pod);
                snapshot.deferred.token_removal = true;
            }
        }
        self.goes_over(state, pod, snapshot);
    }

    /// The pass is over, or broken off; the next one looks again.
    fn breaks_off(&self, state: &mut State, pod: usize, fate: Fate) {
        match fate {
            Fate::Answered => {}
            Fate::AnswerLost | Fate::Silence | Fate::Late => self.outage(state, pod),
        }
        state.goes_on(pod, Doing::Idle);
    }

    pub fn outage(&self, state: &mut State, pod: usize) {
        let tick = state.tick;
        state.remember(pod, |memory| memory.outage(tick));
    }

    /// A compare-and-swap of the grant. Whether it was applied.
    fn write(&self, state: &mut State, grant: Grant, replaces: Option<u16>, fate: Fate) -> bool {
        match fate {
            Fate::Answered | Fate::AnswerLost | Fate::Silence => self.store(state, grant, replaces),
            Fate::Late => {
                state.late.push(LateWrite { grant: Shared::new(grant), replaces });
                false
            }
        }
    }

    /// Applies a write of the grant, if nobody else wrote first.
    pub fn store(&self, state: &mut State, grant: Grant, replaces: Option<u16>) -> bool {
        if state.grant.as_ref().map(|grant| grant.version) != replaces {
            return false;
        }
        let old = state.grant.take();
        state.note_grant(old.as_ref().map(|old| &*old.value), &grant, self.scenario.budget.restores > 0);
        state.put_grant(grant);
        true
    }

    /// Makes a claim, to be written next.
    fn begin(&self, state: &mut State, pod: usize, scene: Snapshot, rotation: &Rotation) {
        let (GrantSecret::Ours(grant), ClientSecretState::Present(client)) = (&scene.grant, &scene.client) else {
            return;
        };
        let process = &state.pods[pod];
        let name = Name { pod, process: process.process, number: process.attempts + 1 };
        let terms = terms(&scene, process.holder(pod), client, &grant.value, rotation);
        let now = at(state.tick, self.scenario.skew[pod]);
        let Some(Claiming { attempt, token, .. }) = attempt::claim(&grant.value, rotation, name.id(), now, terms)
        else {
            return;
        };
        if grant.value.claim.is_some() {
            let mark = if rotation.claim_unused { Mark::UnusedTakenOver } else { Mark::TakenOver };
            state.keep_books(|books| books.mark(mark));
        }
        let (token, version) = (Token::read(token.expose()), grant.version.parse().unwrap());
        let (begun, method) = (state.tick, attempt.terms.methods.first);
        let job = Job { name, attempt, token, scene, version, begun, method, fell_back: false };
        state.goes_on(pod, Doing::Claiming(Shared::new(job)));
    }

    /// Step 1. A claim that may be stored and cannot be read is never used.
    pub fn claim(&self, state: &mut State, pod: usize, fate: Fate) {
        let Doing::Claiming(job) = &state.pods[pod].doing else { return };
        let mut job = Job::clone(job);
        let written = self.write(state, job.attempt.claimed.clone(), Some(job.version), fate);
        let is_known = match fate {
            Fate::Answered | Fate::AnswerLost => written,
            Fate::Silence | Fate::Late => false,
        };
        if is_known {
            job.version = state.versions.grant;
            state.change(pod, |pod| {
                pod.attempts = job.name.number;
                pod.doing = Doing::Claimed(Shared::new(job));
            });
        } else {
            // A claim that was surely not stored leaves no trace: its name may be used again.
            let may_be_stored = fate != Fate::Answered;
            state.change(pod, |pod| {
                pod.doing = Doing::Idle;
                if may_be_stored {
                    pod.attempts = job.name.number;
                    pod.memory.never_sent(&job.attempt.id);
                }
            });
        }
        if fate != Fate::Answered {
            self.outage(state, pod);
        }
    }

    /// Step 2. The fence is asked last: nothing leaves later than 10 s after the claim was begun.
    pub fn send(&self, state: &mut State, pod: usize, connects: bool) {
        let Doing::Claimed(job) = &state.pods[pod].doing else { return };
        let job = job.clone();
        if job.fell_back && since(job.begun, state.tick) >= SEND_WITHIN {
            // The first answer stands.
            let first = Job { method: job.method.other(), fell_back: false, ..Job::clone(&job) };
            return self.ends(state, pod, Shared::new(first), state.tick, Outcome::Failed(unauthenticated()));
        }
        if !connects || since(job.begun, state.tick) >= SEND_WITHIN {
            if connects {
                state.keep_books(|books| books.mark(Mark::FenceClosed));
            }
            let failure = Failure::new(FailureKind::NotSent, "it took too long, or there was no connection");
            let tick = state.tick;
            return self.ends(state, pod, job, tick, Outcome::Failed(failure));
        }
        let to = Side::of(&job.attempt.server);
        state.note_sending(&job, to);
        state.requests.push(Request {
            by: job.name,
            token: job.token,
            to,
            client: job.client(),
            answer: None,
            given_up: None,
            is_excused: false,
        });
        let tick = state.tick;
        state.goes_on(pod, Doing::Sent(job, tick));
    }

    /// The answer arrives.
    pub fn deliver(&self, state: &mut State, index: usize) {
        let request = state.requests.remove(index);
        let (Some(pod), Some(answer)) = (state.awaited_by(&request), request.answer) else { return };
        let Doing::Sent(job, sent) = &state.pods[pod].doing else { return };
        let (job, sent) = (job.clone(), *sent);
        let second = job.attempt.terms.methods.fallback.filter(|_| answer == Answer::Unauthenticated && !job.fell_back);
        match second
            .filter(|_| is_unauthenticated(&unauthenticated(), job.attempt.which, job.attempt.terms.methods.standing))
        {
            Some(method) => {
                state.keep_books(|books| books.settle(job.name, Known::May));
                state.keep_books(|books| books.mark(Mark::FellBack));
                state.goes_on(pod, Doing::Claimed(Shared::new(Job { method, fell_back: true, ..Job::clone(&job) })));
            }
            None => self.ends(state, pod, job, sent, self.outcome(answer)),
        }
    }

    fn outcome(&self, answer: Answer) -> Outcome {
        match answer {
            Answer::Pair(token) => Outcome::Issued(TokenResponse {
                access: Some(token.access()),
                refresh: Some(token.refresh()),
                token_type: "Bearer".into(),
                lifetime: Duration::from_secs(self.scenario.life),
            }),
            Answer::Refused => {
                Outcome::Failed(Failure::new(FailureKind::Rejected(RejectionCode::InvalidGrant), "refused"))
            }
            Answer::Throttled => Outcome::Failed(Failure::new(FailureKind::Throttled, "throttled")),
            Answer::Unauthenticated => Outcome::Failed(unauthenticated()),
        }
    }

    /// Nobody waits any longer for an answer.
    pub fn time_out(&self, state: &mut State, pod: usize) {
        let Doing::Sent(job, sent) = &state.pods[pod].doing else { return };
        let (job, sent) = (job.clone(), *sent);
        let whole = since(sent, state.tick) >= PACE.request_timeout;
        // Who hangs up early has no excuse.
        state.abandon(job.name, whole);
        let failure = Failure::new(FailureKind::OutcomeUnknown, "the server did not answer in time");
        self.ends(state, pod, job, sent, Outcome::Failed(failure));
    }

    /// The connection breaks while the answer is awaited. The server may be at work all the same.
    pub fn reset(&self, state: &mut State, index: usize) {
        let Some(pod) = state.awaited_by(&state.requests[index]) else { return };
        let Doing::Sent(job, sent) = &state.pods[pod].doing else { return };
        let (job, sent) = (job.clone(), *sent);
        state.abandon(job.name, true);
        let failure = Failure::new(FailureKind::OutcomeUnknown, "the connection was reset");
        self.ends(state, pod, job, sent, Outcome::Failed(failure));
    }

    fn ends(&self, state: &mut State, pod: usize, job: Shared<Job>, sent: u16, outcome: Outcome) {
        let (skew, tick, version) = (self.scenario.skew[pod], state.tick, job.version);
        let started_at = at(sent, skew);
        let ending = Shared::new(AttemptResult {
            outcome,
            method: job.method,
            fell_back: job.fell_back,
            started_at,
            sent_at: started_at,
            ended_at: at(tick, skew),
        });
        state.goes_on(pod, Doing::Ended { job, ending, over: Some(version), since: tick });
    }
}

/// What an attempt depends on, as `operator::context` has it.
pub fn terms(
    scene: &Snapshot,
    holder: Holder,
    client: &ClientCredentials,
    grant: &Grant,
    rotation: &Rotation,
) -> Terms {
    let url = &scene.spec.server.as_ref().expect("the model names a server").token_url;
    Terms {
        holder,
        client: client.fingerprint(&scene.spec.uid),
        client_id: client.id_fingerprint(),
        methods: methods(scene.spec.authentication, client, url, grant, rotation.is_probe),
        generation: scene.spec.generation,
        retry_timeout: scene.spec.retry_timeout,
        pace: PACE,
    }
}

/// 401 without a code.
fn unauthenticated() -> Failure {
    Failure::new(FailureKind::Misconfigured(Misconfiguration::Client), "the server answered 401")
}
