//! What an introspection endpoint says about a refresh token (RFC 7662 section 2.2).

/// The answer to "is this token active?".
#[must_use = "what is not looked at was asked for nothing"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Introspected {
    Active,
    Inactive,
    /// A 4xx: this client may not ask, or no one may.
    Refused,
    /// Nothing that says anything about the token.
    NoAnswer,
}

impl Introspected {
    pub const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Refused, Self::NoAnswer];

    /// As metrics name it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
        }
    }
}
