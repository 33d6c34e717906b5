//! # pleo-operator: refresh in one place, once, and never lose the response
//!
//! Pleo gives integrations OAuth 2.0 tokens. Using a refresh token invalidates every earlier token at once and issues a new
//! pair; presenting an old one can revoke the whole authorization, and then a user must authorize again. So a refresh must
//! happen in one place, once, before expiry, and its response must never be lost. This crate is that place.
//!
//! ## The story of a token
//!
//! A user declares a [`PleoConnection`](api::PleoConnection) and puts the first refresh token, which their authorization
//! returned, into a Secret. A watch event, or its time, puts the connection into a queue ([`domain::queue`]), and once it is its turn,
//! [`operator::reconcile::reconcile`] is called:
//!
//! ```text
//! connection + Secrets ── observe ──> Snapshot ── decide(now) ──> Decision ── rotate / apply ──> Outcome
//!                                                                                                │
//!                        status, events, requeue time <────────── report(now) <──────────────────┘
//! ```
//!
//! 1. **Observe.** [`operator::steps::observe`] reads the token Secret, the grant Secret, the connection and the user's Secrets, live,
//!    into one value: a [`domain::snapshot::Snapshot`].
//! 2. **Decide.** [`domain::plan::decide::decide`] makes one decision. First the token Secret is created, still without a token, so that
//!    a missing right shows before a token is used. Then the refresh token is *adopted* ([`domain::plan::adoption`]): it
//!    becomes the *candidate* in the grant Secret, a private object that also has the *ledger* of all that was tried. No token
//!    is adopted twice for one server and client, and the newest accepted authorization wins ([`domain::ledger::history`]).
//! 3. **Rotate.** [`operator::steps::rotate`] is the central step. It **claims** the token by compare-and-swap on the grant Secret;
//!    checks again that it may still send, once the connection to the server is established ([`pleo`]); **sends** the token,
//!    once; and **commits** the new pair, in one write, however long that takes. A failure is recorded instead, by what it
//!    means for the token ([`domain::failure`], [`domain::commit`]), and for other connections to that server ([`domain::governor`]). A token that an earlier request may have used is first
//!    asked about, where the server has an introspection endpoint ([`operator::steps::introspect`]).
//! 4. **Apply.** [`operator::steps::apply`] writes the token Secret, the one that pods mount: the access token, its expiry, and
//!    a state. The used token is removed from where the user had put it. Then [`operator::steps::pods`] notifies the pods that
//!    ask for it, so that the kubelet updates the file at once; programs that cannot read it again are restarted
//!    ([`domain::plan::restarts`]).
//! 5. **Report.** [`domain::report::status`] says in conditions what the state is, the cause of a problem and its remediation;
//!    and [`domain::plan::schedule`] says when to reconcile again: as late as is safe, because a rotation invalidates the
//!    token that pods have.
//!
//! An application that does not want to handle tokens calls the API through [`proxy`], which mounts the token Secret in its place:
//! calls wait while the token is refreshed ([`domain::proxy`]). A client whose token the API rejects before its time reports that to
//! [`reports`], and the token is refreshed early ([`domain::plan::rejection_report`]).
//!
//! When a grant was rejected, a user must authorize again. A link in the status leads to [`web`]: a few pages on the way to
//! the authorization server and back. The authorization code that comes back is written into the grant Secret
//! ([`domain::plan::link`]), and from there it is treated like a refresh token: claimed, sent once, committed.
//!
//! ## The modules
//!
//! Imports only run downwards, between modules and between files; a test keeps it so.
//!
//! | module | what it is | what it may touch |
//! |---|---|---|
//! | [`plugin`] | `kubectl pleo`, a program of its own | the modules below but `operator`, `notify` and `telemetry` |
//! | [`proxy`] | `pleo-operator proxy`: forwards an application's calls to the API with the current token | its ports, the token folder, HTTPS |
//! | [`web`] | the authorization pages | its port, `cluster` |
//! | [`reports`] | takes clients' reports that the API rejects a token | its port, `cluster` |
//! | [`operator`] | joins the rest: watches, steps, leader election, drain | the modules below |
//! | [`cluster`] | reads and writes of the API server | Kubernetes |
//! | [`pleo`] | all that talks to Pleo's authorization server | HTTPS |
//! | [`notify`] | notifies a webhook when a user must authorize | one URL |
//! | [`telemetry`] | metrics, logs, the admin endpoint | its port |
//! | [`tls`] | which servers are trusted | the system's certificates |
//! | [`ports`] | serves HTTP with limits | the ports that it is given |
//! | [`domain`] | the rules, as functions of values | nothing: no client, clock, randomness or async |
//! | [`api`] | what users see: resource, conditions, names | nothing |
//! | [`clock`] | the only reader of wall time | the clock |
//!
//! [`cli`] and the program join them into a process.
//!
//! ## The invariants
//!
//! Tests name the one that they check. (Numbers like T3 or X5 are requirements, in `docs/requirements.md`.)
//!
//! - **I1** At most one token request is in flight per rotation, and no refresh token is sent twice, except the bounded
//!   retries of an attempt that certainly did not use it, or whose outcome is unknown; and once more in the same attempt, by the
//!   other authentication method, if the server certainly did not authenticate the client.
//! - **I2** A pair that was received is committed, or the process ended between the two, or a newer authorization had replaced
//!   its grant.
//! - **I3** After a recorded rejection that token is never sent again, and nothing is sent until there is another token. (A
//!   candidate that the wrong server rejected outright, or from the wrong client, may be tried once where, or as whom, the
//!   spec and the client Secret say then.)
//! - **I4** The token Secret always equals some committed grant, and in time the latest; it never goes back; after a terminal
//!   failure it has no token. (What another program wrote over it is repaired at once, or after minutes if that program keeps
//!   doing it.)
//! - **I5** No secret leaves by log, error, event, status, metric or debug print.
//! - **I6** Idle is quiet: nothing due means no write at all, and no reconciliation is later than the refresh time.
//!   (A server that does not answer, or rejects token after token, gets one request at a time: [`domain::governor`].)
//! - **I7** With a healthy server, `Ready` comes back automatically wherever no user is needed.
//! - **I8** A refresh token is only ever sent to the server that issued it, and by the client it was issued to. (Of a token that a
//!   user supplied, that is the server that accepted it, or may have; until one has, the spec says where it is tried.)
//! - **I9** A working grant is never given up for one that was not accepted.
//!
//! ## What enforces the rules
//!
//! `kubectl pleo connect` exchanges a code itself that it alone has; everything else goes through *Rotate*.
//!
//! A token cannot be printed ([`domain::token::Opaque`]) and is wiped when dropped. A used token cannot be sent: sending
//! moves it ([`pleo::TokenRequest`]). An outcome must be handled ([`domain::failure::Outcome`]), and the result of an attempt
//! stored ([`domain::commit::settlement::Settlement`]). All writes of our Secrets are compare-and-swaps
//! ([`cluster::secrets`]), and leader election only keeps the other replicas quiet ([`cluster::lease`]): the claim is the
//! fence.

#![forbid(unsafe_code)]
// What ends a program in the middle of a token's life, or changes a number unseen. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod domain;
pub mod notify;
pub mod operator;
pub mod pleo;
pub mod plugin;
pub mod ports;
pub mod proxy;
pub mod reports;
pub mod telemetry;
pub mod tls;
pub mod web;
