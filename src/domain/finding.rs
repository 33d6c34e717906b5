//! What is to be said in one condition: a reason, and what it is and what to do, in words.

/// A reason with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<Reason> {
    pub reason: Reason,
    /// What happened, and what to do.
    pub message: String,
}

impl<Reason> Finding<Reason> {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
