//! The story, chapter by chapter. Each says what one is looking at, shows it, and checks that it is so.

use anyhow::Context as _;
use reqwest::StatusCode;

use crate::{
    End, expect,
    operator::About,
    world::{ACCESS_LIFE, CONNECTION, World},
};

/// How many new tokens are waited for.
const ROTATIONS: u64 = 3;

const SHOW_VALUES: &str = "go-template=rotation {{.data.rotation | base64decode}}, {{.data.state | base64decode}} \
                           until {{.data.expires_at | base64decode}}{{\"\\n\"}}";
const SHOW_STATE: &str = "go-template={{.data.state | base64decode}}{{\"\\n\"}}";
const SHOW_CONDITIONS: &str = "jsonpath={range .status.conditions[*]}{.type} is {.status}: {.reason}{\"\\n\"}{end}";
const SHOW_LINK: &str = "jsonpath={.status.authorizationURL}";
const SHOW_MESSAGE: &str = "jsonpath={.status.conditions[?(@.type==\"ReauthRequired\")].message}";

/// All that happens while the operator runs.
pub async fn tell(world: &World, operator: &About) -> anyhow::Result<End> {
    meet(world, operator).await?;
    connect(world).await?;
    look_at_the_secrets(world).await?;
    rotate(world).await?;
    revoke(world).await?;
    consent_again(world).await?;
    look_back(world, operator).await?;
    Ok(End::Passed)
}

/// Before the operator is started.
pub async fn install(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("1. The operator")?;
    screen.say("This is a real API server, new and empty, on this machine. It learns what a PleoConnection is.")?;
    world.kubectl(&["apply", "-f", "crds/pleo.io_pleoconnections.yaml"]).await?;
    world.kubectl(&["wait", "--for=condition=Established", "crd/pleoconnections.pleo.io", "--timeout=30s"]).await?;
    Ok(())
}

async fn meet(world: &World, operator: &About) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.say(
        "The operator runs as a process of its own. The sandbox plays Pleo's authorization server, over HTTPS, and is\n\
         strict: each refresh token is good for one use. Of several operators only the holder of the Lease works.",
    )?;
    screen.typed(&format!("{} &", operator.command))?;
    world.kubectl(&["wait", "--for=create", "lease/pleo-operator", "--timeout=30s"]).await?;
    world.kubectl(&["get", "lease", "pleo-operator"]).await?;
    Ok(())
}

async fn connect(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("2. A connection")?;
    screen.say(
        "A user has authorized the client, which returned a refresh token. It is in one Secret, the client's credentials\n\
         are in another, and the connection refers to both. These are examples/sandbox.yaml and examples/consent.yaml, filled in.",
    )?;
    let (connection, consent) = (world.connection_file()?, world.consent_file()?);
    let (connection, consent) = (connection.to_string_lossy(), consent.to_string_lossy());
    world.kubectl(&["apply", "-f", &connection, "-f", &consent]).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "pleo/acme", "--timeout=30s"]).await?;
    world.kubectl(&["get", "pleo", "acme"]).await?;
    Ok(())
}

async fn look_at_the_secrets(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("3. The token, where pods find it")?;
    screen.say("The Secret that pods mount. It has an access token, and never a refresh token.")?;
    let described = world.kubectl(&["describe", "secret", "acme-token"]).await?;
    expect(described.contains("access_token:"), || "there is no access_token in the Secret".to_owned())?;
    expect(!described.contains("refresh_token"), || "a refresh token is where pods can see it".to_owned())?;
    world.kubectl(&["get", "secret", "acme-token", "-o", SHOW_VALUES]).await?;
    screen.say(
        "The refresh token is in pleo-grant-acme, the operator's own. The token in acme-grant was used, so it was\n\
         removed: 0 keys.",
    )?;
    let listed = world.kubectl(&["get", "secrets"]).await?;
    let initial = listed.lines().find(|line| line.starts_with("acme-grant ")).unwrap_or_default();
    expect(initial.split_whitespace().nth(2) == Some("0"), || "the used token is still in acme-grant".to_owned())?;
    no_copy_is_left(world).await?;
    screen.say("A pod with examples/pod.yaml reads the token from a file, and calls the API.")?;
    use_the_token(world).await?;
    Ok(())
}

async fn rotate(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("4. Rotations")?;
    screen.say(&format!(
        "Tokens of this sandbox live for {} seconds. At half of that (with a lifetime of an hour: 5 minutes before the end)\n\
         the operator refreshes, and updates the Secret at once. This watches {ROTATIONS} more.",
        ACCESS_LIFE.as_secs()
    ))?;
    let earlier = use_the_token(world).await?;
    let target = rotation(world).await? + ROTATIONS;
    let columns = "custom-columns=NAME:.metadata.name,ROTATION:.status.rotation,EXPIRES:.status.expirationTime,\
                   NEXT:.status.nextRefreshTime";
    let number = |line: &str| line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    let enough = |line: &str| number(line).is_some_and(|number| number >= target);
    world.kubectl_until(&["get", "pleo", "acme", "--watch", "-o", columns], enough).await?;
    screen.say("Each rotation invalidates the earlier tokens. The latest works, the one from above does not.")?;
    use_the_token(world).await?;
    let status = world.call_with(&earlier, "the token from above").await?;
    expect(status == StatusCode::UNAUTHORIZED, || "an old token still works".to_owned())
}

async fn revoke(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("5. The user revokes the authorization")?;
    world.sandbox.revoke(CONNECTION);
    screen.say("It was revoked at the server just now. The operator notices at its next refresh.")?;
    world.kubectl(&["wait", "--for=condition=ReauthRequired", "pleo/acme", "--timeout=30s"]).await?;
    world.kubectl(&["get", "pleo", "acme"]).await?;
    screen.say("Its conditions report what happened, and what to do.")?;
    let shown = world.kubectl(&["get", "pleo", "acme", "-o", SHOW_CONDITIONS]).await?;
    world.kubectl(&["get", "pleo", "acme", "-o", SHOW_MESSAGE]).await?;
    expect(shown.contains("ReauthRequired is True: GrantRefused"), || "the condition has another reason".to_owned())?;
    screen.say("The rejected tokens were wiped. The state in a pod's file says that a user must authorize again.")?;
    let described = world.kubectl(&["describe", "secret", "acme-token"]).await?;
    expect(!described.contains("access_token:"), || "a rejected token was left in the Secret".to_owned())?;
    let state = world.kubectl(&["get", "secret", "acme-token", "-o", SHOW_STATE]).await?;
    expect(state.trim() == "ReauthRequired", || format!("the state is {}", state.trim()))?;
    let refusals = world.sandbox.counters(CONNECTION).refusals;
    expect(refusals == 1, || format!("the server refused {refusals} exchanges instead of one"))
}

async fn consent_again(world: &World) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("6. And authorizes again")?;
    screen.say(
        "A user opens the link in the status, and agrees at the server. No person handles a token, and everything else\n\
         stays as it is. Here curl is the browser.",
    )?;
    let before = rotation(world).await?;
    let link = world.kubectl(&["get", "pleo", "acme", "-o", SHOW_LINK]).await?;
    world.consent_by(&link).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "pleo/acme", "--timeout=30s"]).await?;
    world.kubectl(&["get", "pleo", "acme"]).await?;
    let after = rotation(world).await?;
    expect(after > before, || format!("the rotation went from {before} to {after}"))?;
    use_the_token(world).await?;
    Ok(())
}

async fn look_back(world: &World, operator: &About) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("7. Events and metrics")?;
    screen.say("Events report changes of conditions. Another rotation is not one.")?;
    world.kubectl(&["events", "--for", "pleoconnection/acme"]).await?;
    screen.say("Metrics count every attempt.")?;
    let url = format!("http://{}/metrics", operator.admin);
    let metrics = world.metrics(&url).await?;
    let shown = ["pleo_refresh_attempts_total", "pleo_connection_ready{", "pleo_leader"];
    let is_shown = |line: &&str| shown.iter().any(|shown| line.starts_with(shown));
    let mut lines: Vec<&str> = metrics.lines().filter(is_shown).collect();
    lines.sort_unstable();
    screen.printed(&lines.join("\n"))?;
    let seen = world.sandbox.counters(CONNECTION);
    screen.say(&format!(
        "The sandbox counted {} exchanges: {} rotations, {} refused. Overlapping: {}. Tokens sent twice: {}.",
        seen.exchanges, seen.rotations, seen.refusals, seen.overlapping, seen.resent
    ))?;
    expect(seen.overlapping == 0, || "two exchanges overlapped".to_owned())?;
    expect(seen.resent == 0, || "a refresh token was sent twice".to_owned())
}

/// After the operator has ended: nothing leaked.
pub fn the_end(world: &World, operator: &About) -> anyhow::Result<()> {
    let log = operator.log()?;
    expect(!log.is_empty(), || "the operator logged nothing".to_owned())?;
    expect(!world.screen.holds_a_secret(&log), || "the operator's log holds a secret".to_owned())?;
    let tokens = world.sandbox.issued_tokens().len();
    world
        .screen
        .say(&format!("The operator drained and exited 0. None of {tokens} tokens is in its log. All checks passed.\n"))
}

/// Calls the API with the token that pods see, until it is taken: between reading and calling it may have been rotated,
/// as it may in a pod, which then reads the file again. Gives the token.
async fn use_the_token(world: &World) -> anyhow::Result<String> {
    for _ in 0..3 {
        let call = world.consume().await?;
        if call.status == StatusCode::OK {
            return Ok(call.token);
        }
        world.screen.say("It was rotated at this very moment. A pod reads the file again:")?;
    }
    expect(false, || "the API does not take the token that pods see".to_owned())?;
    Ok(String::new())
}

/// `kubectl apply` keeps a copy of what it applied in an annotation.
async fn no_copy_is_left(world: &World) -> anyhow::Result<()> {
    let annotations = world.quietly(&["get", "secret", "acme-grant", "-o", "jsonpath={.metadata.annotations}"]).await?;
    expect(!annotations.contains("refresh_token"), || "kubectl's copy of the used token is still in acme-grant".into())
}

async fn rotation(world: &World) -> anyhow::Result<u64> {
    let shown = world.quietly(&["get", "pleo", "acme", "-o", "jsonpath={.status.rotation}"]).await?;
    shown.parse().with_context(|| format!("not as expected: the rotation is {shown:?}"))
}
