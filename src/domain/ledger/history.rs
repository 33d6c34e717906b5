//! The history of authorizations, in the order in which users gave them: no token is adopted twice (I1), none is sent to a
//! server that it does not come from (I8), and of two that were accepted the newer one wins (I9).

use super::{
    grant::{Grant, Which},
    held::StoredToken,
    known_token::{KnownToken, Verdict},
};
use crate::domain::{spec::TokenUrl, token::Fingerprint};

/// Where an authorization belongs. One that follows the spec to another server is older than those that were given there since it
/// came and wait to be accepted. Those that were accepted there before have no working grant, or it would not follow; it goes after them.
fn place_for(token: &KnownToken, among: &[KnownToken]) -> usize {
    let came = among.iter().position(|old| old.fingerprint == token.fingerprint).unwrap_or(among.len());
    let proved = among.iter().rposition(|old| old.is_accepted() && old.server == token.server);
    let waits = |(_, old): &(usize, &KnownToken)| {
        old.is_undecided() && old.server == token.server && old.fingerprint != token.fingerprint
    };
    let mut later = among.iter().enumerate().skip(came.max(proved.unwrap_or_default()));
    later.find(waits).map_or(among.len(), |(place, _)| place)
}

impl Grant {
    /// Whether a token from the initial grant is old news for this server: no token is adopted twice for one server and one
    /// client, and one that a server accepted, or may have, is that server's for good (I8). Only a candidate that was surely
    /// not used follows the spec to another server.
    pub fn knows(&self, fingerprint: &Fingerprint, server: &TokenUrl, client_id: Option<&Fingerprint>) -> bool {
        if self.current.as_ref().is_some_and(|pair| pair.refresh.fingerprint == *fingerprint) {
            return true;
        }
        let mut known = self.history.iter().filter(|old| old.fingerprint == *fingerprint).peekable();
        if known.peek().is_none() {
            // A token that came by rotation, and was rejected: it was copied.
            return self.last_rejection.as_ref().is_some_and(|rejection| rejection.fingerprint == *fingerprint);
        }
        let candidate = self.candidate.as_ref().filter(|held| held.fingerprint == *fingerprint);
        let movable = candidate.is_some_and(|held| held.server != *server && !self.may_be_used(held));
        let is_old_here = |old: &KnownToken| match old.verdict {
            Verdict::Rejected => !old.may_be_tried_as(client_id),
            _ => !movable,
        };
        known.any(|old| old.is_bound() || old.server == *server && is_old_here(old)) || candidate.is_some() && !movable
    }

    /// Whether this server rejected a token from this client.
    pub fn was_rejected_from(&self, fingerprint: &Fingerprint, server: &TokenUrl, client_id: &Fingerprint) -> bool {
        self.history.iter().any(|old| old.is(fingerprint, server) && old.is_rejected_from(client_id))
    }

    /// A token may have been accepted for this client: from here on it belongs to it.
    pub fn bind(&mut self, which: Which, client_id: &Fingerprint) {
        let owner = match which {
            Which::Candidate => self.candidate.as_mut().map(|held| &mut held.client_id),
            Which::Current => self.current.as_mut().map(|pair| &mut pair.refresh.client_id),
            // Its own from the beginning.
            Which::Code => None,
        };
        if let Some(owner) = owner {
            owner.get_or_insert_with(|| client_id.clone());
        }
    }

    /// Whether the grant lives by an authorization that was given at this server after this token came.
    pub fn has_newer_pair_than(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        let lives_there = self.current.as_ref().is_some_and(|pair| pair.refresh.server == *server);
        let mut since = self.history.iter().skip_while(|old| old.fingerprint != *fingerprint);
        lives_there && since.any(|old| old.fingerprint != *fingerprint && old.server == *server && old.is_accepted())
    }

    /// Whether this authorization was accepted for another process, or a later one was. Where a backup was put back that does
    /// not know it, those came after it that were not known either when it was claimed.
    pub fn has_newer(&self, fingerprint: &Fingerprint, server: &TokenUrl, claimed: &Self) -> bool {
        let ours = self.history.iter().position(|old| old.is(fingerprint, server));
        let is_newer = |(place, other): (usize, &KnownToken)| match ours {
            Some(ours) => place >= ours,
            None => !claimed.has_seen(&other.fingerprint),
        };
        self.history.iter().enumerate().filter(|(_, old)| old.is_accepted()).any(is_newer)
    }

    /// Whether the candidate is from an authorization before this one.
    pub fn candidate_is_older(&self, fingerprint: &Fingerprint, server: &TokenUrl) -> bool {
        let place = |of: &Fingerprint, at: &TokenUrl| self.history.iter().position(|old| old.is(of, at));
        let candidate = self.candidate.as_ref().and_then(|held| place(&held.fingerprint, &held.server));
        candidate.zip(place(fingerprint, server)).is_some_and(|(candidate, other)| candidate < other)
    }

    /// Notes an authorization, if it is not noted yet for this server. One that was rejected from another client is open again.
    pub fn note_authorization(&mut self, fingerprint: &Fingerprint, server: &TokenUrl) {
        if let Some(known) = self.history.iter_mut().find(|old| old.is(fingerprint, server)) {
            if known.verdict == Verdict::Rejected {
                known.verdict = Verdict::Pending;
            }
            return;
        }
        let token = KnownToken::new(fingerprint.clone(), server.clone());
        self.history.insert(place_for(&token, &self.history), token);
    }

    /// Notes a rejection, where a backup was put back that does not know this authorization: it would be adopted and sent to this
    /// server again (I3). Whether there was such a thing.
    pub fn restore_as_rejected(
        &mut self,
        fingerprint: &Fingerprint,
        server: &TokenUrl,
        client_id: &Fingerprint,
        claimed: &Self,
    ) -> bool {
        let is_held = self.holding(fingerprint).is_some();
        if let Some(known) = self.history.iter_mut().find(|old| old.is(fingerprint, server)) {
            // It may know of the rejections from other clients only.
            let is_news = !is_held && known.may_be_tried_as(Some(client_id));
            if is_news {
                known.reject_from(client_id);
            }
            return is_news;
        }
        self.restore_history(claimed, fingerprint);
        self.history.iter_mut().filter(|old| old.is(fingerprint, server)).for_each(|old| old.reject_from(client_id));
        true
    }

    /// Whether a server may have accepted the candidate.
    fn may_be_used(&self, candidate: &StoredToken) -> bool {
        let claimed = self.claim.as_ref().is_some_and(|claim| claim.fingerprint == candidate.fingerprint);
        claimed || candidate.attempts.outcome_unknown
    }

    /// Takes the candidate out, because the server rejected it from a client, or to make room. What is known of it stays.
    pub fn drop_candidate(&mut self, rejected_from: Option<&Fingerprint>) {
        let Some(candidate) = self.candidate.take() else { return };
        let may_be_used = self.may_be_used(&candidate);
        for old in self.history.iter_mut().filter(|old| old.is(&candidate.fingerprint, &candidate.server)) {
            if may_be_used {
                old.note(Verdict::OutcomeUnknown);
            }
            rejected_from.into_iter().for_each(|client_id| old.reject_from(client_id));
        }
    }

    /// Whether the last token that a server rejected was that of the current pair.
    pub fn lost_its_pair(&self) -> bool {
        let rotated_out = |old: &&KnownToken| old.verdict == Verdict::RejectedAfterUse;
        self.last_rejection.as_ref().is_some_and(|rejection| {
            self.history.iter().filter(rotated_out).any(|old| old.fingerprint == rejection.fingerprint)
        })
    }

    /// Whether this token was ever held, for whatever server.
    pub fn has_seen(&self, fingerprint: &Fingerprint) -> bool {
        self.holding(fingerprint).is_some()
            || self.history.iter().any(|old| old.fingerprint == *fingerprint)
            || self.last_rejection.as_ref().is_some_and(|rejection| rejection.fingerprint == *fingerprint)
    }

    /// Takes up again what was known when this token was claimed, and what a backup that was put back since does not know:
    /// what servers have seen. (What they have not may be adopted once more.) The order of authorizations stays.
    pub fn restore_history(&mut self, claimed: &Self, sent: &Fingerprint) {
        let is_in =
            |all: &[KnownToken], this: &KnownToken| all.iter().any(|old| old.is(&this.fingerprint, &this.server));
        let was_seen = |old: &KnownToken| {
            old.fingerprint == *sent || old.verdict != Verdict::Pending || !old.rejected_from.is_empty()
        };
        if !claimed.history.iter().any(|old| was_seen(old) && !is_in(&self.history, old)) {
            for old in &claimed.history {
                let same = |now: &&mut KnownToken| now.is(&old.fingerprint, &old.server) && old.says_more_than(now);
                self.history.iter_mut().filter(same).for_each(|now| now.merge(old.clone()));
            }
            return;
        }
        let mut history = claimed.history.clone();
        history.retain(|old| was_seen(old) || is_in(&self.history, old));
        for now in self.history.drain(..) {
            match history.iter_mut().find(|old| old.is(&now.fingerprint, &now.server)) {
                None => history.insert(place_for(&now, &history), now),
                Some(old) => old.merge(now),
            }
        }
        self.history = history;
    }
}
