//! What `operator::steps::observe` does: the reads of a pass, in their order, and the decision that follows from them.

use pleo_operator::domain::{
    plan::decide::{Decision, decide},
    snapshot::{
        ClientSecretState, Deferred, GrantSecret, InitialGrant, InitialToken, LastReported, LocalObservations, Sharing,
        Snapshot, TokenSecret, repair::Repairs,
    },
    spec::ResolvedSpec,
};

use crate::{
    protocol::World,
    world::{
        shared::Shared,
        state::{Doing, Look, PACE, Spec, State, UID, at},
    },
};

impl World {
    /// The next read; all of them at once where the scenario does not tell them apart.
    pub fn look(&self, state: &mut State, pod: usize) {
        let mut look = match &state.pods[pod].doing {
            Doing::Looking(look) => look.clone(),
            _ => Look::default(),
        };
        loop {
            if let Some(snapshot) = self.read(state, pod, &mut look) {
                return self.goes_over(state, pod, snapshot);
            }
            if self.scenario.fine {
                return state.goes_on(pod, Doing::Looking(look));
            }
        }
    }

    /// One read: the Secrets that we write first, the initial grant last.
    pub fn read(&self, state: &mut State, pod: usize, look: &mut Look) -> Option<Snapshot> {
        if look.token.is_none() {
            let token = state.token.as_ref().map(|token| TokenSecret::Ours(token.versioned()));
            look.token = Some(token.unwrap_or(TokenSecret::Absent));
            return None;
        }
        if look.grant.is_none() {
            look.grant = Some(grant_secret(state));
            return None;
        }
        let Some((spec, told)) = look.connection else {
            let cached = state.pods[pod].cached.filter(|_| self.scenario.mistakes.decides_on_cached_spec);
            look.connection = Some((cached.unwrap_or(state.spec), state.reported));
            return None;
        };
        let (spec, token) = (self.spec(spec), look.token.take()?);
        let (grant, told) = judge(state, look.grant.take()?, &token, told);
        let local = self.sight(state, pod, &grant);
        Some(Snapshot {
            spec,
            client: ClientSecretState::Present(state.client.credentials()),
            initial: self.initial(state),
            grant,
            token,
            retired: None,
            reported: told,
            links: (self.scenario.budget.visits > 0).then(|| "https://pleo.example.com".to_owned()),
            deferred: Deferred::default(),
            local,
            // Nobody undoes here what was written.
            repairs: Repairs::default(),
        })
    }

    fn spec(&self, spec: Spec) -> ResolvedSpec {
        ResolvedSpec {
            generation: spec.generation,
            server: Ok(spec.server.server()),
            suspend: spec.suspended,
            ..self.spec.clone()
        }
    }

    fn initial(&self, state: &State) -> InitialGrant {
        let Some(token) = state.initial.token else {
            return InitialGrant::Missing("the Secret acme-grant has no key refresh_token".into());
        };
        let token = token.refresh();
        InitialGrant::Present(InitialToken {
            fingerprint: token.fingerprint(),
            token,
            version: state.initial.version.to_string(),
            copied: false,
            sharing: Sharing::Alone,
        })
    }

    /// What this process remembers of the claim and the failure in a grant.
    pub fn sight(&self, state: &mut State, pod: usize, grant: &GrantSecret) -> LocalObservations {
        let Some(grant) = grant.ours() else { return LocalObservations::default() };
        let (tick, clocks_are_wrong) = (state.tick, self.scenario.skew != [0, 0]);
        let (me, mut local) = (state.pods[pod].holder(pod), LocalObservations::default());
        state.remember(pod, |memory| local = memory.sight(&grant.value, &me, tick, clocks_are_wrong));
        local
    }

    /// A pass has seen all there is, or has made a step and goes on with what it knows.
    pub fn goes_over(&self, state: &mut State, pod: usize, snapshot: Snapshot) {
        if self.scenario.fine {
            return state.goes_on(pod, Doing::Looked(Shared::new(snapshot)));
        }
        self.decide(state, pod, snapshot);
    }

    /// The real decision.
    pub fn decide(&self, state: &mut State, pod: usize, snapshot: Snapshot) {
        let now = at(state.tick, self.scenario.skew[pod]);
        match decide(&snapshot, now, PACE) {
            Decision::Ignore => state.goes_on(pod, Doing::Idle),
            Decision::Wait(_) => {
                self.tell(state, &snapshot);
                state.goes_on(pod, Doing::Idle);
            }
            decision => state.goes_on(pod, Doing::Decided(Shared::new((snapshot, decision)))),
        }
    }

    /// The status tells of the rotation, and of its end. One that somebody else wrote meanwhile is newer.
    fn tell(&self, state: &mut State, snapshot: &Snapshot) {
        let meddles = self.scenario.budget.deletions + self.scenario.budget.restores > 0;
        if meddles && snapshot.reported == state.reported.and_by(&snapshot.token, &snapshot.grant, UID) {
            state.reported = snapshot.reported.next(snapshot.grant.ours().map(|grant| &grant.value));
        }
    }
}

pub fn grant_secret(state: &State) -> GrantSecret {
    state.grant.as_ref().map_or(GrantSecret::Absent, |grant| GrantSecret::Ours(grant.versioned()))
}

/// One that is older than what was told was put back from a backup; unless somebody wrote both in between.
fn judge(
    state: &State,
    grant: GrantSecret,
    token: &TokenSecret,
    by_status: LastReported,
) -> (GrantSecret, LastReported) {
    let told = |grant: &GrantSecret| by_status.and_by(token, grant, UID);
    let is_older = grant.ours().is_some_and(|ours| told(&grant).outdates(&ours.value));
    let grant = if is_older { grant_secret(state) } else { grant };
    let told = told(&grant);
    (grant.unless_outdated(told), told)
}
