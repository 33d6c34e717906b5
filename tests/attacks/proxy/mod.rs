//! The proxy between a hostile client and a hostile API. Nothing that a client sends reaches another host, removes the token or
//! becomes a second request; and no client gets the token.

mod requests;
mod responses;

use std::time::Duration;

use pleo_operator::proxy::config::Listen;
use pleo_test_support::proxy::{RunningProxy, TokenFolder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    connections::certificates::{TRUSTED, Tls},
    support::{
        hunt::ACCESS,
        server::{Script, Server, Tally, Wire, reply},
    },
};

/// A proxy with a good token, before a server that follows a script.
struct Front {
    server: Server,
    proxy: RunningProxy,
    _folder: TokenFolder,
}

impl Front {
    async fn before(script: impl AsyncFnOnce(&mut Wire) -> std::io::Result<()> + Send + 'static) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Server::start(Script::wire(Tls::new(), script));
        let mut folder = TokenFolder::default();
        folder.publish_token(ACCESS, Duration::from_secs(800), Duration::from_secs(900));
        let listen = Listen::Tcp(([127, 0, 0, 1], 0).into());
        let upstream = format!("https://{}", server.address);
        let proxy = RunningProxy::start(&folder, &upstream, &TRUSTED.pem(), listen, |_| ()).await;
        Self { server, proxy, _folder: folder }
    }

    /// Before a server that answers one request with 200.
    async fn before_a_good_server() -> Self {
        Self::before(async |wire| {
            wire.request().await?;
            wire.say(reply("200 OK", "", "{}")).await
        })
        .await
    }

    /// What the proxy answers to these bytes, on one connection that is read to its end. `HOST` stands for its own address.
    async fn says(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.proxy.tcp()).await.unwrap();
        let request = request.replace("HOST", &self.proxy.tcp().to_string());
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        // A reset is an end, too.
        let _ = socket.read_to_end(&mut response).await;
        String::from_utf8(response).unwrap()
    }

    /// What the server saw. No client may have got the token.
    async fn finish(self) -> Tally {
        self.proxy.stop().await;
        self.server.finish().await
    }
}

/// All that the server received, as text.
fn received(tally: &Tally) -> String {
    String::from_utf8(tally.received.clone()).unwrap()
}
