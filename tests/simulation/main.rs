//! Simulations of the operator: the real code, a simulated world, paused time.
//!
//! | module | |
//! |---|---|
//! | `world`, `process`, `pleo`, `apiserver`, `grants`, `sent` | what the stories are played with |
//! | `seeds` | stories made from seeds, and a judge who looks on |
//! | `idle`, `schedule` | I6: idle is quiet, and a wake-up is never late |
//! | `silence`, `misconfigured` | I3, and other silence that lasts |
//! | `clients` | I8: another client in the client Secret, or none |
//! | `fights` | other programs that insist on what they write |
//! | `failures` | the waits between tries |
//! | `fence`, `in_flight`, `takeover` | I1 and I2: the instant of sending, the pair in hand, the claim of the dead |
//! | `telling`, `restarts` | consumers: pods that are told, workloads that are restarted |
//! | `links`, `callbacks`, `browser` | consent by link, and attacks on it |
//! | `warnings` | what people are told before, and at once |
//! | `clocks`, `election` | I7: wrong clocks; one leads, or two |

mod apiserver;
mod browser;
mod callbacks;
mod clients;
mod clocks;
mod election;
mod failures;
mod fence;
mod fights;
mod grants;
mod idle;
mod in_flight;
mod links;
mod misconfigured;
mod pleo;
mod process;
mod restarts;
mod schedule;
mod seeds;
mod sent;
mod silence;
mod takeover;
mod telling;
mod warnings;
mod world;
