//! The protocol, model-checked: the real decisions in a small world, and every order in which things can go wrong there.
//!
//! | module | |
//! |---|---|
//! | `stories` | the scenarios: what goes wrong, and what must hold all the same; and that the model finds what is wrong |
//! | `scenarios`, `explore` | what a scenario is, and how it is explored to its end |
//! | `protocol` | what may happen next |
//! | `world` | all there is at one moment: replicas, users, servers, what edges do, and every breach of an invariant |
//! | `transcript` | the way to a breach, as people read it |

mod explore;
mod protocol;
mod scenarios;
mod stories;
mod transcript;
mod world;
