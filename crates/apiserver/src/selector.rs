//! Label and field selectors, parsed once for each request.

use crate::names::{is_label, is_label_value};
use serde_json::Value;

#[derive(Clone, Debug)]
enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A conjunction of terms; without any, it selects everything.
#[derive(Clone, Debug, Default)]
pub struct Selector(Vec<Term>);

impl Selector {
    /// `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`.
    pub fn labels(text: &str) -> Result<Self, String> {
        let term = |part| label_term(part).and_then(|term| well_formed(term, part));
        split_outside_brackets(text).into_iter().map(term).collect::<Result<_, _>>().map(Self)
    }

    /// `a.b=c`, `a.b==c`, `a.b!=c`, for the fields that the resource can be selected by.
    pub fn fields(text: &str, selectable: &[&str]) -> Result<Self, String> {
        let parse = |part: &str| {
            let term = equality(part).ok_or_else(|| format!("invalid field selector: {part}"))?;
            let (Term::In(field, _) | Term::NotIn(field, _) | Term::Exists(field) | Term::Absent(field)) = &term;
            let known = ["metadata.name", "metadata.namespace"].contains(&field.as_str());
            if known || selectable.contains(&field.as_str()) {
                Ok(term)
            } else {
                Err(format!("field label not supported: {field}"))
            }
        };
        text.split(',').filter(|part| !part.is_empty()).map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches_labels(&self, object: &Value) -> bool {
        self.matches(|key| object["metadata"]["labels"][key].as_str())
    }

    /// A field that is not there counts as the empty string.
    pub fn matches_fields(&self, object: &Value) -> bool {
        self.matches(|path| Some(path.split('.').fold(object, |at, key| &at[key]).as_str().unwrap_or("")))
    }

    fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|term| match term {
            Term::In(key, any) => value(key).is_some_and(|v| any.iter().any(|a| a == v)),
            // As the real server: an object without the label is "not in".
            Term::NotIn(key, none) => value(key).is_none_or(|v| none.iter().all(|n| n != v)),
            Term::Exists(key) => value(key).is_some(),
            Term::Absent(key) => value(key).is_none(),
        })
    }
}

/// The commas inside `in (a,b)` do not separate terms.
fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// What can be no label's key or value selects nothing, and is refused.
fn well_formed(term: Term, part: &str) -> Result<Term, String> {
    let (key, values) = match &term {
        Term::In(key, values) | Term::NotIn(key, values) => (key, values.as_slice()),
        Term::Exists(key) | Term::Absent(key) => (key, &[][..]),
    };
    let good = is_label(key) && values.iter().all(|value| is_label_value(value));
    if good { Ok(term) } else { Err(format!("unable to parse requirement: {part}")) }
}

fn label_term(part: &str) -> Result<Term, String> {
    for (word, not) in [(" notin ", true), (" in ", false)] {
        if let Some((key, set)) = part.split_once(word) {
            let set = set.trim().strip_prefix('(').and_then(|s| s.strip_suffix(')'));
            let set = set.ok_or_else(|| format!("unable to parse requirement: {part}"))?;
            let set = set.split(',').map(|v| v.trim().to_owned()).collect();
            let key = key.trim().to_owned();
            return Ok(if not { Term::NotIn(key, set) } else { Term::In(key, set) });
        }
    }
    if let Some(term) = equality(part) {
        return Ok(term);
    }
    let (key, absent) = part.strip_prefix('!').map_or((part, false), |key| (key.trim(), true));
    Ok(if absent { Term::Absent(key.into()) } else { Term::Exists(key.into()) })
}

fn equality(part: &str) -> Option<Term> {
    let (key, value) = part.split_once('=')?;
    let value = vec![value.trim_start_matches('=').trim().to_owned()];
    Some(match key.strip_suffix('!') {
        Some(key) => Term::NotIn(key.trim().into(), value),
        None => Term::In(key.trim().into(), value),
    })
}
