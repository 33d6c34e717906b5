//! The targets, from where the tests of the corpus run them too: a rule is written down once.

#[path = "../../tests/corpus/targets/mod.rs"]
pub mod targets;
