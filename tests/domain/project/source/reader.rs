//! The source as text: what a file imports, which functions it has, and how long they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::LAYERS;

/// A source file.
pub struct Source {
    pub path: String,
    pub text: String,
    /// The same lines without comments, texts and characters.
    pub code: String,
}

impl Source {
    /// The path of its module, from the crate's root.
    pub fn module(&self) -> Vec<String> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').map(str::to_owned).filter(|part| part != "lib").collect()
    }

    /// The layer that the file belongs to; none for the program and the library's root.
    pub fn layer(&self) -> Option<&str> {
        let first = self.path.split('/').next().unwrap_or_default();
        let layer = first.strip_suffix(".rs").unwrap_or(first);
        LAYERS.iter().map(|(name, _)| *name).find(|name| *name == layer)
    }
}

/// The files of the operator, without the tests at their ends.
pub fn sources() -> Vec<Source> {
    let mut sources = below("src");
    for source in &mut sources {
        let text = source.text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        *source = Source { path: source.path.trim_start_matches("src/").to_owned(), code: code_only(&text), text };
    }
    sources
}

/// All Rust code of this repository.
pub fn everywhere() -> Vec<Source> {
    ["src", "crates", "tests", "examples", "fuzz"].into_iter().flat_map(below).collect()
}

/// The pages and the chart, each with its path.
pub fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root.join(page)).into();
    ["docs", "charts", "examples"].iter().for_each(|folder| collect(&root.join(folder), &mut paths));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

fn below(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join(folder), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    let sources = paths.iter().map(|path| {
        let text = fs::read_to_string(path).expect("a source file");
        let path = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        Source { path, code: code_only(&text), text }
    });
    sources.collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// The code without comments and without what stands in texts and characters; lines stay lines.
pub fn code_only(text: &str) -> String {
    code_and_texts(text).0
}

/// What stands in texts, each with its quotes.
pub fn texts(text: &str) -> Vec<String> {
    code_and_texts(text).1
}

fn code_and_texts(text: &str) -> (String, Vec<String>) {
    let (mut code, mut texts, mut rest) = (String::new(), Vec::new(), text);
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
        if first == '"' || first == 'r' {
            texts.push(gone.to_owned());
        }
        code.extend(gone.chars().filter(|c| *c == '\n'));
        code.push(' ');
        rest = after;
    }
    (code, texts)
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
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        !before && !after
    })
}

/// Every path that the code imports or names from this crate, segment by segment from the crate's root.
pub fn paths(source: &Source) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (at, start) in source.code.match_indices("crate::").chain(source.code.match_indices("super::")) {
        if source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        let mut base = Vec::new();
        if start == "super::" {
            base = source.module();
            base.pop();
        }
        branches(&source.code[at + start.len()..], &base, &mut paths);
    }
    paths
}

/// The paths of an import's tree; ends with the tree. What is left of the text comes back.
fn branches<'a>(text: &'a str, base: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let (mut path, mut rest) = (base.to_vec(), text.trim_start());
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            let mut list = list.trim_start();
            while !list.is_empty() && !list.starts_with('}') {
                list = branches(list, &path, paths).trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            }
            return list.get(1..).unwrap_or_default();
        }
        let word = first_word(rest);
        rest = rest[word.len()..].trim_start_matches('*');
        if !word.is_empty() && word != "self" {
            path.push(word);
        }
        match rest.strip_prefix("::") {
            Some(further) => rest = further,
            None => break,
        }
    }
    paths.push(path);
    // A name that it is given here.
    let end = rest.find([',', '}', ';', '{', '(', ')']).unwrap_or(rest.len());
    rest[end..].strip_prefix(',').unwrap_or(&rest[end..])
}

/// The layer of each path.
pub fn imports(source: &Source) -> BTreeSet<String> {
    paths(source).into_iter().filter_map(|path| path.into_iter().next()).collect()
}

/// Which file imports which, by module; a folder's `mod.rs` only lists what is in it, and imports nothing.
pub fn imported_files(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeSet<_> = sources.iter().map(|source| source.module().join("::")).collect();
    let file_of = |path: &[String]| {
        let prefixes = (1..=path.len()).rev().map(|length| path[..length].join("::"));
        prefixes.into_iter().find(|prefix| modules.contains(prefix))
    };
    let imports = sources.iter().map(|source| {
        let own = source.module().join("::");
        let found = paths(source).iter().filter_map(|path| file_of(path)).filter(|file| *file != own).collect();
        (own, found)
    });
    imports.collect()
}

/// A way from this file back to it, if there is one.
pub fn circle(start: &str, imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let (mut ways, mut seen) = (vec![vec![start.to_owned()]], BTreeSet::new());
    while let Some(way) = ways.pop() {
        for next in way.last().and_then(|last| imports.get(last)).into_iter().flatten() {
            let mut further = way.clone();
            further.push(next.clone());
            if next == start {
                return Some(further);
            }
            if seen.insert(next.clone()) {
                ways.push(further);
            }
        }
    }
    None
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Every function with its first line and its length in lines.
pub fn functions(code: &str) -> Vec<(usize, usize)> {
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
