//! Whole answers with strange texts: what a pair survives, and what is not enough for a refusal.

use pleo_operator::domain::failure::{
    Misconfiguration::{Client, Request},
    RejectionCode::{InvalidGrant, InvalidToken},
};

use crate::{
    attacks,
    support::{
        hunt::{ACCESS, PAIR, REFRESH},
        siege::{Attack, Coded, Misconfigured, NO_TOKEN, Pair, Refused, Tokens, Unknown, answers, answers_with},
    },
};

const UNKNOWN_400: crate::support::siege::Expected = Unknown("the server answered 400 with nothing that we know");

fn refuses(body: impl AsRef<[u8]> + Send + 'static) -> Attack {
    answers("400 Bad Request", body)
}

/// The pair, with something before it in the same object.
fn pair_beside(members: &str) -> Attack {
    answers("200 OK", PAIR.replacen('{', &format!("{{{members},"), 1))
}

/// A pair of these tokens, as JSON writes them.
fn pair_of(access: &str, refresh: &str) -> Attack {
    let pair = serde_json::json!({ "access_token": access, "refresh_token": refresh, "expires_in": 900 });
    answers("200 OK", pair.to_string())
}

fn awkward(text: &str) -> (String, String) {
    (format!("a{text}a"), format!("r{text}r"))
}

fn awkward_pair(text: &str) -> Attack {
    let (access, refresh) = awkward(text);
    pair_of(&access, &refresh)
}

fn utf_16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

fn as_awkward(text: &str) -> crate::support::siege::Expected {
    let (access, refresh) = awkward(text);
    Tokens(access, refresh)
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

attacks! {
    of_two_access_tokens_the_last_is_taken: pair_beside(r#""access_token":"older""#) => Pair;
    of_two_refresh_tokens_the_last_is_taken: pair_beside(r#""refresh_token":"older""#) => Pair;
    a_pair_outweighs_an_error_beside_it: pair_beside(r#""error":"invalid_grant""#) => Pair;
    a_pair_outweighs_two_errors_beside_it: pair_beside(r#""error":"invalid_grant","error":"invalid_client""#) => Pair;
    a_pair_survives_a_hundred_thousand_levels_beside_it: pair_beside(&format!(r#""x":{}"#, nested(100_000))) => Pair;
    a_pair_survives_numbers_that_nobody_can_hold:
        pair_beside(r#""expires_in":1e999999,"x":-0.00000000000000000000000000000000001"#)
        => Pair;
    a_pair_survives_a_wrong_content_type:
        answers_with("200 OK", "content-type: text/html; charset=utf-16\r\n", PAIR)
        => Pair;
    a_pair_survives_a_coding_that_is_only_named_deflate:
        answers_with("200 OK", "content-encoding: deflate\r\n", PAIR)
        => Pair;
    a_pair_survives_a_coding_that_is_only_named_br: answers_with("200 OK", "content-encoding: br\r\n", PAIR) => Pair;
    a_pair_survives_a_coding_that_is_only_named_gzip:
        answers_with("200 OK", "content-encoding: gzip, gzip, gzip\r\n", PAIR)
        => Pair;

    a_nul_in_a_token_is_kept: awkward_pair("\0") => as_awkward("\0");
    a_line_break_in_a_token_is_kept: awkward_pair("\r\nx: y\r\n") => as_awkward("\r\nx: y\r\n");
    letters_beyond_ascii_in_a_token_are_kept: awkward_pair("ö🦀\u{202e}") => as_awkward("ö🦀\u{202e}");
    a_form_in_a_token_is_kept: awkward_pair("&grant_type=x%26+=;\"\\") => as_awkward("&grant_type=x%26+=;\"\\");
    tokens_that_are_the_same_are_kept: pair_of("same", "same") => Tokens("same".into(), "same".into());

    empty_tokens_are_none: answers("200 OK", r#"{"access_token":"","refresh_token":""}"#) => NO_TOKEN;
    numbers_are_no_tokens: answers("200 OK", r#"{"access_token":7,"refresh_token":1e9}"#) => NO_TOKEN;
    truth_is_no_token: answers("200 OK", r#"{"access_token":true,"refresh_token":false}"#) => NO_TOKEN;
    nothing_is_no_token: answers("200 OK", r#"{"access_token":null,"refresh_token":null}"#) => NO_TOKEN;
    a_list_of_tokens_is_no_token:
        answers("200 OK", format!(r#"{{"access_token":["{ACCESS}"],"refresh_token":["{REFRESH}"]}}"#))
        => NO_TOKEN;
    a_token_in_an_object_is_no_token:
        answers("200 OK", format!(r#"{{"access_token":{{"value":"{ACCESS}"}}}}"#))
        => NO_TOKEN;
    a_list_of_pairs_is_no_pair: answers("200 OK", format!("[{PAIR}]")) => NO_TOKEN;
    a_pair_one_level_down_is_no_pair: answers("200 OK", format!(r#"{{"data":{PAIR}}}"#)) => NO_TOKEN;
    an_empty_success_is_no_pair: answers("200 OK", "") => NO_TOKEN;
    half_a_pair_is_no_pair: answers("200 OK", &PAIR.as_bytes()[..60]) => NO_TOKEN;
    a_form_is_no_pair: answers("200 OK", format!("access_token={ACCESS}&refresh_token={REFRESH}")) => NO_TOKEN;
    a_page_for_logging_in_is_no_pair:
        answers_with("200 OK", "content-type: text/html\r\n", "<form>access_token</form>")
        => NO_TOKEN;

    a_refusal_is_json_whatever_it_is_called:
        answers_with("400 Bad Request", "content-type: text/html\r\n", r#"{"error":"invalid_grant"}"#)
        => Refused(InvalidGrant);
    an_invalid_token_is_a_refusal_of_its_own:
        answers("401 Unauthorized", r#"{"error":"invalid_token"}"#)
        => Refused(InvalidToken);
    a_wrong_client_keeps_the_grant:
        answers("401 Unauthorized", r#"{"error":"invalid_client"}"#)
        => Misconfigured(Client);
    a_wrong_client_in_the_header_keeps_the_grant:
        answers("401 Unauthorized", r#"{"error":"invalid_client"}"#).basic()
        => Misconfigured(Client);
    a_wrong_request_keeps_the_grant: refuses(r#"{"error":"invalid_scope"}"#) => Misconfigured(Request);
    a_refusal_as_a_page_is_none:
        answers_with("400 Bad Request", "content-type: text/html\r\n", "<p>invalid_grant</p>")
        => UNKNOWN_400;
    a_refusal_in_capitals_is_none: refuses(r#"{"error":"INVALID_GRANT"}"#)
        => Coded("the server answered 400 INVALID_GRANT");
    a_refusal_under_another_name_is_none: refuses(r#"{"Error":"invalid_grant"}"#) => UNKNOWN_400;
    a_refusal_with_a_byte_order_mark_is_none: refuses("\u{feff}{\"error\":\"invalid_grant\"}") => UNKNOWN_400;
    a_refusal_in_utf_16_is_none: refuses(utf_16(r#"{"error":"invalid_grant"}"#)) => UNKNOWN_400;
    a_refusal_with_something_after_it_is_none: refuses(r#"{"error":"invalid_grant"}<!-- proxy -->"#) => UNKNOWN_400;
    two_refusals_are_none: refuses(r#"{"error":"invalid_grant"}{"error":"invalid_grant"}"#) => UNKNOWN_400;
    a_refusal_that_says_two_things_is_none:
        refuses(r#"{"error":"invalid_grant","error":"server_error"}"#)
        => UNKNOWN_400;
    a_hundred_thousand_levels_beside_a_refusal_change_nothing:
        refuses(format!(r#"{{"error":"invalid_grant","x":{}}}"#, nested(100_000)))
        => Refused(InvalidGrant);
    a_refusal_in_a_hundred_thousand_levels_is_none:
        refuses(format!("{}{{\"error\":\"invalid_grant\"}}", "[".repeat(100_000)))
        => UNKNOWN_400;
    a_list_of_refusals_is_none: refuses(r#"{"error":["invalid_grant"]}"#) => UNKNOWN_400;
    a_number_is_no_refusal: refuses(r#"{"error":400}"#) => UNKNOWN_400;
    a_refusal_with_a_nul_is_none: refuses("{\"error\":\"invalid_grant\\u0000\"}")
        => Coded("the server answered 400");
    a_code_of_forty_letters_is_shown: refuses(format!("{{\"error\":\"{}\"}}", "x".repeat(40)))
        => Coded("the server answered 400 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    a_longer_code_is_not_shown: refuses(format!("{{\"error\":\"{}\"}}", "x".repeat(41)))
        => Coded("the server answered 400");
    a_code_with_markup_is_not_shown: refuses(r#"{"error":"<b>invalid</b>"}"#) => Coded("the server answered 400");
    a_code_that_is_a_part_of_the_token_is_not_shown: refuses(r#"{"error":"spent0f3a"}"#)
        => Coded("the server answered 400");
    a_code_that_has_the_token_in_it_is_not_shown: refuses(r#"{"error":"used-refresh0spent0f3a9c1"}"#)
        => Coded("the server answered 400");
    a_code_that_is_a_part_of_the_client_secret_is_not_shown: refuses(r#"{"error":"secret0d27"}"#)
        => Coded("the server answered 400");
    a_letter_of_another_encoding_beside_a_refusal_changes_nothing:
        refuses(b"{\"error\":\"invalid_grant\",\"error_description\":\"ung\xfcltig\"}")
        => Refused(InvalidGrant);
    a_letter_of_another_encoding_in_a_refusal_changes_it: refuses(b"{\"error\":\"invalid_grant\xff\"}") => UNKNOWN_400;
    a_refusal_named_as_gzip_is_read_as_it_stands:
        answers_with("400 Bad Request", "content-encoding: gzip\r\n", r#"{"error":"invalid_grant"}"#)
        => Refused(InvalidGrant);
}
