//! `KEEP=1`: everything stays as it is until Ctrl-C, with commands to begin with.

use std::{io, thread};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    End,
    operator::About,
    world::{CONNECTION, World},
};

/// What may be typed, and what it does.
const HELP: &str = "\
revoke   the user revokes the authorization
consent  the user consents again, and the new token is applied
outage   the authorization server is gone
back     and there again";

/// Takes orders until the end of time. The end of its input is not the end of the play.
pub async fn play(world: &World, operator: &About) -> anyhow::Result<End> {
    help(world, operator)?;
    let mut orders = orders();
    while let Some(order) = orders.recv().await {
        match order.trim() {
            "revoke" => {
                world.sandbox.revoke(CONNECTION);
                world.screen.printed("revoked: the operator learns of it with its next refresh")?;
            }
            "consent" => {
                let consent = world.consent_file()?;
                world.kubectl(&["apply", "-f", &consent.to_string_lossy()]).await?;
            }
            "outage" => {
                world.sandbox.stop();
                world.screen.printed("the server is gone")?;
            }
            "back" => {
                world.sandbox.restart()?;
                world.screen.printed("the server is there again")?;
            }
            _ => world.screen.printed(HELP)?,
        }
    }
    std::future::pending().await
}

/// Lines of standard input. They are read on a thread of their own, which the end of the demo does not wait for.
fn orders() -> UnboundedReceiver<String> {
    let (sender, orders) = unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    orders
}

fn help(world: &World, operator: &About) -> anyhow::Result<()> {
    let screen = &world.screen;
    screen.chapter("All of it stays until Ctrl-C")?;
    screen.say("In another terminal:")?;
    screen.printed(&format!(
        "\nexport KUBECONFIG={}\nalias kubectl={}\n\n\
         kubectl get pleo acme --watch\n\
         kubectl describe pleo acme\n\
         kubectl annotate pleo acme --overwrite pleo.io/refresh-requested-at=\"$(date)\"\n\
         kubectl patch pleo acme --type=merge -p '{{\"spec\":{{\"suspend\":true}}}}'\n\
         kubectl events --watch\n\
         tail -f {}\n\n",
        world.cluster.kubeconfig().display(),
        world.cluster.kubectl_program().display(),
        operator.log_file.display()
    ))?;
    screen.printed(&format!("The metrics: http://{}/metrics", operator.admin))?;
    screen.say("Here, with Enter:")?;
    screen.printed(HELP)
}
