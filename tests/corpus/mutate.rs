//! Small changes of a seed, drawn from a fixed number: what a fuzzer does without looking.

use fastrand::Rng;

const WORDS: &str = include_str!("words.dict");

/// What mutations are made with.
pub struct Mutator {
    random: Rng,
    words: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
}

impl Mutator {
    /// `others` are the seeds of the same target: a change may bring a piece of one.
    pub fn new(number: u64, others: Vec<Vec<u8>>) -> Self {
        Self { random: Rng::with_seed(number), words: words(), others }
    }

    /// The seed with one to four changes.
    pub fn change(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..self.random.usize(1..=4) {
            self.change_once(&mut bytes);
        }
        bytes
    }

    fn change_once(&mut self, bytes: &mut Vec<u8>) {
        let (begin, end) = self.range(bytes.len());
        match self.random.u8(0..8) {
            0 => drop(bytes.drain(begin..end)),
            1 => {
                let copy = bytes[begin..end].to_vec();
                bytes.splice(end..end, copy);
            }
            2 => bytes.insert(begin, self.random.u8(..)),
            3 if begin < bytes.len() => bytes[begin] = self.random.u8(..),
            4 if begin < bytes.len() => bytes[begin] ^= 1 << self.random.u8(0..8),
            5 => drop(bytes.splice(begin..end, self.piece())),
            6 => drop(bytes.splice(begin..begin, self.word())),
            _ => drop(bytes.splice(begin..end, self.word())),
        }
    }

    /// Somewhere in it, rather short than long.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let begin = self.random.usize(0..=length);
        let most = if self.random.bool() { 8 } else { length };
        (begin, (begin + self.random.usize(0..=most)).min(length))
    }

    fn word(&mut self) -> Vec<u8> {
        self.random.choice(&self.words).cloned().unwrap_or_default()
    }

    fn piece(&mut self) -> Vec<u8> {
        let other = self.random.choice(&self.others).cloned().unwrap_or_default();
        let (begin, end) = self.range(other.len());
        other[begin..end].to_vec()
    }
}

/// The words that the fuzzer is given too: a line each, in quotes, with `\\`, `\"` and `\xNN`.
fn words() -> Vec<Vec<u8>> {
    let lines = WORDS.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    lines.map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), line.as_bytes());
    while let [first, more @ ..] = rest {
        let (byte, used) = match (first, more) {
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |digit: &u8| char::from(*digit).to_digit(16).expect("a hexadecimal digit");
                (u8::try_from(digit(high) * 16 + digit(low)).unwrap(), 4)
            }
            (b'\\', [escaped, ..]) => (*escaped, 2),
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    bytes
}

#[test]
fn a_word_is_read_as_the_fuzzer_reads_it() {
    assert_eq!(unescaped(r#"a\"b\\c\xff\x0a"#), b"a\"b\\c\xff\n");
    assert!(words().len() > 50 && words().iter().all(|word| !word.is_empty()));
}

#[test]
fn the_same_number_gives_the_same_changes() {
    let changes = |number| {
        let mut mutator = Mutator::new(number, vec![b"another seed".to_vec()]);
        (0..100).map(|_| mutator.change(b"a seed of some length")).collect::<Vec<_>>()
    };
    assert_eq!(changes(7), changes(7));
    assert_ne!(changes(7), changes(8));
}
