//! The history of authorizations, in the order in which users gave them: no token is adopted twice (I1), none is sent to a
//! server that it does not come from (I8), and of two that were accepted the newer one wins (I9).

use super::{
    adopted::Adopted,
    grant::{CandidateRecord, Grant, Which},
};
use crate::domain::{spec::TokenUrl, token::Fingerprint};

/// Where an authorization belongs. One that follows the spec to another server is older than those that were given there since it
/// came and wait to be proved. Those that were accepted there before have no working grant, or it would not follow; it goes after them.
fn place_for(consent: &Adopted, among: &[Adopted]) -> usize {
    let came = among.iter().position(|old| old.fingerprint == consent.fingerprint).unwrap_or(among.len());
    let proved = among.iter().rposition(|old| old.is_proved() && old.server == consent.server);
    let waits = |(_, old): &(usize, &Adopted)| {
        old.is_open() && old.server == consent.server && old.fingerprint != consent.fingerprint
    };
    let mut later = among.iter().enumerate().skip(came.max(proved.unwrap_or_default()));
    later.find(waits).map_or(among.len(), |(place, _)| place)
}

impl Grant {
    /// Whether a token from the initial grant is old news for this server: no token is adopted twice for one server and one
    /// client, and one that a server accepted, or may have, is that server's for good (I8). Only a candidate that was surely
    /// not used follows the spec to another server.
    pub fn knows(&self, fingerprint: &Fingerprint, server: &TokenUrl, client_id: Option<&Fingerprint>) -> bool {
        if self.live.as_ref().is_some_and(|live| live.record.fingerprint == *fingerprint) {
            return true;
        }
        let mut adopted = self.adopted.iter().filter(|old| old.fingerprint == *fingerprint).peekable();
        if adopted.peek().is_none() {
            // A token that came by rotation, and was rejected: it was copied.
            return self.refused.as_ref().is_some_and(|refused| refused.fingerprint == *fingerprint);
        }
        let candidate = self.candidate.as_ref().filter(|held| held.record.fingerprint == *fingerprint);
        let movable = candidate.is_some_and(|held| held.record.server != *server && !self.may_be_spent(&held.record));
        let is_old_here = |old: &Adopted| match old.refused {
            true => !old.may_be_tried_as(client_id),
            false => !movable,
        };
        adopted.any(|old| old.accepted_as.is_some() || old.in_doubt || old.server == *server && is_old_here(old))
            || candidate.is_some() && !movable
    }

    /// Whether this server refused a token from this client.
    pub fn was_rejected_from(&self, fingerprint: &Fingerprint, server: &TokenUrl, client_id: &Fingerprint) -> bool {
        self.adopted.iter().any(|old| old.is(fingerprint, server) && old.refused_as.contains(client_id))
    }

    /// A token may have been accepted for this client: from here on it belongs to it.
    pub fn bind(&mut self, which: Which, client_id: &Fingerprint) {
        let owner = match which {
            Which::Candidate => self.candidate.as_mut().map(|held| &mut held.record.client_id),
            Which::Live => self.live.as_mut().map(|held| &mut held.record.client_id),
            // Its own from the beginning.
            Which::Code => None,
        };
        if let Some(owner) = owner {
            owner.get_or_insert_with(|| client_id.clone());
        }
    }

    /// Whether the grant lives by an authorization that was given at this server after this token came.
    pub fn outdoes(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        let lives_there = self.live.as_ref().is_some_and(|live| live.record.server == *server);
        let mut since = self.adopted.iter().skip_while(|old| old.fingerprint != *fingerprint);
        lives_there && since.any(|old| old.fingerprint != *fingerprint && old.server == *server && old.is_proved())
    }

    /// Whether this authorization was accepted for another process, or a later one was. Where a backup was put back that does
    /// not know it, those came after it that were not known either when it was claimed.
    pub fn has_newer(&self, fingerprint: &Fingerprint, server: &TokenUrl, claimed: &Self) -> bool {
        let ours = self.adopted.iter().position(|old| old.is(fingerprint, server));
        let is_newer = |(place, other): (usize, &Adopted)| match ours {
            Some(ours) => place >= ours,
            None => !claimed.remembers(&other.fingerprint),
        };
        self.adopted.iter().enumerate().filter(|(_, old)| old.is_proved()).any(is_newer)
    }

    /// Whether the candidate is from an authorization before this one.
    pub fn candidate_is_older(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        let place = |of: &Fingerprint, at: &TokenUrl| self.adopted.iter().position(|old| old.is(of, at));
        let candidate = self.candidate.as_ref().and_then(|held| place(&held.record.fingerprint, &held.record.server));
        candidate.zip(place(fingerprint, server)).is_some_and(|(candidate, other)| candidate < other)
    }

    /// Notes an authorization, if it is not noted yet for this server. One that was refused from another client is open again.
    pub fn note_consent(&mut self, fingerprint: &Fingerprint, server: &TokenUrl) {
        if let Some(known) = self.adopted.iter_mut().find(|old| old.is(fingerprint, server)) {
            known.refused = false;
            return;
        }
        let consent = Adopted::new(fingerprint.clone(), server.clone());
        self.adopted.insert(place_for(&consent, &self.adopted), consent);
    }

    /// Notes a refusal, where a backup was put back that does not know this consent: it would be adopted and sent to this
    /// server again (I3). Whether there was such a thing.
    pub fn recall_as_refused(
        &mut self,
        fingerprint: &Fingerprint,
        server: &TokenUrl,
        client_id: &Fingerprint,
        claimed: &Self,
    ) -> bool {
        let is_held = self.holding(fingerprint).is_some();
        if let Some(known) = self.adopted.iter_mut().find(|old| old.is(fingerprint, server)) {
            // It may know of the refusals of other clients only.
            let is_news = !is_held && known.may_be_tried_as(Some(client_id));
            if is_news {
                known.refuse(client_id);
            }
            return is_news;
        }
        self.recall(claimed, fingerprint);
        self.adopted.iter_mut().filter(|old| old.is(fingerprint, server)).for_each(|old| old.refuse(client_id));
        true
    }

    /// Whether a server may have accepted the candidate.
    fn may_be_spent(&self, candidate: &CandidateRecord) -> bool {
        let claimed = self.claim.as_ref().is_some_and(|claim| claim.fingerprint == candidate.fingerprint);
        claimed || candidate.attempts.in_doubt
    }

    /// Takes the candidate out, because the server refused it from a client, or to make room. What is known of it stays.
    pub fn drop_candidate(&mut self, refused_as: Option<&Fingerprint>) {
        let Some(candidate) = self.candidate.take() else { return };
        let (record, in_doubt) = (&candidate.record, self.may_be_spent(&candidate.record));
        for old in self.adopted.iter_mut().filter(|old| old.is(&record.fingerprint, &record.server)) {
            old.in_doubt |= in_doubt;
            refused_as.into_iter().for_each(|client_id| old.refuse(client_id));
        }
    }

    /// Whether the last token that a server refused was the live one.
    pub fn lost_its_pair(&self) -> bool {
        let was_live = |old: &&Adopted| old.refused && old.accepted_as.is_some();
        let refused = self.refused.as_ref();
        refused.is_some_and(|refused| {
            self.adopted.iter().filter(was_live).any(|old| old.fingerprint == refused.fingerprint)
        })
    }

    /// Whether this token was ever held, for whatever server.
    pub fn remembers(&self, fingerprint: &Fingerprint) -> bool {
        self.holding(fingerprint).is_some()
            || self.adopted.iter().any(|old| old.fingerprint == *fingerprint)
            || self.refused.as_ref().is_some_and(|refused| refused.fingerprint == *fingerprint)
    }

    /// Takes up again what was known when this token was claimed, and what a backup that was put back since does not know:
    /// what servers have seen. (What they have not may be adopted once more.) The order of consents stays.
    pub fn recall(&mut self, claimed: &Self, sent: &Fingerprint) {
        let is_in = |all: &[Adopted], this: &Adopted| all.iter().any(|old| old.is(&this.fingerprint, &this.server));
        let was_seen = |old: &Adopted| old.fingerprint == *sent || !old.is_open() || old.in_doubt;
        if !claimed.adopted.iter().any(|old| was_seen(old) && !is_in(&self.adopted, old)) {
            return;
        }
        let mut adopted = claimed.adopted.clone();
        adopted.retain(|old| was_seen(old) || is_in(&self.adopted, old));
        for now in self.adopted.drain(..) {
            match adopted.iter_mut().find(|old| old.is(&now.fingerprint, &now.server)) {
                None => adopted.insert(place_for(&now, &adopted), now),
                Some(old) => {
                    old.accepted_as = now.accepted_as.max(old.accepted_as);
                    old.refused |= now.refused;
                    old.in_doubt |= now.in_doubt;
                    let more: Vec<_> = now.refused_as.into_iter().filter(|id| !old.refused_as.contains(id)).collect();
                    old.refused_as.extend(more);
                }
            }
        }
        self.adopted = adopted;
    }
}
