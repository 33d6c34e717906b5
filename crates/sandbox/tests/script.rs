//! Scripts: their JSON, their order, and the replies they make. Pure: no socket, no clock.

use std::time::Duration;

use jiff::Timestamp;
use pleo_sandbox::{
    authority::{Pair, Refusal},
    script::{ANY, HttpReply, Malformed, Reply, ReplyBody, RetryAfter, Scripts, Step},
};
use serde_json::{Value, json};

const TOKEN: &str = r#"a"b\c<{{refresh_token}}>+/=%& '"#;

fn pair() -> Pair {
    Pair { access_token: TOKEN.into(), refresh_token: "next".into(), expires_in: Duration::from_secs(20) }
}

fn reply(step: &Step) -> HttpReply {
    let judged = step.rotates().then(|| Ok(pair()));
    match step.reply(judged.as_ref(), Timestamp::UNIX_EPOCH) {
        Reply::Http(reply) => reply,
        Reply::Cut => panic!("cut"),
    }
}

fn body(step: &Step) -> String {
    match reply(step).body {
        ReplyBody::Whole(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn header(step: &Step, name: &str) -> Option<String> {
    reply(step).headers.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[test]
fn steps_are_used_up_in_order_then_the_repeated_one_then_good_behavior() {
    let mut scripts = Scripts::default();
    scripts.push("acme", [Step::status(500), Step::status(501)]);
    scripts.repeat("acme", Step::status(502));
    scripts.push(ANY, [Step::status(503)]);
    let next = |scripts: &mut Scripts| scripts.next(Some("acme"));
    for status in [500, 501, 502, 502] {
        assert_eq!(next(&mut scripts), Step::status(status));
    }
    scripts.clear("acme");
    assert_eq!(next(&mut scripts), Step::status(503), "one for any connection");
    assert_eq!(next(&mut scripts), Step::normal());
    scripts.push(ANY, [Step::status(504)]);
    assert_eq!(scripts.next(None), Step::status(504), "and for tokens of none");
}

#[test]
fn every_form_of_a_step_is_read_and_written_back() {
    let forms = [
        json!({"answer": "normal"}),
        json!({"before": "2s", "after": "1m30s", "answer": "normal"}),
        json!({"answer": {"pair": {"status": 201}}}),
        json!({"answer": {"pair": {"codings": ["gzip", "deflate", "raw_deflate", "br", "zstd"]}}}),
        json!({"before": "hold", "answer": "request_lost"}),
        json!({"after": "hold", "answer": "answer_lost"}),
        json!({"answer": {"status": {"status": 429, "retry_after": {"seconds": 7}}}}),
        json!({"answer": {"status": {"status": 503, "retry_after": {"date_in": "7s"}}}}),
        json!({"rotate": true, "answer": {"status": {"status": 503, "retry_after": {"raw": "soon"}}}}),
        json!({"answer": {"error": {"code": "invalid_grant", "status": 401, "description": "gone"}}}),
        json!({"answer": {"malformed": "html"}}),
        json!({"answer": {"malformed": {"huge": 1000}}}),
        json!({"answer": {"malformed": {"drip": "1s"}}}),
        json!({"answer": {"redirect": {"status": 307, "location": "https://localhost/"}}}),
        json!({"answer": {"custom": {"status": 200, "headers": [["x", "y"]], "body": "text"}}}),
        json!({"answer": {"custom": {"status": 200, "headers": [], "body": {"base64": "//8="}}}}),
    ];
    for form in forms {
        let step: Step = serde_json::from_value(form.clone()).unwrap();
        step.validate().unwrap();
        assert_eq!(serde_json::to_value(&step).unwrap(), form);
    }
    assert_eq!(serde_json::from_str::<Step>("{}").unwrap(), Step::normal());
}

#[test]
fn wrong_steps_are_refused_with_words_that_help() {
    let wrong = [
        (json!({"answr": "normal"}), "unknown field `answr`"),
        (json!({"answer": "nothing"}), "expected one of `normal`, `pair`, `request_lost`"),
        (json!({"before": "later"}), "write it like 300ms, 20s or 1h30m, or `hold`"),
        (json!({"answer": {"status": {"status": 99}}}), "`status` must be 200 to 599"),
        (json!({"answer": {"pair": {"status": 304}}}), "`status` must be 200 to 299"),
        (json!({"answer": {"pair": {"codings": ["lzma"]}}}), "unknown variant `lzma`, expected one of `gzip`"),
        (json!({"answer": {"redirect": {"status": 200, "location": "/"}}}), "300 to 399"),
        (json!({"rotate": true, "answer": "request_lost"}), "write `answer_lost`"),
        (json!({"rotate": false, "answer": "answer_lost"}), "write `request_lost`"),
        (json!({"rotate": false}), "leave `rotate` out"),
        (json!({"answer": {"custom": {"status": 200, "body": 7}}}), "a body is a string or"),
    ];
    for (form, words) in wrong {
        let error = serde_json::from_value::<Step>(form.clone())
            .map_err(|error| error.to_string())
            .and_then(|step| step.validate())
            .unwrap_err();
        assert!(error.contains(words), "{form}: {error}");
    }
}

#[test]
fn a_normal_answer_is_what_the_rfc_says() {
    let answer: Value = serde_json::from_str(&body(&Step::normal())).unwrap();
    let expected = json!({
        "access_token": TOKEN, "token_type": "Bearer", "expires_in": 20, "refresh_token": "next"
    });
    assert_eq!(answer, expected);
    assert_eq!(header(&Step::normal(), "cache-control").unwrap(), "no-store");
}

#[test]
fn placeholders_are_filled_in_once_and_escaped() {
    let step = Step::custom(200, r#"{"access_token":"{{access_token}}","r":"{{refresh_token}}","e":{{expires_in}}}"#);
    assert!(step.rotates());
    let answer: Value = serde_json::from_str(&body(&step)).unwrap();
    assert_eq!(answer, json!({"access_token": TOKEN, "r": "next", "e": 20}));
    assert!(!Step::custom(200, "{{expires_in}}").rotates(), "no token, no rotation");
}

#[test]
fn retry_after_has_both_its_forms() {
    let step = |retry_after| Step::status(503).retry_after(retry_after);
    assert_eq!(header(&step(RetryAfter::Seconds(7)), "retry-after").unwrap(), "7");
    let date = step(RetryAfter::DateIn(Duration::from_secs(3600)));
    assert_eq!(header(&date, "retry-after").unwrap(), "Thu, 01 Jan 1970 01:00:00 GMT");
    assert_eq!(header(&step(RetryAfter::Raw("soon".into())), "retry-after").unwrap(), "soon");
}

#[test]
fn an_oauth_error_has_its_status_code_and_description() {
    let codes = [
        ("invalid_grant", 400),
        ("invalid_token", 400),
        ("invalid_client", 401),
        ("unauthorized_client", 400),
        ("invalid_scope", 400),
        ("unsupported_grant_type", 400),
        ("invalid_request", 400),
        ("never_heard_of", 400),
    ];
    for (code, status) in codes {
        let step = Step::error(code).described("so");
        assert!(!step.rotates());
        assert_eq!(reply(&step).status, status);
        let answer: Value = serde_json::from_str(&body(&step)).unwrap();
        assert_eq!(answer, json!({"error": code, "error_description": "so"}));
    }
    assert_eq!(reply(&Step::error("invalid_grant").with_status(401)).status, 401);
}

#[test]
fn a_real_refusal_goes_before_a_scripted_answer_unless_it_is_cut() {
    let refused = Err(Refusal::SpentToken);
    let step = Step::status(500).rotating();
    match step.reply(Some(&refused), Timestamp::UNIX_EPOCH) {
        Reply::Http(reply) => assert_eq!(reply.status, 400),
        Reply::Cut => panic!("cut"),
    }
    assert_eq!(Step::answer_lost().reply(Some(&refused), Timestamp::UNIX_EPOCH), Reply::Cut);
    assert_eq!(Step::request_lost().reply(None, Timestamp::UNIX_EPOCH), Reply::Cut);
}

#[test]
fn malformed_bodies_are_wrong_in_the_way_they_say() {
    let text = |malformed| body(&Step::malformed(malformed));
    let parsed = |malformed| serde_json::from_str::<Value>(&text(malformed));
    for malformed in [Malformed::NotJson, Malformed::Html, Malformed::Empty, Malformed::Truncated] {
        assert!(parsed(malformed).is_err());
    }
    assert_eq!(header(&Step::malformed(Malformed::Html), "content-type").unwrap(), "text/html");
    assert_eq!(header(&Step::malformed(Malformed::GzipGarbage), "content-encoding").unwrap(), "gzip");
    assert_eq!(parsed(Malformed::ExpiresInString).unwrap()["expires_in"], "20");
    assert_eq!(parsed(Malformed::ExpiresInZero).unwrap()["expires_in"], 0);
    assert_eq!(parsed(Malformed::ExpiresInNegative).unwrap()["expires_in"], -1);
    assert_eq!(parsed(Malformed::ExpiresInFloat).unwrap()["expires_in"], 20.5);
    assert!(text(Malformed::ExpiresInHuge).contains(r#""expires_in":1000000000000000000000000000000,"#));
    for (malformed, absent) in [
        (Malformed::ExpiresInAbsent, "expires_in"),
        (Malformed::NoRefreshToken, "refresh_token"),
        (Malformed::NoAccessToken, "access_token"),
    ] {
        let answer = parsed(malformed).unwrap();
        assert_eq!((answer.get(absent), answer.as_object().unwrap().len()), (None, 3));
    }
    assert!(parsed(Malformed::WrongTypes).unwrap()["access_token"].is_array());
    assert_eq!(text(Malformed::DuplicateKeys).matches("\"access_token\"").count(), 2);
}
