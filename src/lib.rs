//! # pleo-operator: one place that refreshes, once, and never loses the answer
//!
//! Pleo gives integrations OAuth 2.0 tokens. Using a refresh token kills every earlier token at once and hands out a new
//! pair; presenting a dead one can kill the whole authorization, and then a human must consent again. So a refresh must
//! happen in one place, once, before expiry, and its answer must never be lost. This crate is that place.
//!
//! ## The story of a token
//!
//! A user declares a [`PleoConnection`](api::PleoConnection) and puts the first refresh token, from a human's consent,
//! into a Secret. A watch event wakes [`operator::reconcile::pass`], and this is what happens:
//!
//! ```text
//! connection + Secrets ── observe ──> Observed ── decide(now) ──> Decision ── rotate / apply ──> Outcome
//!                                                                                                 │
//!                         status, events, requeue time <────────── report(now) <──────────────────┘
//! ```
//!
//! 1. [`operator::steps::observe`] reads the token Secret, the grant Secret and the connection, live, into one value:
//!    [`domain::snapshot::Snapshot`].
//! 2. [`domain::plan::decide::decide`] makes one decision of it. First the token Secret is created, still empty, so that a
//!    missing right shows before anything is spent. Then the token is *adopted* ([`domain::plan::adoption`]): it becomes the
//!    *candidate* in the grant Secret, a private object that also holds the *ledger* of all that was tried. No token is
//!    taken twice for one server and client, and the newest consent that is proved wins ([`domain::ledger::consents`]).
//! 3. [`operator::steps::rotate`] is the heart. It **claims** the token by compare-and-swap on the grant Secret; asks once more
//!    whether it may still send, when the connection to the server stands ([`pleo`]); sends it, once; and **commits** the
//!    new pair, in one write, however long that takes. A failure is written down instead, by what it means for the token
//!    ([`domain::failure`], [`domain::commit::settlement::settle`]).
//! 4. [`operator::steps::apply`] writes the token Secret, the one that pods mount: the access token, its end, and a state. The
//!    spent token is removed where the user had put it. Then [`operator::steps::pods`] tells the pods that ask for it, so that
//!    the kubelet brings the file at once; programs that cannot read it again are restarted ([`domain::plan::restarts`]).
//! 5. [`domain::report::status`] says in three conditions what is, what is wrong, and what brings it back; and
//!    [`domain::plan::schedule`] says when to wake up again: as late as is safe, for a rotation kills the token in the pods' hands.
//!
//! When the grant is dead, a human is needed. A link in the status leads to [`web`]: a few pages on the way to the
//! authorization server and back. The code that comes back is written into the grant Secret ([`domain::plan::link`]), and from there
//! on it is a token like any other: claimed, sent once, committed.
//!
//! ## The rooms
//!
//! Imports only run downwards; a test keeps it so.
//!
//! | room | what it is | what it may touch |
//! |---|---|---|
//! | [`plugin`] | `kubectl pleo`, a program of its own | the rooms below but `operator`, `notify` and `telemetry` |
//! | [`web`] | the pages to consent on | its port, `cluster` |
//! | [`operator`] | joins the rest: wake-ups, steps, terms of leadership, drain | the rooms below |
//! | [`cluster`] | all that talks to the API server | Kubernetes |
//! | [`pleo`] | all that talks to Pleo's authorization server | HTTPS |
//! | [`notify`] | tells others by webhook that a human is needed | one URL |
//! | [`telemetry`] | metrics, logs, the admin endpoint | its port |
//! | [`domain`] | the rules, as functions of values | nothing: no client, clock, randomness or async |
//! | [`api`] | what users see: resource, conditions, names | nothing |
//! | [`clock`] | the only reader of wall time | the clock |
//!
//! [`cli`] and the program join them into a process.
//!
//! ## The invariants
//!
//! Tests name the one that they hold. (Numbers like T3 or X5 are requirements, in `docs/requirements.md`.)
//!
//! - **I1** At most one exchange is in flight per rotation, and no refresh token is sent twice, except the bounded retries
//!   of an attempt that was certainly not sent, or whose outcome is unknown.
//! - **I2** A pair that was received is committed, or the process died between the two, or a newer consent had replaced its
//!   grant.
//! - **I3** After a recorded refusal that token is never sent again, and nothing is sent until another token is there. (A
//!   consent that the wrong server refused outright, or from the wrong client, may be tried once where, or as whom, the spec
//!   and the client Secret say then.)
//! - **I4** The token Secret always equals some committed grant, and in time the latest; it never goes back; after a
//!   terminal failure it holds no token. (What another program wrote over it is put right at once, or after minutes if that
//!   program keeps doing it.)
//! - **I5** No secret leaves by log, error, event, status, metric or debug print.
//! - **I6** Idle is quiet: nothing due means no write at all, and a wake-up is never later than the refresh time.
//! - **I7** With a healthy server, `Ready` comes back by itself wherever no human is needed.
//! - **I8** A refresh token is only ever sent to the server it came from, and by the client it was issued to.
//! - **I9** A living grant is never given up for one that has not been proved.
//!
//! ## What carries the rules
//!
//! A token cannot be printed ([`domain::token::Opaque`]) and is wiped when dropped. A spent token cannot be sent: sending
//! gives it away ([`pleo::TokenRequest`]). An outcome must be handled ([`domain::failure::Outcome`]), an ending stored
//! ([`domain::commit::settlement::Settlement`]). All writes of our Secrets are compare-and-swaps ([`cluster::secrets`]), and leader
//! election only keeps the other replicas quiet ([`cluster::lease`]): the claim is what fences.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod domain;
pub mod notify;
pub mod operator;
pub mod pleo;
pub mod plugin;
pub mod telemetry;
pub mod web;
