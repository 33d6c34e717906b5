//! Simulations of the operator: the real code, a simulated world, paused time.
//!
//! | folder | |
//! |---|---|
//! | `stage` | what the stories are played with; the API server is the crate `pleo-apiserver` |
//! | `seeds` | stories made from seeds, and a judge who looks on |
//! | `protocol` | I1, I2, I7: the instant of sending, the pair in hand, the claim of a dead process, two leaders, wrong clocks |
//! | `refresh` | I3, I6, I8: when a token is sent, and when it is not; other programs that insist on what they write |
//! | `fleet` | I6, I7: many connections, servers with a bad day |
//! | `consumers` | pods that are notified, workloads that are restarted, people who are warned |
//! | `links` | authorization by link, and attacks on it |

use pleo_apiserver as apiserver;

mod consumers;
mod fleet;
mod links;
mod protocol;
mod refresh;
mod seeds;
mod stage;
