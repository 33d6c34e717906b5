//! I1, I2, I7: the instant of sending, the pair in hand, the claim of a dead process, wrong clocks, two leaders.

pub mod clocks;
pub mod election;
pub mod fence;
pub mod in_flight;
pub mod takeover;
