//! The protocol, model-checked: the real decisions in a small world, and every order in which things can go wrong there.
//!
//! | module | |
//! |---|---|
//! | `machines`, `people`, `links` | the scenarios: what goes wrong, and what must hold all the same |
//! | `mistakes` | that the model finds what is wrong |
//! | `scenarios`, `explore` | what a scenario is, and how it is explored to its end |
//! | `protocol`, `turns` | what may happen next, and whose turn it is |
//! | `look`, `exchange`, `memory` | what the edges do: observe, rotate and publish, remember |
//! | `human`, `server` | deeds of humans; the authorization servers and the wire to them |
//! | `state`, `tokens`, `shared` | all there is at one moment |
//! | `books`, `transcript` | every breach of an invariant, and the way to it as people read it |

mod books;
mod exchange;
mod explore;
mod human;
mod links;
mod look;
mod machines;
mod memory;
mod mistakes;
mod people;
mod protocol;
mod scenarios;
mod server;
mod shared;
mod state;
mod tokens;
mod transcript;
mod turns;
