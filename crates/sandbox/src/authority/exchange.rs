//! The three steps of an exchange: begun, judged, finished. Pure.

use std::time::Duration;

use super::{
    Authority, Delivery, ExchangeId, ExchangeRecord, FamilyId, GrantType, Life, Outcome, Pair, Presented, Refusal,
    TokenRequest, family::Kind,
};

impl Authority {
    /// An exchange arrives. It is counted, and judged only by [`Authority::rotate`].
    pub fn begin(&mut self, now: Duration, request: TokenRequest) -> ExchangeId {
        let id = ExchangeId(self.exchanges.len());
        let (text, kind) = (request.presented.text(), request.presented.kind());
        let token = self.tokens.get_mut(text).filter(|token| token.kind == kind);
        let mut record = ExchangeRecord {
            id,
            grant_type: match request.presented {
                Presented::RefreshToken(_) => GrantType::RefreshToken,
                Presented::Code { .. } => GrantType::AuthorizationCode,
            },
            connection: None,
            number: 1,
            family: None,
            token_number: None,
            fingerprint: fingerprint(text),
            presentation: 1,
            overlapped: false,
            replay: false,
            began_at: now,
            judged_at: None,
            finished_at: None,
            outcome: Outcome::NotJudged,
            answer: None,
        };
        if let Some(token) = token {
            token.presented += 1;
            record.presentation = token.presented;
            record.family = Some(token.family);
            record.token_number = Some(token.number);
            let spent_or_expired = token.spent || token.expires_at <= now;
            let family = token.family;
            self.enter(&mut record, family, spent_or_expired);
        } else {
            let presented = self.unknown.entry(text.to_owned()).or_default();
            *presented += 1;
            record.presentation = *presented;
        }
        self.exchanges.push(record);
        self.under_way.insert(id, request);
        id
    }

    /// Counts a beginning exchange of a known token.
    fn enter(&mut self, record: &mut ExchangeRecord, family: FamilyId, spent_or_expired: bool) {
        let Some(family) = self.families.get_mut(&family) else {
            return;
        };
        record.connection = Some(family.connection.clone());
        record.overlapped = family.under_way > 0;
        record.replay = spent_or_expired || family.life != Life::Alive;
        family.under_way += 1;
        let counters = &mut self.connections.entry(family.connection.clone()).or_default().counters;
        counters.exchanges += 1;
        counters.overlapping += u64::from(record.overlapped);
        counters.resent += u64::from(record.presentation > 1);
        counters.max_presented = counters.max_presented.max(record.presentation);
        counters.replays += u64::from(record.replay);
        counters.begins.push(record.began_at);
        record.number = counters.exchanges;
    }

    /// Judges an exchange: a new pair and the death of the old one, or a refusal.
    ///
    /// # Errors
    /// The rule that the exchange breaks.
    pub fn rotate(&mut self, now: Duration, id: ExchangeId) -> Result<Pair, Refusal> {
        let fresh = self.exchanges.get(id.0).is_some_and(|record| record.outcome == Outcome::NotJudged);
        let request = self.under_way.get(&id).filter(|_| fresh).cloned().ok_or(Refusal::AlreadyJudged)?;
        let result = self.judge(now, &request);
        let outcome = match &result {
            Ok(pair) => Outcome::Rotated { expires_in: pair.expires_in.as_secs() },
            Err(refusal) => Outcome::Refused(*refusal),
        };
        self.note_judgement(now, id, outcome);
        result
    }

    fn judge(&mut self, now: Duration, request: &TokenRequest) -> Result<Pair, Refusal> {
        let client = self.clients.get(&request.credentials.client_id).ok_or(Refusal::InvalidClient)?;
        if !client.accepts(&request.credentials) {
            return Err(Refusal::InvalidClient);
        }
        let token = self.tokens.get_mut(request.presented.text()).ok_or(Refusal::UnknownToken)?;
        let family = self.families.get_mut(&token.family).ok_or(Refusal::UnknownToken)?;
        if token.kind != request.presented.kind() {
            return Err(Refusal::UnknownToken);
        }
        if family.client_id != request.credentials.client_id {
            return Err(Refusal::ForeignToken);
        }
        if family.life != Life::Alive {
            return Err(Refusal::DeadFamily);
        }
        if token.spent || token.expires_at <= now {
            family.life = Life::KilledByReplay;
            let counters = &mut self.connections.entry(family.connection.clone()).or_default().counters;
            counters.families_killed += 1;
            return Err(if token.spent { Refusal::SpentToken } else { Refusal::ExpiredToken });
        }
        // A code has one try, be it a wrong one.
        token.spent = true;
        let id = token.family;
        if let Presented::Code { code, redirect_uri, verifier } = &request.presented {
            let issued_for = self.codes.get(code).ok_or(Refusal::UnknownToken)?;
            issued_for.check(redirect_uri, verifier)?;
        }
        self.renew(now, id)
    }

    /// Issues the next pair of a family, which takes the old pair's place.
    fn renew(&mut self, now: Duration, id: FamilyId) -> Result<Pair, Refusal> {
        let family = self.families.get(&id).ok_or(Refusal::UnknownToken)?;
        let number = family.token_number + 1;
        let lifetimes = self.lifetimes(&family.connection);
        let access_token = self.issue(Kind::Access, id, number, now.saturating_add(lifetimes.access));
        let refresh_token = self.issue(Kind::Refresh, id, number, now.saturating_add(lifetimes.refresh));
        if let Some(family) = self.families.get_mut(&id) {
            family.token_number = number;
            family.access = Some(access_token.clone());
            family.refresh.clone_from(&refresh_token);
        }
        Ok(Pair { access_token, refresh_token, expires_in: lifetimes.access })
    }

    fn note_judgement(&mut self, now: Duration, id: ExchangeId, outcome: Outcome) {
        let Some(record) = self.exchanges.get_mut(id.0) else {
            return;
        };
        record.outcome = outcome;
        record.judged_at = Some(now);
        // Spent by an overlapping exchange between its begin and its judgement: a replay as well.
        let late =
            matches!(outcome, Outcome::Refused(Refusal::SpentToken | Refusal::ExpiredToken | Refusal::DeadFamily))
                && !record.replay;
        record.replay |= late;
        let Some(connection) = record.connection.as_ref().and_then(|name| self.connections.get_mut(name)) else {
            return;
        };
        connection.counters.replays += u64::from(late);
        match outcome {
            Outcome::Rotated { .. } => connection.counters.rotations += 1,
            Outcome::Refused(_) => connection.counters.refusals += 1,
            Outcome::NotJudged => {}
        }
    }

    /// The server is done with an exchange and answers it, or hangs up.
    pub fn finish(&mut self, now: Duration, id: ExchangeId, answer: Delivery) {
        if self.under_way.remove(&id).is_none() {
            return;
        }
        let Some(record) = self.exchanges.get_mut(id.0) else {
            return;
        };
        record.finished_at = Some(now);
        record.answer = Some(answer);
        if let Some(family) = record.family.and_then(|id| self.families.get_mut(&id)) {
            family.under_way = family.under_way.saturating_sub(1);
        }
    }
}

/// FNV-1a: tells tokens apart, and tells nothing about them (they hold far more than 64 bits).
fn fingerprint(token: &str) -> String {
    let hash = token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
