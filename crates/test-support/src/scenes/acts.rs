//! What follows from a scene: decisions, which come true in memory, and token requests with the outcome of one's choice.

use jiff::Timestamp;
use pleo_operator::{
    api::PleoConnectionStatus,
    domain::{
        commit::{
            attempt::{Attempt, Claiming, Terms, claim},
            settlement::settle,
        },
        failure::Outcome,
        introspection::Introspected,
        ledger::{grant::Grant, held::AttemptId},
        plan::{
            decide::{Decision, Wait, decide},
            introspection, link,
            next_refresh::{NextRefresh, Rotation, next_refresh},
            projection,
            restarts::{self, Tried},
        },
        report::status,
        snapshot::{
            ClientSecretState, GrantSecret, InitialGrant, LocalObservations, TokenSecret, Versioned,
            published::{Content, Published},
        },
        token::LinkKey,
    },
};

use super::{builders::*, scene::Scene};

impl Scene {
    pub fn grant(&self) -> &Grant {
        &self.snapshot.grant.ours().expect("a grant of ours").value
    }

    pub fn grant_mut(&mut self) -> &mut Grant {
        match &mut self.snapshot.grant {
            GrantSecret::Ours(grant) => &mut grant.value,
            other => panic!("no grant of ours: {other:?}"),
        }
    }

    pub fn content(&self) -> &Content {
        let published = self.snapshot.token.published().expect("a token Secret of ours");
        published.content.as_ref().expect("a token Secret that can be read")
    }

    pub fn decide(&self) -> Decision {
        decide(&self.snapshot, self.now, PACE)
    }

    pub fn next_refresh(&self) -> NextRefresh {
        next_refresh(&self.snapshot, self.now, PACE)
    }

    /// What it waits for.
    #[track_caller]
    pub fn waits(&self) -> Wait {
        match self.decide() {
            Decision::Wait(wait) => wait,
            other => panic!("expected to wait, but: {other:?}"),
        }
    }

    /// Which token it sends now.
    #[track_caller]
    pub fn sends(&self) -> Rotation {
        match self.decide() {
            Decision::Rotate(rotation) => rotation,
            other => panic!("expected to send, but: {other:?}"),
        }
    }

    /// Whether a token is to be sent at this moment.
    pub fn is_sending(&self) -> bool {
        matches!(self.next_refresh(), NextRefresh::Now(_))
    }

    pub fn status(&self) -> PleoConnectionStatus {
        self.status_after(&PleoConnectionStatus::default())
    }

    pub fn status_after(&self, previous: &PleoConnectionStatus) -> PleoConnectionStatus {
        status::of(&self.snapshot, previous, None, self.now, PACE)
    }

    /// Makes decisions come true until there is nothing left but to wait, to leave or to send.
    #[track_caller]
    pub fn rest(&mut self) -> Decision {
        for _ in 0..MAX_STEPS {
            match self.decide() {
                Decision::Publish(content) => {
                    self.done.push("publish");
                    self.publish(&content);
                }
                Decision::Adopt(adoption) => {
                    self.done.push("adopt");
                    self.store(adoption.grant);
                }
                Decision::DeleteOldSecret(_) => {
                    self.done.push("retire");
                    self.snapshot.retired = None;
                }
                Decision::RemoveAdoptedToken(token_removal) => {
                    self.done.push("tidy");
                    self.snapshot.initial = InitialGrant::Missing(format!("{} is tidy", token_removal.secret));
                }
                Decision::Restart(restart) => {
                    self.done.push("restart");
                    let tried = Tried { done: restart.targets, perhaps: Vec::new() };
                    let grant = restarts::note(&self.snapshot, &tried, self.now).expect("a grant");
                    self.store(grant);
                }
                Decision::DropAuthorizationCode(grant) => {
                    self.done.push("forget");
                    self.store(*grant);
                }
                Decision::ProveIntrospection => {
                    self.done.push("prove");
                    let grant = self.snapshot.grant.ours().expect("a grant").value.clone();
                    let (Ok(server), ClientSecretState::Present(client)) =
                        (&self.snapshot.spec.server, &self.snapshot.client)
                    else {
                        panic!("nothing to ask with");
                    };
                    let url = server.introspection_url.as_ref().expect("a URL");
                    let proved = introspection::proved(&grant, url, client, Introspected::Active).expect("news");
                    self.store(proved);
                }
                Decision::CreateLink => {
                    self.done.push("invite");
                    let key = LinkKey::new(format!("key-{}", self.now));
                    let (grant, _) = link::create(&self.snapshot, key, self.now).expect("a grant");
                    self.store(grant);
                }
                end @ (Decision::Rotate(_) | Decision::Wait(_) | Decision::Ignore) => return end,
            }
        }
        panic!("no rest after {MAX_STEPS} steps: {:?}", self.done);
    }

    /// Comes to rest, sends the token that is due, and stores what the server says; then comes to rest again.
    #[track_caller]
    pub fn exchange(&mut self, outcome: Outcome) -> Decision {
        let (attempt, started_at) = self.begin();
        let ending = ending(outcome, started_at, self.now);
        let grant = written(settle(self.grant(), &attempt, &ending));
        self.store(grant);
        self.snapshot.local = LocalObservations::default();
        self.rest()
    }

    /// Comes to rest, claims the token that is due, and sends it.
    #[track_caller]
    pub fn begin(&mut self) -> (Attempt, Timestamp) {
        let Decision::Rotate(rotation) = self.rest() else { panic!("nothing is due: {:?}", self.decide()) };
        self.attempts += 1;
        let id = AttemptId(format!("here-{}", self.attempts));
        let spec = &self.snapshot.spec;
        let ClientSecretState::Present(client) = &self.snapshot.client else { panic!("no client") };
        let terms = Terms {
            client: client.fingerprint(&spec.uid),
            client_id: client.id_fingerprint(),
            generation: spec.generation,
            retry_timeout: spec.retry_timeout,
            ..terms()
        };
        let Claiming { attempt, token, fallback: _ } =
            claim(self.grant(), &rotation, id, self.now, terms).expect("a token");
        self.store(attempt.claimed.clone());
        self.sent.push((token.expose().to_owned(), attempt.server.clone()));
        self.done.push("send");
        (attempt, self.now)
    }

    pub fn store(&mut self, grant: Grant) {
        self.snapshot.grant = GrantSecret::Ours(Versioned { value: grant, version: "next".into() });
    }

    pub fn publish(&mut self, content: &Content) {
        let spec = &self.snapshot.spec;
        let published = Published::read(
            content.encode(),
            projection::labels(spec),
            spec.secret_annotations.clone(),
            Some(spec.uid.clone()),
        );
        self.snapshot.token = TokenSecret::Ours(Versioned { value: published, version: "next".into() });
    }
}
