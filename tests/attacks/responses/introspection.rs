//! Answers of an introspection endpoint (RFC 7662): only a plain one is believed, whatever else comes costs five seconds at most.

use pleo_operator::domain::introspection::Introspected::{self, Active, Inactive, NoAnswer, Refused};

use crate::{
    connections::certificates::Tls,
    support::{
        hunt::{CLIENT_SECRET, SPENT, no_secret_in},
        question::question,
        server::{Script, Wire, reply},
    },
};

/// Asks once, and asserts what holds for every answer.
async fn asks(script: impl AsyncFnOnce(&mut Wire) -> std::io::Result<()> + Send + 'static) -> Introspected {
    let (answer, tally, logs) = question(Script::wire(Tls::new(), async move |wire| {
        wire.request().await?;
        script(wire).await
    }))
    .await;
    let received = String::from_utf8_lossy(&tally.received).into_owned();
    assert_eq!((tally.connections, received.matches(SPENT).count()), (1, 1), "asked once");
    assert!(received.contains("token_type_hint=refresh_token"), "{received}");
    assert!(received.to_lowercase().contains("authorization: basic ") && !received.contains(CLIENT_SECRET), "Basic");
    assert!(!received.contains("grant_type"), "a question does not use the token");
    no_secret_in(&logs, "the log");
    answer
}

async fn answered(status: &'static str, body: &'static str) -> Introspected {
    asks(async move |wire| wire.say(reply(status, "", body)).await).await
}

#[tokio::test]
async fn only_a_boolean_in_a_200_is_an_answer() {
    for (body, expected) in [
        (r#"{"active":true}"#, Active),
        (r#"{"active":true,"sub":"x","exp":1,"urn:pleo:params:oauth:subject_urn":"urn:pleo:company:1"}"#, Active),
        (r#"{"active":false}"#, Inactive),
        (r#"{"active":"true"}"#, NoAnswer),
        (r#"{"active":"false"}"#, NoAnswer),
        (r#"{"active":0}"#, NoAnswer),
        (r#"{"active":null}"#, NoAnswer),
        (r#"{"active":false,"active":false}"#, NoAnswer),
        (r#"{"active":true,"active":false}"#, NoAnswer),
        (r#"[{"active":false}]"#, NoAnswer),
        (r#"{"active":false"#, NoAnswer),
        (r#"{"active":false} x"#, NoAnswer),
        ("{}", NoAnswer),
        ("false", NoAnswer),
        ("<html>a login page</html>", NoAnswer),
        ("", NoAnswer),
    ] {
        assert_eq!(answered("200 OK", body).await, expected, "{body}");
    }
}

#[tokio::test]
async fn another_status_says_nothing_about_the_token() {
    for (status, expected) in [
        ("201 Created", NoAnswer),
        ("307 Temporary Redirect", NoAnswer),
        ("400 Bad Request", Refused),
        ("401 Unauthorized", Refused),
        ("403 Forbidden", Refused),
        ("404 Not Found", Refused),
        ("408 Request Timeout", NoAnswer),
        ("429 Too Many Requests", NoAnswer),
        ("500 Internal Server Error", NoAnswer),
        ("503 Service Unavailable", NoAnswer),
    ] {
        assert_eq!(answered(status, r#"{"active":false}"#).await, expected, "{status}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_ends_is_none() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"active\":false}";
    assert_eq!(asks(async move |wire| wire.say(cut).await).await, NoAnswer);
    let endless = "HTTP/1.1 200 OK\r\n\r\n{\"active\":false,\"x\":\"";
    let flood = asks(async move |wire| {
        wire.say(endless).await?;
        wire.flood([b'y'; 16 << 10]).await
    });
    assert_eq!(flood.await, NoAnswer);
    let drip = asks(async move |wire| {
        wire.say("HTTP/1.1 200 OK\r\n\r\n").await?;
        wire.drip(" ").await
    });
    assert_eq!(drip.await, NoAnswer);
}
