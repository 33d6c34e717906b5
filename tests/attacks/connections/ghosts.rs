//! I1: a request whose socket was given up never reaches the server later. The kernel would go on to deliver what it holds
//! of it, and by then the token may have been presented again.

use pleo_operator::domain::failure::{FailureKind, Outcome};
use tokio::sync::oneshot;

use crate::{
    connections::certificates::Tls,
    support::{
        server::{Script, Server, is_whole},
        siege::impatient_exchange,
    },
};

/// More than the server's receive buffer takes.
const LONG_TOKEN: usize = 12 << 10;

/// A server that is stuck reads on when the client is gone.
#[tokio::test]
async fn a_request_that_was_given_up_does_not_reach_the_server_later() {
    let (client_is_gone, goes_on) = oneshot::channel();
    let server = Server::start(Script::wire(Tls::new(), async |_| {
        let _ = goes_on.await;
        Ok(())
    }));
    let token = "t".repeat(LONG_TOKEN);
    let outcome = impatient_exchange(&server.token_url(), &token).await;
    let Outcome::Failed(failure) = outcome else { panic!("no answer was given") };
    assert_eq!(failure.kind, FailureKind::OutcomeUnknown);

    client_is_gone.send(()).unwrap();
    let tally = server.finish().await;
    assert_eq!(tally.connections, 1);
    assert!(!is_whole(&tally.received), "all of it came: {} bytes", tally.received.len());
}
