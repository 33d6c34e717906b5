//! Whole answers with a status line or headers that are strange, misplaced or plainly wrong.

use pleo_operator::domain::failure::{Misconfiguration, RejectionCode::InvalidGrant};

use crate::{
    attacks,
    support::{
        hunt::PAIR,
        server::reply,
        siege::{
            Attack, BROKEN, Coded, Misconfigured, NO_TOKEN, Pair, Refused, TOO_LATE, Throttled, Unknown, answers,
            answers_with, says, says_and_closes,
        },
    },
};

const INVALID_GRANT: &str = r#"{"error":"invalid_grant"}"#;
/// What proxies and gateways send in the server's place.
const PAGE: &str = "<html><body><h1>invalid_grant</h1>Your proxy could not reach the server.</body></html>";

const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

fn then_a_pair(before: &[u8]) -> Vec<u8> {
    [before, &reply("200 OK", "", PAIR)].concat()
}

attacks! {
    a_pair_is_taken: answers("200 OK", PAIR) => Pair;
    a_pair_is_taken_with_the_client_in_the_header: answers("200 OK", PAIR).basic() => Pair;
    a_pair_is_taken_without_a_reason_phrase: says_and_closes(format!("HTTP/1.1 200\r\n\r\n{PAIR}")) => Pair;

    a_refusal_is_believed: answers("400 Bad Request", INVALID_GRANT) => Refused(InvalidGrant);
    a_rejection_with_403_is_believed: answers("403 Forbidden", INVALID_GRANT) => Refused(InvalidGrant);
    a_rejection_with_404_is_believed: answers("404 Not Found", INVALID_GRANT) => Refused(InvalidGrant);
    a_refusal_with_500_is_none:
        answers("500 Internal Server Error", INVALID_GRANT)
        => Unknown("the server answered 500");
    a_refusal_with_200_is_none: answers("200 OK", INVALID_GRANT) => NO_TOKEN;
    a_pair_with_400_is_none:
        answers("400 Bad Request", PAIR)
        => Unknown("the server answered 400 with nothing that we know");
    a_pair_with_500_is_none: answers("500 Internal Server Error", PAIR) => Unknown("the server answered 500");

    a_pair_with_201_is_taken: answers("201 Created", PAIR) => Pair;
    a_pair_with_203_is_taken: answers("203 Non-Authoritative Information", PAIR) => Pair;
    a_pair_with_206_is_taken:
        answers_with("206 Partial Content", "content-range: bytes 0-899/900\r\n", PAIR)
        => Pair;
    a_204_leaves_doubt: says(b"HTTP/1.1 204 No Content\r\n\r\n") => Unknown("the server answered 204 without a token");
    half_a_pair_with_206_leaves_doubt:
        answers_with("206 Partial Content", "content-range: bytes 0-9/900\r\n", r#"{"access_t"#)
        => Unknown("the server answered 206 without a token");
    a_304_is_no_success: says(b"HTTP/1.1 304 Not Modified\r\n\r\n") => Unknown("the server answered 304");
    a_401_that_asks_for_a_password_is_no_refusal:
        answers_with("401 Unauthorized", "www-authenticate: Basic realm=\"invalid_grant\"\r\n", "")
        => Misconfigured(Misconfiguration::Client);
    a_407_is_not_answered_with_anything:
        answers_with("407 Proxy Authentication Required", "proxy-authenticate: Basic realm=\"x\"\r\n", PAGE)
        => Unknown("the server answered 407 with nothing that we know");
    a_408_is_not_answered_with_another_request:
        answers_with("408 Request Timeout", "connection: close\r\n", "")
        => Unknown("the server answered 408 with nothing that we know");
    a_421_is_not_answered_with_another_connection:
        answers_with("421 Misdirected Request", "connection: close\r\n", "")
        => Unknown("the server answered 421 with nothing that we know");
    a_425_is_not_answered_with_another_request:
        answers("425 Too Early", "")
        => Unknown("the server answered 425 with nothing that we know");
    a_501_that_knows_no_post_is_not_answered_with_another_request:
        answers_with("501 Not Implemented", "allow: GET\r\n", "")
        => Unknown("the server answered 501");
    a_status_that_nobody_knows_is_no_answer:
        answers("999 Whatever", INVALID_GRANT)
        => Unknown("the server answered 999");
    an_error_page_of_a_proxy_is_no_refusal:
        answers_with("403 Forbidden", "content-type: text/html\r\nvia: 1.1 proxy\r\n", PAGE)
        => Unknown("the server answered 403 with nothing that we know");
    a_400_page_of_a_proxy_is_no_refusal:
        answers_with("400 Bad Request", "content-type: text/html\r\nvia: 1.1 proxy\r\n", PAGE)
        => Unknown("the server answered 400 with nothing that we know");
    a_gateways_502_leaves_doubt:
        answers_with("502 Bad Gateway", "content-type: text/html\r\n", PAGE)
        => Unknown("the server answered 502");
    a_503_leaves_doubt_however_it_asks_to_wait:
        answers_with("503 Service Unavailable", "retry-after: 120\r\n", "")
        => Unknown("the server answered 503");

    a_429_leaves_the_token_unspent: answers("429 Too Many Requests", INVALID_GRANT) => Throttled(None);
    a_429_may_ask_for_a_wait: answers_with("429 Too Many Requests", "retry-after: 7\r\n", "") => Throttled(Some(7));
    a_negative_wait_is_none: answers_with("429 Too Many Requests", "retry-after: -7\r\n", "") => Throttled(None);
    a_huge_wait_is_a_quarter_of_an_hour:
        answers_with("429 Too Many Requests", "retry-after: 18446744073709551615\r\n", "")
        => Throttled(Some(900));
    a_wait_that_no_number_holds_is_none:
        answers_with("429 Too Many Requests", "retry-after: 99999999999999999999999\r\n", "")
        => Throttled(None);
    a_wait_until_the_past_is_over:
        answers_with("429 Too Many Requests", "retry-after: Mon, 02 Mar 2026 11:00:00 GMT\r\n", "")
        => Throttled(Some(0));
    a_wait_until_the_year_9998_is_a_quarter_of_an_hour:
        answers_with("429 Too Many Requests", "retry-after: Thu, 31 Dec 9998 23:59:59 GMT\r\n", "")
        => Throttled(Some(900));
    a_wait_that_is_no_text_is_none:
        answers_with("429 Too Many Requests", "retry-after: \u{fe}\u{ff}\r\n", "")
        => Throttled(None);
    a_wait_that_is_the_token_is_not_told:
        answers_with("429 Too Many Requests", "retry-after: refresh0spent0f3a9c1\r\n", "")
        => Throttled(None);
    of_two_waits_the_first_holds:
        answers_with("429 Too Many Requests", "retry-after: 7\r\nretry-after: 70\r\n", "")
        => Throttled(Some(7));

    a_100_is_waited_through: says(then_a_pair(b"HTTP/1.1 100 Continue\r\n\r\n")) => Pair;
    an_early_hint_is_waited_through:
        says(then_a_pair(b"HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n"))
        => Pair;
    a_thousand_early_hints_are_waited_through:
        says(then_a_pair(&HINT.repeat(1000)))
        => Pair;
    a_switch_of_protocols_is_not_followed:
        says(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        => Unknown("the server answered 101");
    hints_without_end_are_no_answer:
        Attack::after_request(async |wire| wire.flood(HINT.repeat(500)).await).impatient()
        => TOO_LATE;

    http_0_9_is_not_spoken: says_and_closes(PAIR) => BROKEN;
    http_1_0_is_understood: says_and_closes(format!("HTTP/1.0 200 OK\r\n\r\n{PAIR}")) => Pair;
    http_1_2_is_not_spoken: says_and_closes(format!("HTTP/1.2 200 OK\r\n\r\n{PAIR}")) => BROKEN;
    http_2_is_not_spoken_unasked: says(b"\0\0\0\x04\0\0\0\0\0") => BROKEN;
    another_protocol_is_not_spoken: says_and_closes("SSH-2.0-OpenSSH_9.9\r\n") => BROKEN;
    a_status_of_two_digits_is_no_answer: says_and_closes(format!("HTTP/1.1 20 OK\r\n\r\n{PAIR}")) => BROKEN;
    a_status_below_100_is_no_answer: says_and_closes(format!("HTTP/1.1 099 OK\r\n\r\n{PAIR}")) => BROKEN;
    a_status_that_is_no_number_is_no_answer: says_and_closes(format!("HTTP/1.1 OK\r\n\r\n{PAIR}")) => BROKEN;
    a_nul_in_a_header_is_no_answer: says_and_closes(format!("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n{PAIR}")) => BROKEN;

    a_second_answer_changes_nothing: says(then_a_pair(b"").repeat(2)) => Pair;
    a_refusal_after_the_pair_changes_nothing:
        says([then_a_pair(b""), reply("400 Bad Request", "", INVALID_GRANT)].concat())
        => Pair;

    /// I5: a server that echoes the token where a client may repeat it.
    a_token_in_the_reason_phrase_is_not_told:
        answers("503 refresh0spent0f3a9c1", "")
        => Unknown("the server answered 503");
    a_token_in_the_headers_is_not_told:
        answers_with("500 Oh", "location: /refresh0spent0f3a9c1\r\nrefresh0spent0f3a9c1: 1\r\n", "")
        => Unknown("the server answered 500");
    a_token_in_an_error_is_not_told:
        answers("400 Bad Request", r#"{"error":"refresh0spent0f3a9c1","error_description":"client0secret0d27b44"}"#)
        => Coded("the server answered 400");
    a_token_beside_a_refusal_is_not_told:
        answers("400 Bad Request", r#"{"error":"invalid_grant","error_description":"refresh0spent0f3a9c1 is expired"}"#)
        => Refused(InvalidGrant);
    a_token_that_is_no_http_is_not_told: says_and_closes("refresh0spent0f3a9c1\r\n\r\n") => BROKEN;
    a_token_that_is_a_length_is_not_told:
        says_and_closes("HTTP/1.1 200 OK\r\ncontent-length: refresh0spent0f3a9c1\r\n\r\n")
        => BROKEN;
}
