//! The user who authorizes by link, with curl in the place of a browser: it keeps the cookie, follows redirects, and
//! sends the form of the page that asks. The code stays between the servers: it is never shown.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::{expect, kubectl::typed, world::World};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// Opens the link, says yes, and reads what the operator says in the end.
    pub async fn consent_by(&self, link: &str) -> anyhow::Result<()> {
        let ca = self.private_file("ca.pem", self.sandbox.ca_pem())?;
        let cookies = self.cluster.folder().join("cookies");
        self.screen.say("They open it, and are redirected to the server, which asks:")?;
        let asked = self.curl(&ca, &cookies, &[link]).await?;
        expect(asked.contains("asks for access"), || "the server does not ask".to_owned())?;
        self.screen.printed(&words(&asked))?;
        self.screen
            .say("They agree: this is the form of that page. From there they are redirected to the operator.")?;
        let form = self.private_file("form", &form(&asked).context("not as expected: the page has no form")?)?;
        let yes = [&format!("@{}", form.display()), "decision=allow", "account=acme"];
        let endpoint = self.sandbox.authorization_url();
        let answer = self.curl(&ca, &cookies, &["-d", yes[0], "-d", yes[1], "-d", yes[2], &endpoint]).await?;
        self.screen.printed(&words(&answer))?;
        expect(answer.contains("<h1>Connected</h1>"), || "the page does not say that it is connected".to_owned())
    }

    /// Runs curl as a browser would act, and shows the command.
    async fn curl(&self, ca: &Path, cookies: &Path, more: &[&str]) -> anyhow::Result<String> {
        let (ca, cookies) = (ca.to_string_lossy(), cookies.to_string_lossy());
        let arguments = ["-sS", "-L", "--cacert", &ca, "-b", &cookies, "-c", &cookies];
        let arguments: Vec<&str> = arguments.into_iter().chain(more.iter().copied()).collect();
        self.screen.typed(&typed("curl", &arguments))?;
        let mut command = Command::new("curl");
        command.args(&arguments).env_remove("HTTPS_PROXY").env_remove("https_proxy").env_remove("http_proxy");
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.context("curl hangs")?;
        let output = output.context("cannot run curl: install it")?;
        if !output.status.success() {
            bail!("not as expected: curl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8(output.stdout).context("the page is no text")
    }
}

/// What a user reads of a page, a line for each paragraph.
fn words(page: &str) -> String {
    let body = page.find("<h1>").and_then(|begin| page.get(begin..)).unwrap_or(page);
    let (mut text, mut is_tag) = (String::new(), false);
    for character in body.replace("</h1>", "\n").replace("</p>", "\n").chars() {
        match character {
            '<' => is_tag = true,
            '>' => is_tag = false,
            other if !is_tag => text.push(other),
            _ => {}
        }
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("| {}\n", plain(line))).collect()
}

/// The hidden fields of the form, as a browser would send them.
fn form(page: &str) -> Option<String> {
    let mut fields = form_urlencoded::Serializer::new(String::new());
    for field in page.split(r#"<input type="hidden" name=""#).skip(1) {
        let (name, rest) = field.split_once(r#"" value=""#)?;
        fields.append_pair(name, &plain(rest.split_once('"')?.0));
    }
    Some(fields.finish()).filter(|form| !form.is_empty())
}

fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}
