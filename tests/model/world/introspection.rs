//! What `operator::steps::introspect` does about a token in doubt: the endpoint, which was proved, says the truth at one moment, and
//! what follows is written at a later one.

use pleo_operator::domain::{
    commit::settlement,
    ledger::{authentication::Experience, grant::Grant, introspection::KnownIntrospection},
    plan::{decide::Decision, introspection, next_refresh::Rotation},
    snapshot::{ClientSecretState, Snapshot},
    spec::IntrospectionUrl,
    token::{ClientCredentials, ClientSecret},
};

use crate::{
    protocol::World,
    world::{
        books::Mark,
        exchange::terms,
        shared::Shared,
        state::{Doing, Name, State, at},
        tokens::{Side, current},
    },
};

fn endpoint() -> IntrospectionUrl {
    serde_json::from_value("https://auth.pleo.io/oauth/token/introspect".into()).expect("a URL")
}

impl World {
    /// Whether the process would ask about the token that it is about to claim, and would be told that it is inactive.
    pub fn is_called_inactive(&self, state: &State, snapshot: &Snapshot, rotation: &Rotation) -> bool {
        let (Some(grant), ClientSecretState::Present(client)) = (snapshot.grant.ours(), &snapshot.client) else {
            return false;
        };
        let url = endpoint();
        let client = ClientCredentials { secret: Some(ClientSecret::new("secret")), ..client.clone() };
        let client_id = client.id_fingerprint();
        let known = KnownIntrospection { url: url.clone(), client_id, experience: Experience::Works };
        let proved = Grant { introspection: Some(known), ..grant.value.clone() };
        let asks = introspection::is_in_doubt(&proved, rotation.which, rotation.claim_unused, &url, &client);
        let Some(token) = current(&grant.value).filter(|_| asks && state.left.introspections > 0) else { return false };
        let family = &state.families[usize::from(token.family)];
        let server = grant.value.current.as_ref().map(|pair| Side::of(&pair.refresh.server));
        Some(family.home) == server && !(family.alive && family.current == token.number)
    }

    /// The token is not presented: that it is lost is to be written next.
    pub fn called_inactive(&self, state: &mut State, pod: usize) {
        let Doing::Decided(decided) = &state.pods[pod].doing else { return };
        let (snapshot, Decision::Rotate(rotation)) = <(Snapshot, Decision)>::clone(decided) else { return };
        let (Some(grant), ClientSecretState::Present(client)) = (snapshot.grant.ours(), &snapshot.client) else {
            return;
        };
        let process = &state.pods[pod];
        let name = Name { pod, process: process.process, number: process.attempts + 1 };
        let terms = terms(&snapshot, process.holder(pod), client, &grant.value, &rotation);
        let now = at(state.tick, self.scenario.skew[pod]);
        let Some(lost) = settlement::reject_unsent(&grant.value, &rotation, name.id(), now, terms) else { return };
        state.keep_books(|books| books.mark(Mark::NotPresented));
        let decided = (snapshot, Decision::DropAuthorizationCode(Box::new(lost)));
        state.change(pod, |pod| {
            pod.attempts = name.number;
            pod.doing = Doing::Decided(Shared::new(decided));
        });
    }
}
