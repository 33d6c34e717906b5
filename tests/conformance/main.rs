//! Is the in-memory API server, on which all simulations stand, like the real one?
//!
//! Each rule is a story of requests, played on both servers at the same time. What both answer is written down, and the
//! two transcripts must be the same, step by step: codes, reasons, whole bodies, events of watches. Beside that each
//! step says what the answer is to be, so that two servers that are wrong in the same way do not pass.
//!
//! | module | |
//! |---|---|
//! | `server`, `tape`, `normal`, `kinds` | the two servers, what they answered, how that is compared, sample objects |
//! | `writes`, `patches`, `status`, `secrets`, `deletion` | how objects come, change and go |
//! | `refusals` | what no server takes |
//! | `lists`, `selectors`, `watches` | how objects are found and followed |
//! | `races` | two clients at the same time |
//! | `operator`, `followers` | the operator's own calls and watches, as it makes them |
//!
//! What the in-memory server does not have, because nothing of the operator's depends on it, stands in its own header.

#[path = "../simulation/apiserver/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the switches and the trace are for simulations")]
mod apiserver;
mod deletion;
mod followers;
mod kinds;
mod lists;
mod normal;
mod operator;
mod patches;
mod races;
mod refusals;
mod secrets;
mod selectors;
mod server;
mod status;
mod tape;
mod watches;
mod writes;
