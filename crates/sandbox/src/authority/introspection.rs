//! Questions about tokens (RFC 7662), which use up nothing. Pure.

use super::{Authentication, Authority, Credentials, Refusal};
use std::time::Duration;

impl Authority {
    /// Whether a token is active (RFC 7662 section 2.2): only its own client learns that it is.
    ///
    /// # Errors
    /// If the client is not authenticated; only Basic does that.
    pub fn introspect(&self, now: Duration, credentials: &Credentials, token: &str) -> Result<bool, Refusal> {
        let client = self.clients.get(&credentials.client_id).ok_or(Refusal::InvalidClient)?;
        if credentials.authentication != Authentication::Basic || !client.has_secret(credentials) {
            return Err(Refusal::InvalidClient);
        }
        let family = self.tokens.get(token).and_then(|known| self.families.get(&known.family));
        let is_theirs = family.is_some_and(|family| family.client_id == credentials.client_id);
        let is_active = self.would_refresh(now, token) || self.check_access(now, token).is_ok();
        Ok(is_theirs && is_active)
    }

    /// Counts a question about a token, and returns the connection that the token was issued to.
    pub fn note_introspection(&mut self, token: &str) -> Option<String> {
        let family = self.families.get(&self.tokens.get(token)?.family)?;
        self.connections.entry(family.connection.clone()).or_default().counters.introspections += 1;
        Some(family.connection.clone())
    }
}
