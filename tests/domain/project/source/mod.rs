//! How the source is laid out: imports run downwards only, the domain is pure, every file says what it is for, messages are
//! plain, and nothing grows out of sight. Read as text, so that a rule is a line here and not a build tool.

mod reader;

use std::collections::BTreeMap;

use reader::{
    Source, circle, code_only, everywhere, functions, has_word, imported_files, imports, pages, paths, sources, texts,
};

/// Which part of the crate may import which. Each may import itself.
const LAYERS: [(&str, &[&str]); 15] = [
    ("api", &[]),
    ("clock", &[]),
    ("domain", &["api"]),
    ("cluster", &["domain", "api", "clock"]),
    ("pleo", &["tls", "domain", "api", "clock"]),
    ("ports", &[]),
    ("tls", &[]),
    ("telemetry", &["ports", "domain", "api", "clock"]),
    ("notify", &["telemetry", "domain", "api", "clock"]),
    ("operator", &["notify", "cluster", "pleo", "telemetry", "domain", "api", "clock"]),
    ("web", &["ports", "cluster", "domain", "api", "clock"]),
    ("reports", &["ports", "cluster", "telemetry", "domain", "api", "clock"]),
    ("proxy", &["ports", "tls", "telemetry", "domain", "api", "clock"]),
    ("plugin", &["web", "cluster", "pleo", "domain", "api", "clock"]),
    ("cli", &["proxy", "web", "operator", "notify", "cluster", "pleo", "telemetry", "domain", "api", "clock"]),
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

/// Words of our own, and of another century. The field has better ones: a user authorizes, a token is used or rejected, a
/// problem is fixed and reported.
const PRIVATE_WORDS: [&str; 31] = [
    "anew",
    "by itself",
    "mend",
    "mends",
    "mended",
    "he",
    "his",
    "him",
    "whoever",
    "somebody",
    "nobody",
    "human",
    "humans",
    "told",
    "tells",
    "bear",
    "bears",
    "stands there",
    "dead",
    "died",
    "dies",
    "spent",
    "unspent",
    "spends",
    "living",
    "hears",
    "consented",
    "consents anew",
    "authorisation",
    "authorised",
    "again and again",
];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;
const LARGEST_FOLDER: usize = 12;

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
    let allowed: BTreeMap<_, _> = LAYERS.into_iter().collect();
    let mut found = Vec::new();
    for source in sources() {
        let Some(layer) = source.layer() else { continue };
        for name in imports(&source) {
            if name != layer && !allowed[layer].contains(&name.as_str()) {
                found.push(format!("src/{} imports {name}", source.path));
            }
        }
        each_line(&mut found, &source, |line| line.contains("crate::super").then(|| "leaves its layer".into()));
        each_line(&mut found, &source, |line| has_word(line, "pleo_operator").then(|| "names its own crate".into()));
    }
    nothing("imports that do not run downwards", found);
}

/// A reader can take the files in an order in which each one builds on those before it.
#[test]
fn no_file_imports_itself_by_way_of_others() {
    let imports = imported_files(&sources());
    let circles = imports.keys().filter_map(|file| circle(file, &imports)).map(|way| way.join(" -> "));
    nothing("circles of imports", circles.collect());
}

#[test]
fn no_folder_is_too_large() {
    let mut files = BTreeMap::<_, usize>::new();
    for source in everywhere() {
        let folder = source.path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        *files.entry(folder).or_default() += 1;
    }
    let large = files.into_iter().filter(|(_, files)| *files > LARGEST_FOLDER);
    nothing("folders that want subfolders", large.map(|(folder, files)| format!("{folder}: {files}")).collect());
}

/// What the program includes from elsewhere must be in the context of its image.
#[test]
fn the_image_is_built_from_all_that_the_source_includes() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (dockerfile, context) = (read("Dockerfile"), read(".dockerignore"));
    let included = sources().into_iter().flat_map(|source| {
        let paths = source.text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        paths.map(|path| path.trim_start_matches("../").to_owned()).collect::<Vec<_>>()
    });
    let missing = included
        .filter(|path| !dockerfile.contains(&format!("COPY {path} ")) || !context.contains(&format!("!{path}\n")));
    nothing("files that the image lacks", missing.collect());
}

#[test]
fn every_file_is_in_a_layer() {
    let outside = sources().into_iter().filter(|source| source.layer().is_none()).map(|source| source.path);
    let outside: Vec<_> = outside.collect();
    assert_eq!(outside, ["bin/kubectl-pleo.rs", "lib.rs", "main.rs"]);
}

#[test]
fn the_domain_knows_no_clock_no_chance_and_nothing_outside() {
    let mut found = Vec::new();
    for source in sources().into_iter().filter(|source| source.layer() == Some("domain")) {
        each_line(&mut found, &source, |line| {
            IMPURE.iter().find(|word| has_word(line, word)).map(|word| format!("names {word}"))
        });
        // The types of the status are the API server's.
        if source.path != "domain/report/status.rs" {
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

/// Everything that users and contributors read: messages, comments, pages, the chart.
#[test]
fn the_project_uses_the_words_of_the_field() {
    let source = sources().into_iter().map(|source| (format!("src/{}", source.path), source.text));
    let mut found = Vec::new();
    for (path, text) in source.chain(pages()) {
        for (number, line) in text.lines().enumerate() {
            // The Kubernetes API describes the message of a condition so.
            let line = line.to_lowercase().replace("human readable", "readable").replace("http.nobody", "");
            let words = PRIVATE_WORDS.iter().filter(|word| has_word(&line, word));
            found.extend(words.map(|word| format!("{path}:{}: \"{word}\" in {line}", number + 1)));
        }
    }
    nothing("words of our own", found);
}

#[test]
fn nothing_grows_out_of_sight() {
    let mut found = Vec::new();
    for source in everywhere() {
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!("{} has {lines} lines", source.path));
        }
        if source.path.starts_with("tests/") || source.path.contains("/tests/") {
            continue;
        }
        let long = functions(&source.code).into_iter().filter(|(_, length)| *length > LONGEST_FUNCTION);
        found.extend(long.map(|(first, length)| format!("{}:{first}: a function of {length} lines", source.path)));
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
    assert_eq!(texts("f(\"a b\", r\"c\") // \"d\""), ["\"a b\"", "r\"c\""]);
    let source = |path: &str, code: &str| Source { path: path.into(), text: String::new(), code: code.into() };
    let both = source(
        "domain/plan/a.rs",
        "use super::{b, c::{self, D}};\nuse crate::{api::{A, B as C}, clock::Clock, domain::x};",
    );
    let found: Vec<_> = paths(&both).into_iter().map(|path| path.join("::")).collect();
    let expected =
        ["api::A", "api::B", "clock::Clock", "domain::x", "domain::plan::b", "domain::plan::c", "domain::plan::c::D"];
    assert_eq!(found, expected);
    assert_eq!(imports(&source("a.rs", "let x = crate::api::names::X;")).into_iter().collect::<Vec<_>>(), ["api"]);
    let circular = [
        source("a/x.rs", "use super::y::Y;"),
        source("a/y.rs", "fn f() { crate::b::z::g() }"),
        source("b/z.rs", "use crate::a::x;"),
    ];
    assert_eq!(circle("a::x", &imported_files(&circular)).expect("a circle"), ["a::x", "a::y", "b::z", "a::x"]);
    assert_eq!(functions("fn a() {\n  if x {\n  }\n}\nfn b();\nfn c() { }"), [(1, 4), (6, 1)]);
    assert!(imported_files(&sources()).values().map(std::collections::BTreeSet::len).sum::<usize>() > 300);
}
