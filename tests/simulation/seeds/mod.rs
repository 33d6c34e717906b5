//! Stories made from seeds. A seed decides who is there, what goes wrong, and every chance in between; two replicas of the
//! real operator live through it, each on a node with a runtime and clocks of its own; a judge looks at every moment. The same
//! seed is the same story, request by request.
//!
//! `make simulate SEEDS=10000` plays as many; `make simulate SEED=7` plays one and prints who did what, when.
//!
//! | module | |
//! |---|---|
//! | `plan` | what a seed decides |
//! | `stage` | the course of the story: trouble, calm, the way back, idleness |
//! | `host` | a node: runtime, clocks, and the process on it |
//! | `trouble`, `people` | what happens to all of them, and what people do |
//! | `visits` | people who consent by link |
//! | `judge` | the invariants |
//! | `transcript`, `entropy` | what is written down, and why it is always the same |
//! | `kept` | seeds that once found something |

mod entropy;
mod host;
mod judge;
mod kept;
mod people;
mod plan;
mod stage;
mod transcript;
mod trouble;
mod visits;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use judge::{Figures, Verdict};
use stage::{Played, play};

/// How many seeds every test run plays.
const SEEDS: u64 = 200;

/// A thread of its own for each seed: the keys of hash maps are counted by thread.
fn play_alone(seed: u64) -> Played {
    let name = format!("seed {seed}");
    let played = thread::Builder::new().name(name).spawn(move || play(seed)).unwrap().join();
    played.unwrap_or_else(|_| Played::backoff_after_error())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

/// I1 to I9, in as many stories as are asked for.
#[test]
fn every_seed_keeps_every_invariant() {
    if let Some(seed) = number("SEED") {
        return show(seed);
    }
    let (first, count) = (number("FROM").unwrap_or(0), number("SEEDS").unwrap_or(SEEDS));
    let begun = Instant::now();
    let tally = Tally::default();
    let next = AtomicU64::new(first);
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || tally.is_enough() {
                        return;
                    }
                    tally.count(seed, play_alone(seed).verdict);
                }
            });
        }
    });
    tally.print(begun.elapsed());
    let found = tally.found.into_inner().unwrap();
    assert!(found.is_empty(), "violations in seeds {found:?}; see one with: make simulate SEED={}", found[0]);
}

/// One story, in full.
fn show(seed: u64) {
    let Played { verdict, transcript } = play_alone(seed);
    println!("{transcript}\n{:#?}\n{:#?}", verdict.figures, verdict.violations);
    assert!(verdict.violations.is_empty(), "seed {seed} breaks an invariant");
}

/// All that was played, and what was found.
#[derive(Default)]
struct Tally {
    played: AtomicU64,
    found: Mutex<Vec<u64>>,
    figures: Mutex<Figures>,
}

impl Tally {
    fn count(&self, seed: u64, verdict: Verdict) {
        let played = self.played.fetch_add(1, Ordering::Relaxed) + 1;
        self.figures.lock().unwrap().add(&verdict.figures);
        if played.is_multiple_of(1000) {
            println!("{played} seeds played");
        }
        if !verdict.violations.is_empty() {
            println!("found after {played} seeds, in seed {seed}: {:#?}", verdict.violations);
            self.found.lock().unwrap().push(seed);
        }
    }

    /// Whoever looks for one violation need not look on.
    fn is_enough(&self) -> bool {
        number("STOP_AT_FIRST").is_some() && !self.found.lock().unwrap().is_empty()
    }

    fn print(&self, took: Duration) {
        println!("{} seeds in {took:.0?}: {}", self.played.load(Ordering::Relaxed), self.figures.lock().unwrap());
    }
}

/// What was found once stays away.
#[test]
fn seeds_that_found_something_find_it_no_more() {
    for (seed, what) in kept::KEPT {
        let violations = play_alone(seed).verdict.violations;
        assert!(violations.is_empty(), "seed {seed} once found that {what}; now: {violations:#?}");
    }
}

/// The same seed, played twice, is the same to the letter.
#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..4 {
        let (once, again) = (play_alone(seed), play_alone(seed));
        assert_eq!(once.transcript, again.transcript, "seed {seed}");
        assert_eq!(once.verdict.fingerprint, again.verdict.fingerprint, "seed {seed}");
    }
}
