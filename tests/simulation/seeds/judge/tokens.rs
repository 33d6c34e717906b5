//! Every write of an operator to the Secret that pods mount: what stands in it is what some committed grant holds, and never
//! an older one than before (I4).

use pleo_operator::api::names;

use super::Judge;
use crate::{apiserver::Change, seeds::stage::Stage, stage::world::decoded};

impl Judge {
    pub(super) fn token_changed(&mut self, stage: &Stage, change: &Change, writer: &str) {
        let Some(secret) = change.now.as_deref() else { return };
        let Some(name) = secret["metadata"]["labels"][names::CONNECTION_LABEL].as_str() else { return };
        let Some(access) = secret["data"]["access_token"].as_str().map(decoded) else { return };
        let Some(history) = self.histories.get_mut(name) else { return };
        let place = history.commits.iter().rposition(|commit| commit.access.as_ref() == Some(&access));
        let before = history.published;
        history.published = place.or(before);
        match place {
            None if change
                .last
                .as_ref()
                .is_some_and(|last| last["data"]["access_token"] == secret["data"]["access_token"]) => {}
            None => self.object(stage, format!("{name}: {writer} published a token that was never committed (I4)")),
            Some(place) if before.is_some_and(|before| place < before) => {
                self.object(stage, format!("{name}: {writer} published an older token than before (I4)"));
            }
            Some(_) => {}
        }
    }
}
