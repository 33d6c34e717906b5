//! The real kubectl: run as shown, and its output shown as it is.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::world::World;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Characters that need no quotes in a shell.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character)
}

impl World {
    /// Runs kubectl, shows the command and all that it prints, and gives its output.
    pub async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.screen.typed(&as_typed(arguments))?;
        let (output, warnings) = self.run(arguments).await?;
        self.screen.printed(&warnings)?;
        self.screen.printed(&output)?;
        Ok(output)
    }

    /// Runs kubectl and shows nothing.
    pub async fn quietly(&self, arguments: &[&str]) -> anyhow::Result<String> {
        Ok(self.run(arguments).await?.0)
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<(String, String)> {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        let output =
            output.with_context(|| format!("`{}` hangs", as_typed(arguments)))?.context("cannot run kubectl")?;
        let text = |bytes| String::from_utf8(bytes).context("kubectl printed something that is no text");
        let (shown, warnings) = (text(output.stdout)?, text(output.stderr)?);
        if !output.status.success() {
            let words = if self.screen.holds_a_secret(&warnings) { "(a secret is in its answer)" } else { &warnings };
            bail!("not as expected: `{}` failed: {}", as_typed(arguments), words.trim());
        }
        Ok((shown, warnings))
    }

    /// Runs a kubectl that goes on and on, and shows its lines until one is `enough`.
    pub async fn kubectl_until(&self, arguments: &[&str], enough: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        self.screen.typed(&as_typed(arguments))?;
        let mut child = self.command(arguments).stderr(Stdio::null()).spawn().context("cannot run kubectl")?;
        let mut lines = BufReader::new(child.stdout.take().context("no pipe")?).lines();
        let watching = async {
            while let Some(line) = lines.next_line().await.context("cannot read what kubectl prints")? {
                self.screen.printed(&line)?;
                if enough(&line) {
                    return Ok(());
                }
            }
            bail!("not as expected: `{}` ended too early", as_typed(arguments))
        };
        let watched = tokio::time::timeout(PATIENCE, watching).await;
        child.kill().await.context("cannot end kubectl")?;
        watched.with_context(|| format!("not as expected: `{}` showed too little in time", as_typed(arguments)))?
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(self.cluster.kubectl());
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for us alone; then this ends, too.
        command.process_group(0).kill_on_drop(true);
        command
    }
}

fn as_typed(arguments: &[&str]) -> String {
    typed("kubectl", arguments)
}

/// A command as one would type it.
pub fn typed(program: &str, arguments: &[&str]) -> String {
    let quoted = arguments
        .iter()
        .map(|argument| if argument.chars().all(is_plain) { (*argument).to_owned() } else { format!("'{argument}'") });
    quoted.fold(program.to_owned(), |command, argument| command + " " + &argument)
}
