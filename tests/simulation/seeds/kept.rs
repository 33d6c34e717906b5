//! Seeds that once found something, and what that was. They are played in every run; what they found has a test of its own
//! besides, for a seed is another story as soon as the code asks the dice in another order.

/// The seed, and what it found.
pub const KEPT: [(u64, &str); 8] = [
    (34, "a pod with another time of day cut the settle time short, and sent a token that was in doubt too soon (I1)"),
    (49, "the same, after a change of leaders"),
    (270, "a refusal told with an earlier rotation was held against the next consent (I9)"),
    (
        3596,
        "a backup put back between the write of the token Secret and that of the status was taken for the living grant (I4)",
    ),
    (4540, "a refusal that could not be stored for longer than its claim was forgotten, and the token sent again (I1)"),
    (4660, "a status that was refused was not tried again when the right was given back (I7)"),
    (92, "a code that a browser brought was too old for a leader whose clock was an hour ahead"),
    (3447, "the same, where it was two hours"),
];
