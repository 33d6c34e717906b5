//! What was observed of a connection at one moment: the input of every decision.
//!
//! | file | what it is |
//! |---|---|
//! | [`published`] | the token Secret |
//! | [`repair`] | what this process put right before, after another program changed it |
//! | [`observed`] | all of it in one value |

pub mod observed;
pub mod published;
pub mod repair;
