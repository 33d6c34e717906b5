//! A proxy on the way, as `HTTPS_PROXY` names it. It sees a host and a port, and no token; what it says in the server's
//! place is never taken for the server's word.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    process::inner,
    support::{
        hunt::{PAIR, SPENT, no_secret_in},
        server::{Bare, Script, Server, reply},
        siege,
    },
};

/// What the inner process prints when a proxy says this to its CONNECT.
async fn behind(says: impl AsRef<[u8]> + Send + 'static) -> String {
    let proxy = Server::start(Script::socket(async move |bare: &mut Bare| {
        let mut begin = [0; 4];
        bare.socket.read_exact(&mut begin).await?;
        bare.received.extend(begin);
        while !bare.received.ends_with(b"\r\n\r\n") {
            bare.socket.read_buf(&mut bare.received).await?;
        }
        bare.socket.write_all(says.as_ref()).await?;
        bare.socket.shutdown().await
    }));
    let proxied = format!("http://somebody:proxy0password@{}", proxy.address);
    let variables = [("HTTPS_PROXY", proxied.as_str()), ("NO_PROXY", "")];
    let output = inner::run("connections::proxies::one_exchange_in_a_process_of_its_own", &variables).await;
    let tally = proxy.finish().await;
    let asked = String::from_utf8_lossy(&tally.received);
    assert!(asked.starts_with("CONNECT auth.pleo.invalid:443 HTTP/1.1\r\n"), "{asked}");
    assert!(!asked.contains(SPENT), "a proxy gets no token");
    assert_eq!(tally.connections, 1, "nobody comes a second time");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(!told.contains("proxy0password"), "{told}");
    told
}

/// The inner process.
#[tokio::test]
#[ignore = "needs the proxy of the tests beside it"]
async fn one_exchange_in_a_process_of_its_own() {
    if !inner::is_here() {
        return;
    }
    let (outcome, logs) = siege::exchange_with("https://auth.pleo.invalid/oauth/token").await;
    no_secret_in(&format!("{outcome:?}"), "the outcome");
    no_secret_in(&logs, "the log");
    assert!(!logs.contains("proxy0password"), "{logs}");
    println!("{outcome:?}");
}

/// Nothing was sent, so nothing is in doubt, whatever a proxy says to CONNECT.
#[tokio::test]
async fn a_proxy_that_lets_nobody_through_gets_no_token() {
    let page = "<html>invalid_grant</html>";
    for said in [
        reply("407 Proxy Authentication Required", "proxy-authenticate: Basic realm=\"x\"\r\n", page),
        reply("403 Forbidden", "content-type: text/html\r\n", page),
        reply("502 Bad Gateway", "", r#"{"error":"invalid_grant"}"#),
        reply("302 Found", "location: https://127.0.0.1/\r\n", ""),
        reply("400 Bad Request", "", r#"{"error":"invalid_grant"}"#),
        b"HTTP/1.1 200 OK\r\n".repeat(2000),
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(),
        Vec::new(),
    ] {
        let told = behind(said).await;
        assert!(told.contains("NotSent"), "{told}");
    }
}

#[tokio::test]
async fn a_proxy_that_answers_in_the_servers_place_gets_no_token() {
    for said in ["<html>invalid_grant</html>", r#"{"error":"invalid_grant"}"#, PAIR] {
        let told = behind([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &reply("200 OK", "", said)].concat()).await;
        assert!(told.contains("NotSent"), "{told}");
    }
}
