//! How the source is laid out: imports run downwards only, the domain is pure, every file says what it is for, nothing
//! panics, and nothing grows out of sight. Read as text, so that a rule is a line here and not a build tool.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom. A room may always import itself.
const ROOMS: [(&str, &[&str]); 11] = [
    ("api", &[]),
    ("clock", &[]),
    ("domain", &["api"]),
    ("cluster", &["domain", "api", "clock"]),
    ("pleo", &["domain", "api", "clock"]),
    ("telemetry", &["domain", "api", "clock"]),
    ("notify", &["telemetry", "domain", "api", "clock"]),
    ("operator", &["notify", "cluster", "pleo", "telemetry", "domain", "api", "clock"]),
    ("web", &["cluster", "domain", "api", "clock"]),
    ("plugin", &["web", "cluster", "pleo", "domain", "api", "clock"]),
    ("cli", &["web", "operator", "notify", "cluster", "pleo", "telemetry", "domain", "api", "clock"]),
];

/// What the domain must do without: waiting, clocks, chance, and everything outside the process.
const IMPURE: [&str; 27] = [
    "tokio",
    "futures",
    "kube",
    "kube_runtime",
    "reqwest",
    "tower",
    "axum",
    "hyper",
    "tracing",
    "rand",
    "uuid",
    "fastrand",
    "hostname",
    "async",
    "await",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::thread",
    "std::process",
    "Mutex",
    "SystemRandom",
];

/// What ends a program in the middle of a token's life.
const PANICS: [&str; 7] =
    [".unwrap()", ".expect(", ".expect_err(", "panic!", "unimplemented!", "todo!", "unreachable!"];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;

/// A source file: its path below `src`, and its text without the tests at its end.
struct Source {
    path: String,
    text: String,
    /// The same lines without comments, texts and characters.
    code: String,
}

impl Source {
    /// The room that the file stands in; none for the program and the library's root.
    fn room(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap_or_default();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        ROOMS.iter().map(|(name, _)| *name).find(|name| *name == room)
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let sources = paths.iter().map(|path| {
        let whole = fs::read_to_string(path).expect("a source file");
        let text = whole.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let path = path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
        Source { path, code: code_only(&text), text }
    });
    sources.collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The code without comments and without what stands in texts and characters; lines stay lines.
fn code_only(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => text_length(rest),
            'r' if is_raw_text(&code, rest) => raw_text_length(rest),
            '\'' if character_length(rest) > 1 => character_length(rest),
            _ => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        let (gone, after) = rest.split_at(skipped);
        code.extend(gone.chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = after;
    }
    code
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

fn is_raw_text(before: &str, rest: &str) -> bool {
    let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || before.ends_with('b');
    begins && rest[1..].trim_start_matches('#').starts_with('"')
}

fn raw_text_length(rest: &str) -> usize {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let begin = hashes + 2;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character_length(rest: &str) -> usize {
    let inner: Vec<char> = rest.chars().skip(1).take(12).collect();
    let length = match inner.as_slice() {
        ['\\', ..] => inner.iter().skip(2).position(|c| *c == '\'').map(|at| at + 3),
        [_, '\'', ..] => Some(2),
        _ => None,
    };
    1 + length.map_or(0, |length| inner[..length].iter().map(|c| c.len_utf8()).sum())
}

/// Whether the word stands there, and not only as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

/// The modules of this crate that the code names by `crate::`, in braces or not.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = code[at + path.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(list) => names.extend(members(list)),
            None => names.push(first_word(rest)),
        }
    }
    names
}

/// The first word of each member of a list in braces.
fn members(list: &str) -> Vec<String> {
    let (mut depth, mut begins, mut words) = (0_i32, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if c.is_whitespace() => {}
            _ if begins => {
                words.push(first_word(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    words
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Every function with its first line and its length in lines.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let begins = lines.iter().enumerate().filter(|(_, line)| has_word(line, "fn") && !line.contains("Fn("));
    let measured = begins.filter_map(|(first, _)| {
        let mut depth = 0_i32;
        for (length, line) in lines[first..].iter().enumerate() {
            for c in line.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ';' if depth == 0 => return None,
                    _ => {}
                }
                if c == '}' && depth == 0 {
                    return Some((first + 1, length + 1));
                }
            }
        }
        None
    });
    measured.collect()
}

#[track_caller]
fn nothing(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn each_line(found: &mut Vec<String>, source: &Source, is_wrong: impl Fn(&str) -> Option<String>) {
    for (number, line) in source.code.lines().enumerate() {
        if let Some(why) = is_wrong(line) {
            found.push(format!("src/{}:{}: {why}", source.path, number + 1));
        }
    }
}

#[test]
fn imports_run_downwards_only() {
    let allowed: BTreeMap<_, _> = ROOMS.into_iter().collect();
    let mut found = Vec::new();
    for source in sources() {
        let Some(room) = source.room() else { continue };
        for name in imports(&source.code) {
            if name != room && !allowed[room].contains(&name.as_str()) {
                found.push(format!("src/{} imports {name}", source.path));
            }
        }
        each_line(&mut found, &source, |line| line.contains("super::super").then(|| "climbs out of its room".into()));
        each_line(&mut found, &source, |line| has_word(line, "pleo_operator").then(|| "names its own crate".into()));
    }
    nothing("imports that do not run downwards", found);
}

#[test]
fn every_file_stands_in_a_room() {
    let outside = sources().into_iter().filter(|source| source.room().is_none()).map(|source| source.path);
    let outside: Vec<_> = outside.collect();
    assert_eq!(outside, ["bin/kubectl-pleo.rs", "lib.rs", "main.rs"]);
}

#[test]
fn the_domain_knows_no_clock_no_chance_and_nothing_outside() {
    let mut found = Vec::new();
    for source in sources().into_iter().filter(|source| source.room() == Some("domain")) {
        each_line(&mut found, &source, |line| {
            IMPURE.iter().find(|word| has_word(line, word)).map(|word| format!("names {word}"))
        });
        // The types of the status are the API server's.
        if source.path != "domain/report.rs" {
            each_line(&mut found, &source, |line| has_word(line, "k8s_openapi").then(|| "names k8s_openapi".into()));
        }
    }
    nothing("impure lines in src/domain", found);
}

#[test]
fn time_is_read_in_one_place() {
    let mut found = Vec::new();
    for source in sources().into_iter().filter(|source| source.path != "clock.rs") {
        each_line(&mut found, &source, |line| {
            let reads = ["Timestamp::now", "SystemTime", "Zoned::now"].into_iter().find(|word| has_word(line, word));
            let reads = reads.or_else(|| line.contains("std::time::Instant").then_some("std::time::Instant"));
            reads.map(|word| format!("reads the clock by {word}"))
        });
    }
    nothing("clocks outside src/clock.rs", found);
}

#[test]
fn every_file_begins_by_saying_what_it_is_for() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    nothing(
        "files without a first line of documentation",
        silent.map(|source| format!("src/{}", source.path)).collect(),
    );
}

#[test]
fn nothing_panics() {
    let mut found = Vec::new();
    for source in sources() {
        each_line(&mut found, &source, |line| {
            PANICS.iter().find(|panic| line.contains(**panic)).map(|panic| format!("may panic by {panic}"))
        });
    }
    nothing("panics outside tests", found);
}

#[test]
fn nothing_grows_out_of_sight() {
    let mut found = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("src/{} has {lines} lines", source.path));
        }
        let long = functions(&source.code).into_iter().filter(|(_, length)| *length > LONGEST_FUNCTION);
        found.extend(long.map(|(first, length)| format!("src/{}:{first}: a function of {length} lines", source.path)));
    }
    nothing("files and functions that are too long", found);
}

#[test]
fn these_rules_see_what_they_should() {
    let code = code_only(
        "let x = \"fn // tokio\"; // tokio\nlet y = '\"'; let z: &'a str = r#\"tokio \"#;\n/* tokio */ fn f() {}",
    );
    assert!(!code.contains("tokio") && has_word(&code, "fn") && code.contains("&'a str"), "{code}");
    assert_eq!(code.lines().count(), 3);
    assert_eq!(imports("use crate::{api::{A, B}, clock::Clock, domain::x};"), ["api", "clock", "domain"]);
    assert_eq!(imports("let x = crate::api::names::X;"), ["api"]);
    assert_eq!(functions("fn a() {\n  if x {\n  }\n}\nfn b();\nfn c() { }"), [(1, 4), (6, 1)]);
    assert!(sources().len() > 40);
}
