//! What is known about a server's introspection endpoint, for one client (RFC 7662).

use serde::{Deserialize, Serialize};

use crate::domain::{ledger::authentication::Experience, spec::IntrospectionUrl, token::Fingerprint};

/// Whether an endpoint says the truth to this client. RFC 7662 section 2.2 lets it call a token inactive for one who may not ask,
/// so that only an endpoint that called a new token active is believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownIntrospection {
    pub url: IntrospectionUrl,
    pub client_id: Fingerprint,
    /// Rejected: it called a token that had just been issued inactive, or refused to answer.
    pub experience: Experience,
}
