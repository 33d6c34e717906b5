//! The rules for all that is read from outside: what servers answer, what users write, what anybody may have edited. A
//! target is a function of bytes that panics where a rule is broken, and says in one word what the bytes led to. Fuzzers
//! and tests run the same functions.
//!
//! | target | what its bytes are |
//! |---|---|
//! | [`allowed`] | an entry of `--allowed-server` |
//! | [`answer`] | an answer of the token endpoint: status, `Retry-After` and body, a line each |
//! | [`coding`] | `Content-Encoding` and the body of an answer, a line each |
//! | [`duration`] | a duration in a spec or a flag |
//! | [`input`] | a value in a Secret that a user wrote |
//! | [`ledger`] | a scene, and edits of its ledger, a line each |
//! | [`published`] | the data of a token Secret, in parts |
//! | [`retry_after`] | the time of day, and a `Retry-After` |
//! | [`secret`] | the data of a grant Secret, in parts |
//! | [`spec`] | a connection, or edits of one, a line each |

use pleo_test_support::scenes;

pub mod allowed;
pub mod answer;
pub mod coding;
pub mod duration;
pub mod input;
pub mod ledger;
pub mod published;
pub mod retry_after;
pub mod secret;
pub mod spec;

mod support;

/// Says what the bytes led to; panics where a rule is broken.
pub type Target = fn(&[u8]) -> &'static str;

/// All targets, by name.
pub const ALL: [(&str, Target); 10] = [
    ("allowed", allowed::run),
    ("answer", answer::run),
    ("coding", coding::run),
    ("duration", duration::run),
    ("input", input::run),
    ("ledger", ledger::run),
    ("published", published::run),
    ("retry_after", retry_after::run),
    ("secret", secret::run),
    ("spec", spec::run),
];
