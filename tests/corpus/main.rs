//! All that is read from outside, without a fuzzer: every seed of the corpus, and thousands of small changes of each, go
//! through the same functions as in `make fuzz`. A seed's name says what it shows. What a fuzzer found is a seed, too.

mod mutate;
mod targets;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use targets::Target;

/// Changes of each seed. Enough to reach every word that a target can say, and a matter of seconds.
const MANY: usize = 3000;
/// The same where each is a scene, with decisions at a dozen times, or as long as an answer may be.
const SOME: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = root().join("tests/corpus/seeds").join(target);
    let paths = names(&folder).into_iter().map(|name| folder.join(name));
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Shows what was tried, if a rule is broken.
struct Trial<'a> {
    target: &'a str,
    seed: &'a Path,
    bytes: &'a [u8],
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (name, bytes) = (self.seed.display(), self.bytes.escape_ascii());
            eprintln!("{} broke a rule, with {name} or a change of it: b\"{bytes}\"", self.target);
        }
    }
}

/// Runs a target on its corpus, and shows that the corpus reaches all that the target can say.
#[track_caller]
fn holds(target: &str, changes: usize, reached: &[&str]) {
    let (_, run) = targets::ALL.into_iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = seeds(target);
    let mut mutator = mutate::Mutator::new(1, seeds.iter().map(|(_, bytes)| bytes.clone()).collect());
    let mut words = BTreeSet::new();
    for (seed, bytes) in &seeds {
        words.insert(tried(target, run, seed, bytes));
        for _ in 0..changes {
            words.insert(tried(target, run, seed, &mutator.change(bytes)));
        }
    }
    assert_eq!(words.into_iter().collect::<Vec<_>>(), reached, "what the corpus of {target} reaches");
}

fn tried(target: &str, run: Target, seed: &Path, bytes: &[u8]) -> &'static str {
    let _trial = Trial { target, seed, bytes };
    run(bytes)
}

#[test]
fn a_body_is_decoded_as_far_as_it_can_be() {
    holds("coding", SOME, &["as it was", "damaged", "decoded", "too long", "unsupported"]);
}

#[test]
fn an_allowed_server_opens_its_own_door_and_no_other() {
    holds("allowed", MANY, &["allowed", "refused"]);
}

#[test]
fn a_token_in_an_answer_is_never_lost_and_no_word_of_the_servers_is_passed_on() {
    holds("answer", MANY, &["misconfigured", "rejected", "success", "throttled", "unknown", "unknown_rejection"]);
}

#[test]
fn a_duration_is_what_the_schema_takes() {
    holds("duration", MANY, &["read", "refused"]);
}

#[test]
fn what_users_put_into_secrets_is_printable_or_refused() {
    holds("input", MANY, &["character", "empty", "read"]);
}

/// I1, I3, I6 and I8, for ledgers that no program wrote.
#[test]
fn no_edited_ledger_breaks_a_rule_of_sending() {
    holds(
        "ledger",
        SOME,
        &[
            "adopt",
            "contradiction",
            "forget",
            "invite",
            "leave",
            "publish",
            "restart",
            "retire",
            "rotate",
            "tidy",
            "unreadable",
            "wait",
        ],
    );
}

#[test]
fn an_edited_token_secret_is_put_right_in_one_write() {
    holds("published", SOME, &["edited", "read"]);
}

#[test]
fn no_server_makes_us_wait_for_more_than_a_quarter_of_an_hour() {
    holds("retry_after", MANY, &["later", "longest", "nothing", "now"]);
}

#[test]
fn a_grant_secret_is_read_exactly_or_left_alone() {
    holds("secret", MANY, &["damaged", "newer", "read"]);
}

#[test]
fn no_spec_leads_to_a_server_that_is_not_allowed() {
    holds("spec", SOME, &["allowed", "invalid", "not allowed", "unreadable"]);
}

#[test]
fn every_target_has_seeds_and_a_fuzzer() {
    let targets = targets::ALL.map(|(name, _)| name.to_owned());
    assert_eq!(names(&root().join("tests/corpus/seeds")), targets);
    assert_eq!(names(&root().join("fuzz/fuzz_targets")), targets.map(|name| format!("{name}.rs")));
}
