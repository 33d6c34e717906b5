//! Whoever is pointed to gets nothing: a token is only sent to the server it came from (I8).

use std::{io::ErrorKind, net::TcpListener};

use crate::support::{
    server::reply,
    siege::{Attack, Unknown},
};

#[tokio::test]
async fn nobody_is_followed_anywhere() {
    for (status, why) in [
        ("300 Multiple Choices", "the server answered 300"),
        ("301 Moved Permanently", "the server answered 301"),
        ("302 Found", "the server answered 302"),
        ("303 See Other", "the server answered 303"),
        ("305 Use Proxy", "the server answered 305"),
        ("307 Temporary Redirect", "the server answered 307"),
        ("308 Permanent Redirect", "the server answered 308"),
    ] {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        for scheme in ["https:", "http:", ""] {
            let headers = format!("location: {scheme}//{}/oauth/token\r\n", elsewhere.local_addr().unwrap());
            points(status, headers).ends_as(Unknown(why)).await;
        }
        let came = elsewhere.accept().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(came, Err(ErrorKind::WouldBlock), "{status}: nobody came");
    }
}

/// Not even to the same server, which would get the token twice (I1).
#[tokio::test]
async fn not_even_the_same_server_is_asked_again() {
    points("307 Temporary Redirect", "location: /oauth/token\r\n".into())
        .ends_as(Unknown("the server answered 307"))
        .await;
    points("308 Permanent Redirect", "location: ?again\r\n".into()).ends_as(Unknown("the server answered 308")).await;
}

#[tokio::test]
async fn other_ways_to_point_elsewhere_are_not_followed_either() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = elsewhere.local_addr().unwrap();
    let headers =
        format!("alt-svc: h2=\"{there}\"; ma=3600\r\nrefresh: 0; url=https://{there}/\r\nlink: <https://{there}/>\r\n");
    points("503 Service Unavailable", headers).ends_as(Unknown("the server answered 503")).await;
    assert_eq!(elsewhere.accept().map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

fn points(status: &'static str, headers: String) -> Attack {
    Attack::after_request(async move |wire| wire.say(reply(status, &headers, "")).await)
}
