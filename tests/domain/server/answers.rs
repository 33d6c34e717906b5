//! What each answer of the token endpoint means. A pair is never thrown away, a refusal is believed only when it is
//! unmistakable, and whatever says nothing we know leaves the token in doubt.

use std::time::Duration;

use jiff::Timestamp;
use pleo_operator::{
    domain::{
        failure::{Failure, FailureKind, Misconfiguration, Outcome, RejectionCode, TokenResponse},
        plan::schedule::{DEFAULT_LIFETIME, MAX_LIFETIME},
    },
    pleo::answer::interpret,
};

use crate::scenes::{at, pair, reply, reply_after, secs};

#[track_caller]
fn issued(body: &str) -> TokenResponse {
    match reply(200, body) {
        Outcome::Issued(issued) => issued,
        Outcome::Failed(failure) => panic!("the pair was thrown away: {failure:?}"),
    }
}

#[track_caller]
fn failed(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Issued(issued) => panic!("not a success: {issued:?}"),
    }
}

fn kind(status: u16, body: &str) -> FailureKind {
    failed(reply(status, body)).kind
}

fn life_of(expires_in: &str) -> Duration {
    issued(&format!(r#"{{"access_token":"a","refresh_token":"r","expires_in":{expires_in}}}"#)).lifetime
}

#[test]
fn a_pair_is_taken_exactly_as_it_came() {
    let pair = issued(r#"{"access_token":"a","refresh_token":"r","token_type":"bearer","expires_in":900,"scope":"x"}"#);
    assert_eq!(pair.access.unwrap().expose(), "a");
    assert_eq!(pair.refresh.unwrap().expose(), "r");
    assert_eq!(pair.token_type, "bearer");
    assert_eq!(pair.lifetime, secs(900));
}

/// T1: opaque, presented exactly as received.
#[test]
fn awkward_characters_in_a_token_are_kept_as_they_are() {
    for awkward in ["a+b/c==", "per%20cent&amp", " spaces ", "\"quoted\\\"", "line\nbreak", "tökén 🦀", "{}", "null"]
    {
        let body = serde_json::json!({"access_token": awkward, "refresh_token": awkward}).to_string();
        let pair = issued(&body);
        assert_eq!(pair.access.unwrap().expose(), awkward);
        assert_eq!(pair.refresh.unwrap().expose(), awkward);
    }
}

#[test]
fn a_life_is_read_from_a_number_or_a_string_and_bounded_by_a_day() {
    for (expires_in, seconds) in [
        ("900", 900.0),
        ("900.5", 900.5),
        ("1", 1.0),
        ("0.25", 0.25),
        (r#""900""#, 900.0),
        (r#"" 900 ""#, 900.0),
        (r#""900.5""#, 900.5),
        ("9e2", 900.0),
        ("86400", 86_400.0),
        ("86401", 86_400.0),
        ("1e300", 86_400.0),
        ("18446744073709551615", 86_400.0),
        ("340282366920938463463374607431768211456", 86_400.0),
        (r#""1e300""#, 86_400.0),
    ] {
        assert_eq!(life_of(expires_in), Duration::from_secs_f64(seconds), "{expires_in}");
    }
    assert_eq!(MAX_LIFETIME, secs(86_400));
}

#[test]
fn a_life_that_makes_no_sense_is_five_minutes_and_costs_no_pair() {
    for nonsense in [
        "0",
        "-1",
        "-0.0",
        "-1e300",
        "null",
        "true",
        "[900]",
        "{}",
        r#""""#,
        r#""soon""#,
        r#""NaN""#,
        r#""inf""#,
        r#""-inf""#,
        r#""infinity""#,
        r#""-900""#,
        r#""0""#,
        r#""15m""#,
    ] {
        assert_eq!(life_of(nonsense), DEFAULT_LIFETIME, "{nonsense}");
    }
    assert_eq!(issued(r#"{"access_token":"a","refresh_token":"r"}"#).lifetime, DEFAULT_LIFETIME);
    assert_eq!(DEFAULT_LIFETIME, secs(300));
}

#[test]
fn one_token_of_the_two_is_enough() {
    let no_refresh = issued(r#"{"access_token":"a","expires_in":900}"#);
    assert_eq!((no_refresh.access.is_some(), no_refresh.refresh), (true, None));
    let no_access = issued(r#"{"refresh_token":"r","expires_in":900}"#);
    assert_eq!((no_access.access, no_access.refresh.is_some()), (None, true));
    for blank in [r#""""#, "null", "7", "[]", "false"] {
        let refresh = issued(&format!(r#"{{"access_token":"a","refresh_token":{blank}}}"#)).refresh;
        assert_eq!(refresh, None, "{blank} is no token");
        let access = issued(&format!(r#"{{"access_token":{blank},"refresh_token":"r"}}"#)).access;
        assert_eq!(access, None, "{blank} is no token");
    }
}

#[test]
fn a_pair_is_taken_whatever_stands_beside_it() {
    for beside in [
        r#""error":"invalid_grant""#,
        r#""token_type":7"#,
        r#""token_type":"a-token-in-the-wrong-place-0123456789""#,
        r#""scope":["a",{"b":null}]"#,
        r#""expires_in":"never","expires_in":900"#,
        r#""refresh_token":"r0""#,
        r#""":"""#,
    ] {
        let pair = issued(&format!(r#"{{{beside},"access_token":"a","refresh_token":"r"}}"#));
        assert_eq!(pair.access.unwrap().expose(), "a", "{beside}");
        assert_eq!(pair.refresh.unwrap().expose(), "r", "{beside}");
        assert_eq!(pair.token_type, "Bearer", "{beside}");
    }
}

/// The pair exists nowhere else: what stands beside it must not cost it (I2).
#[test]
fn a_pair_is_taken_even_if_something_beside_it_cannot_be_read() {
    let deep = format!(r#""extra":{}{}"#, "[".repeat(200), "]".repeat(200));
    for beside in [r#""expires_in":1e400"#, r#""scope":"\ud800""#, deep.as_str()] {
        let pair = issued(&format!(r#"{{"access_token":"a","refresh_token":"r",{beside}}}"#));
        assert_eq!(pair.refresh.unwrap().expose(), "r", "{beside}");
    }
}

/// I2: gateways turn a 200 into another success, and the pair exists nowhere else.
#[test]
fn a_pair_is_taken_with_any_status_of_success() {
    for status in [200, 201, 202, 203, 204, 206, 207, 226, 299] {
        match reply(status, r#"{"access_token":"a","refresh_token":"r"}"#) {
            Outcome::Issued(pair) => assert_eq!(pair.refresh.unwrap().expose(), "r", "{status}"),
            Outcome::Failed(failure) => panic!("the pair was thrown away with {status}: {failure:?}"),
        }
    }
}

#[test]
fn a_success_without_a_token_leaves_the_outcome_unknown() {
    for body in [
        "",
        "{}",
        "null",
        "[]",
        "\"token\"",
        "<html>Welcome to the hotel's network</html>",
        r#"{"access_token":"a","refresh_to"#,
        r#"{"access_token":"","refresh_token":""}"#,
        r#"{"access_token":7,"refresh_token":null}"#,
        r#"[{"access_token":"a"}]"#,
        r#"{"error":"invalid_grant"}"#,
        r#"{"error":"invalid_client"}"#,
        r#"{"error":"invalid_request"}"#,
        "access_token=a&refresh_token=r",
    ] {
        for status in [200, 201, 203] {
            assert_eq!(kind(status, body), FailureKind::OutcomeUnknown, "{status} {body}");
        }
    }
    let bytes = interpret(200, None, b"{\"access_token\":\"\xff\"}", at(0));
    assert_eq!(failed(bytes).kind, FailureKind::OutcomeUnknown);
}

#[test]
fn a_rejection_is_a_4xx_with_one_of_two_codes() {
    for status in [400, 401, 402, 403, 404, 409, 410, 418, 422, 499] {
        let invalid_grant = kind(status, r#"{"error":"invalid_grant","error_description":"Token expired"}"#);
        assert_eq!(invalid_grant, FailureKind::Rejected(RejectionCode::InvalidGrant));
        assert_eq!(kind(status, r#"{"error":"invalid_token"}"#), FailureKind::Rejected(RejectionCode::InvalidToken));
    }
}

/// I3: a rejection is final, so it is believed only when it is unmistakable.
#[test]
fn nothing_else_is_a_rejection() {
    for code in ["invalid_grant", "invalid_token"] {
        for status in [200, 201, 204, 301, 302, 500, 502, 503] {
            let kind = kind(status, &format!(r#"{{"error":"{code}"}}"#));
            assert_eq!(kind, FailureKind::OutcomeUnknown, "{status} {code}");
        }
    }
    for body in [
        r#"{"error":"invalid_grant","error":"invalid_grant"}"#,
        r#"{"error":"invalid_grant","error":"temporarily_unavailable"}"#,
        r#"{"error":"temporarily_unavailable","error":"invalid_grant"}"#,
        r#"{"error":["invalid_grant"]}"#,
        r#"{"error":{"code":"invalid_grant"}}"#,
        r#"{"error":"INVALID_GRANT"}"#,
        r#"{"error":"invalid_grant "}"#,
        r#"{"Error":"invalid_grant"}"#,
        r#"{"error":"invalid_grant""#,
        r#"{"error":"invalid_grant"} trailing"#,
        r#"{"message":"invalid_grant"}"#,
        "invalid_grant",
        "error=invalid_grant",
        "<h1>invalid_grant</h1>",
        "",
    ] {
        let is_coded = body.contains("INVALID_GRANT") || body.contains("invalid_grant ");
        for status in [400, 401, 403] {
            let expected = match (is_coded, status) {
                (true, _) => FailureKind::UnknownRejection,
                (false, 401) => FailureKind::Misconfigured(Misconfiguration::Client),
                (false, _) => FailureKind::OutcomeUnknown,
            };
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }
}

/// 401 without a code is about the credentials of the request (RFC 9110 section 15.5.2), whatever a gateway writes.
#[test]
fn a_401_without_a_code_is_about_the_client() {
    for body in ["", "{}", "<html/>", r#"{"error":7}"#, r#"{"access_token":"a"}"#] {
        assert_eq!(kind(401, body), FailureKind::Misconfigured(Misconfiguration::Client), "{body}");
    }
}

/// Servers extend the list of RFC 6749 section 5.2. A code that says "later" is no rejection.
#[test]
fn a_code_that_is_not_known_may_be_a_rejection() {
    for code in ["access_denied", "invalid_refresh_token", "token_expired", "INVALID_GRANT"] {
        let body = format!(r#"{{"error":"{code}"}}"#);
        for status in [400, 401, 403] {
            assert_eq!(kind(status, &body), FailureKind::UnknownRejection, "{status} {code}");
        }
        for status in [404, 409, 422, 500, 503] {
            assert_eq!(kind(status, &body), FailureKind::OutcomeUnknown, "{status} {code}");
        }
    }
    for code in ["temporarily_unavailable", "server_error", "slow_down"] {
        assert_eq!(kind(400, &format!(r#"{{"error":"{code}"}}"#)), FailureKind::OutcomeUnknown, "{code}");
    }
}

#[test]
fn a_wrong_client_or_a_wrong_request_is_told_from_a_dead_token() {
    for (code, whose) in [
        ("invalid_client", Misconfiguration::Client),
        ("unauthorized_client", Misconfiguration::Client),
        ("invalid_request", Misconfiguration::Request),
        ("invalid_scope", Misconfiguration::Request),
        ("unsupported_grant_type", Misconfiguration::Request),
    ] {
        for status in [400, 401, 403] {
            let kind = kind(status, &format!(r#"{{"error":"{code}"}}"#));
            assert_eq!(kind, FailureKind::Misconfigured(whose), "{status} {code}");
        }
        assert_eq!(kind(500, &format!(r#"{{"error":"{code}"}}"#)), FailureKind::OutcomeUnknown, "500 {code}");
    }
}

#[test]
fn whatever_says_nothing_we_know_leaves_the_outcome_unknown() {
    for status in [100, 199, 300, 302, 307, 308, 400, 403, 404, 408, 422, 500, 501, 503, 504, 599, 999] {
        for body in ["", "{}", "<html/>", r#"{"error":7}"#, r#"{"access_token":"a"}"#] {
            assert_eq!(kind(status, body), FailureKind::OutcomeUnknown, "{status} {body}");
        }
    }
}

#[test]
fn too_many_requests_leaves_the_token_unspent() {
    for body in ["", "{}", r#"{"error":"invalid_grant"}"#, r#"{"access_token":"a","refresh_token":"r"}"#] {
        assert_eq!(kind(429, body), FailureKind::Throttled, "{body}");
    }
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date_and_bounded_by_a_quarter_of_an_hour() {
    let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
    assert_eq!(now, at(0));
    for (text, seconds) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("0", Some(0)),
        ("900", Some(900)),
        ("901", Some(900)),
        ("18446744073709551615", Some(900)),
        ("Mon, 02 Mar 2026 12:01:30 GMT", Some(90)),
        ("Mon, 02 Mar 2026 11:00:00 GMT", Some(0)),
        ("Tue, 03 Mar 2026 12:00:00 GMT", Some(900)),
        ("Mon, 02 Mar 2026 12:01:30 +0000", Some(90)),
        ("", None),
        ("soon", None),
        ("-7", None),
        ("1.5", None),
        ("99999999999999999999999", None),
        ("2026-03-02T12:01:30Z", None),
    ] {
        let failure = failed(reply_after(429, text, ""));
        assert_eq!((failure.kind, failure.retry_after), (FailureKind::Throttled, seconds.map(secs)), "{text:?}");
    }
    let unavailable = failed(reply_after(503, "120", ""));
    assert_eq!((unavailable.kind, unavailable.retry_after), (FailureKind::OutcomeUnknown, Some(secs(120))));
}

/// I5: the server may echo the token, so none of its words are passed on.
#[test]
fn no_word_of_the_servers_is_passed_on() {
    let echo = "s3cret-t0ken";
    for status in [100, 200, 204, 302, 400, 401, 403, 404, 429, 500, 503] {
        for body in [
            echo.to_owned(),
            format!(r#"{{"error":"{echo}"}}"#),
            format!(r#"{{"error":"invalid_grant","error_description":"{echo} expired"}}"#),
            format!(r#"{{"error":"invalid_client","error_uri":"https://x/{echo}"}}"#),
            format!(r#"{{"token":"{echo}"}}"#),
            format!(r#"{{"{echo}":1"#),
        ] {
            let outcome = interpret(status, Some(echo), body.as_bytes(), at(0));
            assert!(!format!("{outcome:?}").contains(echo), "{status} {body}: {outcome:?}");
        }
    }
    let in_the_wrong_place = issued(&format!(r#"{{"access_token":"a","token_type":"{echo}"}}"#));
    assert_eq!(in_the_wrong_place.token_type, "Bearer");
}

/// Dashboards rely on these words.
#[test]
fn each_outcome_has_its_label() {
    use pleo_operator::domain::failure::FailureKind as K;
    let failed = |kind| Outcome::Failed(Failure::new(kind, "why")).label();
    assert_eq!(pair("1").label(), "success");
    assert_eq!(
        (failed(K::NotSent), failed(K::Throttled), failed(K::OutcomeUnknown)),
        ("not_sent", "throttled", "unknown")
    );
    assert_eq!(failed(K::Misconfigured(Misconfiguration::Client)), "misconfigured");
    assert_eq!(failed(K::Rejected(RejectionCode::InvalidGrant)), "rejected");
}
