//! The pages as HTML without script, readable on a phone and in the dark. Text that is not our own is escaped, and there is no
//! token and no secret in it.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// Good, bad, or not yet known.
    pub mood: Severity,
    pub title: String,
    /// What it means and what to do, in paragraphs.
    pub text: Vec<String>,
    /// The one thing to click: what it says, and where it leads.
    pub action: Option<(String, String)>,
    /// The browser looks again automatically.
    pub looks_again: bool,
}

/// How a page looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Good,
    /// Something is to be done.
    Bad,
    /// Wait.
    Waiting,
}

impl Page {
    pub fn new(status: u16, mood: Severity, title: &str, text: &str) -> Self {
        let (title, text) = (title.to_owned(), vec![text.to_owned()]);
        Self { status, mood, title, text, action: None, looks_again: false }
    }

    /// One more paragraph.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.text.push(text.into());
        self
    }

    #[must_use]
    pub fn with_action(mut self, says: &str, leads_to: Option<String>) -> Self {
        self.action = leads_to.map(|leads_to| (says.to_owned(), leads_to));
        self
    }

    /// The page in HTML.
    pub fn html(&self) -> String {
        let mood = match self.mood {
            Severity::Good => "good",
            Severity::Bad => "bad",
            Severity::Waiting => "waiting",
        };
        let text: String = self.text.iter().map(|text| format!("<p>{}</p>", escaped(text))).collect();
        let action = self.action.as_ref().map_or_else(String::new, |(says, leads_to)| {
            format!(r#"<p><a class="action" href="{}">{}</a></p>"#, escaped(leads_to), escaped(says))
        });
        let again = if self.looks_again { r#"<meta http-equiv="refresh" content="2">"# } else { "" };
        let title = escaped(&self.title);
        format!(
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">{again}
<title>{title}</title><style>{STYLE}</style></head>
<body><main class="{mood}"><h1>{title}</h1>{text}{action}</main></body></html>
"#
        )
    }
}

/// The policy of every page: nothing is loaded, nothing runs, no one frames it.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--text:#1d2430;--soft:#566072;--good:#12805c;--bad:#b3261e;--wait:#8a6100}\
@media(prefers-color-scheme:dark){:root{--back:#12151b;--card:#1c212b;--text:#e8ebf1;--soft:#a7b0c0;--good:#4fd1a1;--bad:#ff8a80;--wait:#f5c451}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:var(--back);color:var(--text);font:1.0625rem/1.55 system-ui,sans-serif}\
main{width:100%;max-width:34rem;padding:2rem;background:var(--card);border-radius:.75rem;border-top:.375rem solid var(--soft);box-shadow:0 1px 4px rgb(0 0 0/.18);overflow-wrap:anywhere}\
main.good{border-color:var(--good)}main.bad{border-color:var(--bad)}main.waiting{border-color:var(--wait)}\
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25}\
p{margin:0 0 1rem;color:var(--soft)}p:first-of-type{color:var(--text)}p:last-child{margin-bottom:0}\
a.action{display:inline-block;padding:.625rem 1.125rem;border-radius:.5rem;background:var(--text);color:var(--card);text-decoration:none;font-weight:600}\
a.action:focus-visible{outline:3px solid var(--wait);outline-offset:3px}";

/// Safe in text and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}
