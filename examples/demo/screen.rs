//! What the demo prints: chapters, plain sentences, commands with their output. Everything passes the guard here: a line
//! that held a token would end the demo instead of being printed.

use std::{
    io::{self, Write as _},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use pleo_sandbox::Sandbox;

/// Standard output, guarded.
pub struct Screen {
    sandbox: Arc<Sandbox>,
}

impl Screen {
    pub fn new(sandbox: Arc<Sandbox>) -> Self {
        Self { sandbox }
    }

    /// A heading.
    pub fn chapter(&self, title: &str) -> anyhow::Result<()> {
        self.line(&format!("\n{title}\n{}", "-".repeat(title.chars().count())))
    }

    /// What one is looking at.
    pub fn say(&self, sentences: &str) -> anyhow::Result<()> {
        self.line(&format!("\n{sentences}"))
    }

    /// A command as typed.
    pub fn typed(&self, command: &str) -> anyhow::Result<()> {
        self.line(&format!("\n  $ {command}"))
    }

    /// A request as sent.
    pub fn asked(&self, request: &str) -> anyhow::Result<()> {
        self.line(&format!("\n  > {request}"))
    }

    /// What came of it.
    pub fn printed(&self, output: &str) -> anyhow::Result<()> {
        for line in output.lines() {
            self.line(format!("  {line}").trim_end())?;
        }
        Ok(())
    }

    /// The last lines of a log, for a demo that failed.
    pub fn last_words(&self, log: &str) {
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        let tail = if self.holds_a_secret(&tail) { "(a secret stands in it: it is not shown)" } else { &tail };
        // The error itself is reported anyway.
        let _ = writeln!(io::stderr(), "\nThe operator's log ended with:\n{tail}");
    }

    /// Whether that text holds the client's secret or any token that the sandbox ever issued.
    pub fn holds_a_secret(&self, text: &str) -> bool {
        let tokens = self.sandbox.issued_tokens();
        let secrets = tokens.iter().map(String::as_str).chain(["sandbox-secret"]);
        secrets.into_iter().any(|secret| text.contains(secret) || text.contains(&BASE64_STANDARD.encode(secret)))
    }

    fn line(&self, text: &str) -> anyhow::Result<()> {
        if self.holds_a_secret(text) {
            bail!("not as expected: a line would have shown a secret; it was not printed");
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
    }
}
