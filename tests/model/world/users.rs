//! What humans and their tools do to a connection: consent, put old tokens back, edit the spec, delete the grant, bring a
//! backup of it back.

use pleo_operator::domain::ledger::{grant::Grant, rejection_report::RejectionReport};

use crate::world::{
    books::Known,
    state::{Name, State, Stored, at},
    tokens::{self, Token},
};

/// A deed of a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Consents, and puts the token into the initial grant.
    Consent,
    /// Consents by the link, and comes back with a code.
    ConsentByLink,
    /// Consents, with a token that is revoked already.
    BadConsent,
    /// Puts the token of an earlier consent there again, as a GitOps tool does.
    PutBack(u8),
    /// Revokes an authorization at the server.
    Revoke(u8),
    /// Points the connection at the other server.
    SwitchServer,
    /// Puts another client into the client Secret, or the first one back.
    SwitchClient,
    /// Suspends the connection, or resumes it.
    Suspend,
    /// Deletes the grant Secret.
    DeleteGrant,
    /// A client reports that the API rejects the access token: any replica notes it, at any moment.
    Report,
    /// Overwrites the grant with one that it was before.
    Restore(u8),
}

/// As `plan::rejection_report` has it, but for how old the token is.
fn is_reportable(grant: &Grant) -> bool {
    let is_new = grant.rejection_report.as_ref().is_none_or(|report| report.rotation != grant.rotation);
    grant.current.is_some() && grant.claim.is_none() && is_new
}

impl State {
    /// What a human may do now.
    pub fn deeds(&self) -> Vec<Deed> {
        let left = &self.left;
        let mut deeds = Vec::new();
        let mut may = |budget: u8, deed| deeds.extend((budget > 0).then_some(deed));
        may(left.consents, Deed::Consent);
        may(left.bad_consents, Deed::BadConsent);
        may(left.switches, Deed::SwitchServer);
        may(left.client_switches, Deed::SwitchClient);
        may(left.suspensions, Deed::Suspend);
        // Before a page takes a code in, it looks whether the grant was put back.
        let is_invited =
            |grant: &&Stored<Grant>| grant.value.by_link.link.is_some() && !self.told().outdates(&grant.value);
        if self.grant.as_ref().filter(is_invited).is_some() {
            may(left.visits, Deed::ConsentByLink);
        }
        if self.grant.as_ref().is_some_and(|grant| is_reportable(&grant.value)) {
            may(left.reports, Deed::Report);
        }
        if self.grant.is_some() {
            may(left.deletions, Deed::DeleteGrant);
        }
        for (family, index) in self.families.iter().zip(0_u8..) {
            if self.initial.token != Some(Token::consent(index)) {
                may(left.put_backs, Deed::PutBack(index));
            }
            if family.alive {
                may(left.revocations, Deed::Revoke(index));
            }
        }
        let standing = self.grant.as_ref().map(|grant| &grant.value);
        for (backup, index) in self.books.backups.iter().zip(0_u8..) {
            if Some(backup) != standing {
                may(left.restores, Deed::Restore(index));
            }
        }
        deeds
    }

    pub fn does(&mut self, deed: Deed) {
        let left = &mut self.left;
        match deed {
            Deed::Consent => {
                left.consents -= 1;
                self.consent(true);
            }
            Deed::ConsentByLink => {
                left.visits -= 1;
                self.consent_by_link();
            }
            Deed::BadConsent => {
                left.bad_consents -= 1;
                self.consent(false);
            }
            Deed::PutBack(family) => {
                left.put_backs -= 1;
                self.put_initial(Some(Token::consent(family)));
                self.name_server();
            }
            Deed::Revoke(family) => {
                left.revocations -= 1;
                self.families[usize::from(family)].alive = false;
            }
            Deed::SwitchServer => {
                left.switches -= 1;
                self.spec.server = self.spec.server.other();
                self.spec.generation += 1;
                self.name_server();
            }
            Deed::SwitchClient => {
                left.client_switches -= 1;
                self.client = self.client.other();
            }
            Deed::Suspend => {
                left.suspensions -= 1;
                self.spec.suspended = !self.spec.suspended;
                self.spec.generation += 1;
            }
            Deed::DeleteGrant => {
                left.deletions -= 1;
                self.grant = None;
                self.late.retain(|late| late.replaces.is_none());
                self.forgive(|_| false);
            }
            Deed::Report => {
                left.reports -= 1;
                self.report();
            }
            Deed::Restore(index) => self.restore(usize::from(index)),
        }
    }

    fn report(&mut self) {
        let Some(stored) = &self.grant else { return };
        let grant = Grant::clone(&stored.value);
        let report = RejectionReport { rotation: grant.rotation, due_at: at(self.tick, 0), is_refuted: false };
        self.put_grant(Grant { rejection_report: Some(report), ..grant });
    }

    /// A token that stands in the initial grant, or waits beside the current pair, goes where the spec points.
    fn name_server(&mut self) {
        let waiting = self.grant.as_ref().and_then(|grant| tokens::candidate(&grant.value));
        for token in [self.initial.token, waiting].into_iter().flatten() {
            let server = self.spec.server as usize;
            self.family(token).named[server] = true;
        }
    }

    /// A backup that is older than what the status tells of is known as such, and costs only what it does not know. Of
    /// another nobody can tell that it is old; nor of what it holds unproved, if a pair comes late and is stored into it. A
    /// code counts as never sent then: who did not send it can only know that it is old, and a human was quick.
    fn restore(&mut self, index: usize) {
        self.left.restores -= 1;
        let backup = self.books.backups[index].clone();
        let is_known_as_old = self.told().outdates(&backup);
        self.put_grant(Grant::clone(&backup));
        let unproved = [tokens::candidate(&backup), tokens::code(&backup)];
        self.forgive(|token| {
            let is_known = is_known_as_old && backup.has_seen(&token.refresh().fingerprint());
            is_known && !unproved.contains(&Some(token))
        });
        self.keep_books(|books| books.presented.retain(|before| tokens::code(&backup) != Some(before.token)));
        self.keep_books(|books| books.is_rolled_back |= !is_known_as_old);
    }

    /// The ledger is gone, and what it knew with it: what was proved may be lost, and what was spent may be sent again,
    /// unless it is remembered.
    fn forgive(&mut self, is_remembered: impl Fn(Token) -> bool) {
        for (family, index) in self.families.iter_mut().zip(0_u8..) {
            let known = (0..=family.current).map(|number| Token { family: index, number });
            let alive = Token { family: index, number: family.current };
            family.excused |= !known.clone().any(&is_remembered) || family.current > 0 && !is_remembered(alive);
        }
        // Who has claimed goes on, and nobody else can know.
        let jobs = self.pods.iter().filter_map(|pod| pod.doing.job()).map(|job| (job.name, job.token));
        let jobs: Vec<(Name, Token)> = jobs.collect();
        for (_, token) in &jobs {
            self.family(*token).excused = true;
        }
        self.keep_books(|books| {
            books.is_meddled_with = true;
            books.bereft = jobs.into_iter().map(|(name, _)| name).collect();
            books.refused.retain(|(token, ..)| is_remembered(*token));
            for presented in books.presented.iter_mut().filter(|presented| !is_remembered(presented.token)) {
                presented.known = Known::May;
            }
        });
    }
}
