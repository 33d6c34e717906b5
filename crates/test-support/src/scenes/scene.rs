//! One connection, and what was seen of it, step by step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use pleo_operator::{
    api::Authentication,
    domain::{
        ledger::{
            grant::{Grant, RejectionReason, Which},
            held::Attempts,
        },
        plan::projection,
        snapshot::{
            ClaimOwner, ClientSecretState, Deferred, GrantSecret, InitialGrant, InitialToken, LastReported,
            LocalObservations, Sharing, Snapshot, TokenSecret, Versioned, repair::Repairs,
        },
        spec::{InitialGrantRef, ResolvedSpec, TokenUrl},
        token::RefreshToken,
    },
};

use super::builders::*;

/// One connection, and a world in which its decisions come true.
#[derive(Clone, Debug)]
pub struct Scene {
    pub snapshot: Snapshot,
    pub now: Timestamp,
    /// Every token that was sent, with its server.
    pub sent: Vec<(String, TokenUrl)>,
    /// Everything that was done, by name.
    pub done: Vec<&'static str>,
    pub(super) attempts: u32,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// At noon: a connection `acme` with a client, an empty Secret `acme-grant` for the first token, and nothing of ours.
    pub fn new() -> Self {
        let spec = ResolvedSpec {
            uid: UID.into(),
            namespace: "finance".into(),
            name: "acme".into(),
            generation: 1,
            deleting: false,
            server: Ok(server(PRODUCTION)),
            authentication: Authentication::Body,
            client_secret_name: "pleo-client".into(),
            scopes: Vec::new(),
            initial_grant: Some(InitialGrantRef {
                secret: "acme-grant".into(),
                key: "refresh_token".into(),
                keep: false,
            }),
            secret_name: "acme-token".into(),
            secret_labels: BTreeMap::new(),
            secret_annotations: BTreeMap::new(),
            refresh_before: None,
            retry_timeout: secs(72 * 3600),
            suspend: false,
            refresh_request: None,
            restart_targets: BTreeSet::new(),
        };
        let snapshot = Snapshot {
            spec,
            client: ClientSecretState::Present(client("acme-client")),
            initial: InitialGrant::Missing("the Secret acme-grant has no key refresh_token".into()),
            grant: GrantSecret::Absent,
            token: TokenSecret::Absent,
            retired: None,
            reported: LastReported::default(),
            links: None,
            deferred: Deferred::default(),
            local: LocalObservations::default(),
            repairs: Repairs::default(),
        };
        Self { snapshot, now: at(0), sent: Vec::new(), done: Vec::new(), attempts: 0 }
    }

    /// A connection in the best of health: `refresh-7` was issued at noon for 15 minutes, and pods have `access-7`.
    pub fn living() -> Self {
        let mut grant = Grant::new(UID, 7);
        grant.current = Some(current("refresh-7", PRODUCTION, at(0), secs(900)));
        grant.last_sent_at = Some(at(0));
        Self::new().holding(grant).published()
    }

    /// A connection whose first token, `consent-1`, was just adopted and not yet sent.
    pub fn adopted() -> Self {
        let mut grant = Grant::new(UID, 0);
        grant.candidate = Some(candidate("consent-1", PRODUCTION));
        grant.history = vec![known("consent-1", PRODUCTION)];
        Self::new().consent("consent-1").holding(grant).published()
    }

    /// A connection whose grant was refused at noon and wiped.
    pub fn dead(reason: RejectionReason) -> Self {
        let mut grant = Grant::new(UID, 7);
        grant.last_rejection = Some(rejection("refresh-7", reason));
        Self::new().holding(grant).published()
    }

    pub fn holding(mut self, grant: Grant) -> Self {
        self.snapshot.grant = GrantSecret::Ours(Versioned { value: grant, version: "1".into() });
        self
    }

    pub fn with_spec(mut self, change: impl FnOnce(&mut ResolvedSpec)) -> Self {
        change(&mut self.snapshot.spec);
        self
    }

    pub fn seeing(mut self, change: impl FnOnce(&mut Snapshot)) -> Self {
        change(&mut self.snapshot);
        self
    }

    pub fn with_grant(mut self, change: impl FnOnce(&mut Grant)) -> Self {
        change(self.grant_mut());
        self
    }

    pub fn with_current_tried(self, change: impl FnOnce(&mut Attempts)) -> Self {
        self.with_grant(|grant| change(grant.attempts_mut(Which::Current).expect("a current pair")))
    }

    pub fn with_candidate_tried(self, change: impl FnOnce(&mut Attempts)) -> Self {
        self.with_grant(|grant| change(grant.attempts_mut(Which::Candidate).expect("a candidate")))
    }

    /// Another client stands in the client Secret.
    pub fn client(mut self, id: &str) -> Self {
        self.snapshot.client = ClientSecretState::Present(client(id));
        self
    }

    /// A user puts a refresh token into the initial grant.
    pub fn consent(mut self, token: &str) -> Self {
        let token = RefreshToken::new(token);
        self.snapshot.initial = InitialGrant::Present(InitialToken {
            fingerprint: token.fingerprint(),
            token,
            version: "initial-1".into(),
            copied: false,
            sharing: Sharing::Alone,
        });
        self
    }

    /// A claim on a token stands there, seen for so long.
    pub fn with_claim(mut self, token: &str, started_at: Timestamp, whose: ClaimOwner, seen_for: u64) -> Self {
        self.grant_mut().claim = Some(claim_of(token, started_at));
        self.snapshot.local = LocalObservations {
            claim_owner: Some(whose),
            claim_seen_for: secs(seen_for),
            ..LocalObservations::default()
        };
        self
    }

    /// The token Secret says what the grant says.
    pub fn published(mut self) -> Self {
        let content = projection::desired(&self.snapshot, self.now).expect("a grant that may be published");
        self.publish(&content);
        self
    }

    /// So many seconds after noon; what was seen has been seen for that much longer.
    pub fn at(mut self, seconds: i64) -> Self {
        self.go_to(at(seconds));
        self
    }

    pub fn go_to(&mut self, time: Timestamp) {
        let passed = Duration::try_from(time.duration_since(self.now)).unwrap_or_default();
        self.snapshot.local.claim_seen_for += passed;
        self.snapshot.local.candidate_failure_seen_for += passed;
        self.snapshot.local.current_failure_seen_for += passed;
        if self.snapshot.grant.ours().is_some_and(|grant| grant.value.by_link.code.is_some()) {
            self.snapshot.local.code_seen_for += passed;
        }
        self.now = time;
    }
}
