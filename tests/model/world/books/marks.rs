//! Breaches of invariants, and what proves that the model lives.

/// A breach of an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    SentAgain,
    TwoInFlight,
    SentTooSoon,
    SentWithoutClaim,
    PairDropped,
    RefusedSentAgain,
    NeverCommitted,
    WentBack,
    Stuck,
    WrongServer,
    LiveGivenUp,
    Forgotten,
    Killed,
    Orphaned,
    Misnamed,
    WrongClient,
}

/// What proves that the model lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    TwoRotations,
    TakenOver,
    UnusedTakenOver,
    SecondProved,
    RefusedWiped,
    FoundStored,
    MadeAnew,
    Moved,
    FenceClosed,
    StoredLate,
    ByLink,
    CodeLost,
    ForAnotherClient,
    FellBack,
    NotPresented,
}

/// A set of faults or marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bits(u16);

impl Bits {
    pub fn put(&mut self, bit: u16) {
        self.0 |= 1 << bit;
    }

    pub fn has(self, bit: u16) -> bool {
        self.0 & (1 << bit) != 0
    }
}
