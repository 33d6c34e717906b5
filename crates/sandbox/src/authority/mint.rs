//! Makes tokens from a seed and a counter: opaque, and awkward on purpose. Pure.

/// Characters that break careless code: in forms, URLs, JSON, YAML, shells, HTML and templates.
/// Every token holds each of them once, somewhere inside.
const AWKWARD: &[u8] = b"+/=%&\"\\<>' ${},:;#";

/// The length of every token. Equal lengths and distinct values make them prefix-free.
const LENGTH: usize = 64;

/// A source of tokens. The same seed always gives the same tokens in the same order.
#[derive(Clone)]
pub(super) struct Mint {
    seed: u64,
    counter: u64,
}

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next token: printable ASCII (RFC 6749's VSCHAR), never a space at either end, never two
    /// in a row.
    pub(super) fn next(&mut self) -> String {
        self.counter += 1;
        // Each token has a stream of its own, so that tokens share nothing but the seed.
        let mut state = mix(self.seed).wrapping_add(mix(self.counter ^ 0x5851_f42d_4c95_7f2d));
        let mut characters: Vec<u8> = (0..LENGTH).map(|_| visible(draw(&mut state))).collect();
        let mut places: Vec<usize> = (1..LENGTH - 1).collect();
        for awkward in AWKWARD {
            let place = places.swap_remove(below(draw(&mut state), places.len()));
            if let Some(character) = characters.get_mut(place) {
                *character = *awkward;
            }
        }
        characters.into_iter().map(char::from).collect()
    }
}

/// A character of `!` to `~`.
fn visible(random: u64) -> u8 {
    b'!' + u8::try_from(random % 94).unwrap_or_default()
}

fn below(random: u64, bound: usize) -> usize {
    let bound = u64::try_from(bound).unwrap_or(1).max(1);
    usize::try_from(random % bound).unwrap_or_default()
}

/// One step of SplitMix64: small, well spread, and the same on every machine.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn tokens_are_printable_awkward_distinct_and_of_one_length() {
        let mut mint = Mint::new(7);
        let tokens: Vec<String> = (0..2000).map(|_| mint.next()).collect();
        for token in &tokens {
            assert_eq!(token.len(), LENGTH);
            assert!(token.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{token:?}");
            assert_eq!(token.trim(), token);
            assert!(!token.contains("  "), "{token:?}");
            assert!(AWKWARD.iter().all(|byte| token.as_bytes().contains(byte)), "{token:?}");
        }
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), tokens.len());
    }

    #[test]
    fn the_seed_decides_the_tokens() {
        assert_eq!(Mint::new(1).next(), Mint::new(1).next());
        assert_ne!(Mint::new(1).next(), Mint::new(2).next());
    }
}
