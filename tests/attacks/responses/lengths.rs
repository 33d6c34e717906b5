//! Answers that are too long or lie about their length. What is read of them is bounded; what a server gets rid of is
//! counted in every attack.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use pleo_operator::pleo::answer::MAX_BODY;

use crate::{
    attacks,
    support::{
        hunt::{ACCESS, PAIR, REFRESH},
        siege::{Attack, BROKEN, NO_TOKEN, Pair, TOO_LONG, Tokens, answers, answers_with, says, says_and_closes},
    },
};

const OK: &str = "HTTP/1.1 200 OK\r\n";
const TE: &str = "transfer-encoding: chunked\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// The server begins like this, and then says the same until the client hangs up.
fn floods(begin: &'static str, bytes: impl AsRef<[u8]> + Send + 'static) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(begin).await?;
        wire.flood(bytes).await
    })
}

/// A pair that says it has this length.
fn pair_with(headers: &str) -> Attack {
    says_and_closes(format!("{OK}{headers}\r\n{PAIR}"))
}

/// A pair with a refresh token so long that the body has this length, and that token.
fn filled(length: usize) -> (String, String) {
    let token = REFRESH.repeat(length / REFRESH.len() + 1);
    let fits = length - PAIR.len() + REFRESH.len();
    let token: String = token.chars().take(fits).collect();
    (PAIR.replace(REFRESH, &token), token)
}

/// Zeros in deflate: a pair of bytes stands for hundreds, with the fixed codes of RFC 1951 section 3.2.6.
fn gzip_bomb(matches: usize) -> Vec<u8> {
    let codes = [("1", 1), ("10", 1), ("00110000", 1), ("1100010100000", matches), ("0000000", 1)];
    let bits: Vec<u8> = codes.iter().flat_map(|(code, times)| code.bytes().cycle().take(code.len() * times)).collect();
    let bytes = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | (bit - b'0')));
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255].into_iter().chain(bytes).chain([0; 8]).collect()
}

pub fn endless_body() -> Attack {
    floods("HTTP/1.1 200 OK\r\n\r\n", [b' '; 16 << 10])
}

pub fn endless_chunks() -> Attack {
    floods(CHUNKED, format!("4000\r\n{}\r\n", " ".repeat(0x4000)))
}

pub fn endless_header() -> Attack {
    floods("HTTP/1.1 200 OK\r\nx: ", [b'y'; 16 << 10])
}

pub fn endless_bomb() -> Attack {
    floods("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", gzip_bomb(150_000))
}

attacks! {
    a_body_without_end_is_not_read_to_its_end: endless_body() => TOO_LONG;
    a_chunked_body_without_end_is_not_read_to_its_end: endless_chunks() => TOO_LONG;
    chunks_of_one_byte_without_end_are_not_read_to_their_end: floods(CHUNKED, "1\r\n \r\n".repeat(2000)) => TOO_LONG;
    an_error_without_end_is_not_read_to_its_end:
        floods("HTTP/1.1 400 Bad Request\r\n\r\n", [b'{'; 16 << 10])
        => TOO_LONG;
    a_body_of_the_largest_length_is_read:
        answers("200 OK", filled(MAX_BODY).0)
        => Tokens(ACCESS.into(), filled(MAX_BODY).1);
    a_body_one_byte_longer_is_not_read: answers("200 OK", filled(MAX_BODY + 1).0) => TOO_LONG;
    a_token_of_ten_megabytes_is_not_read: answers("200 OK", filled(10 << 20).0) => TOO_LONG;
    a_pair_with_room_around_it_is_read: answers("200 OK", format!("{0}{PAIR}{0}", "\r\n\t ".repeat(30_000))) => Pair;
    a_bomb_is_unpacked_to_the_length_of_an_answer_at_most:
        answers_with("200 OK", "content-encoding: gzip\r\ncontent-type: application/json\r\n", gzip_bomb(150_000))
        => TOO_LONG;
    a_bomb_that_never_ends_is_not_unpacked: endless_bomb() => TOO_LONG;

    a_length_that_is_too_short_costs_the_rest: pair_with("content-length: 60\r\n") => NO_TOKEN;
    a_length_of_zero_costs_the_body: pair_with("content-length: 0\r\n") => NO_TOKEN;
    a_negative_length_is_no_answer: pair_with("content-length: -1\r\n") => BROKEN;
    a_length_with_a_sign_is_no_answer: pair_with(&format!("content-length: +{}\r\n", PAIR.len())) => BROKEN;
    a_length_in_hexadecimal_is_no_answer: pair_with(&format!("content-length: {:#x}\r\n", PAIR.len())) => BROKEN;
    a_length_that_no_number_holds_is_no_answer: pair_with("content-length: 18446744073709551616\r\n") => BROKEN;
    two_lengths_that_differ_are_no_answer:
        pair_with(&format!("content-length: {}\r\ncontent-length: 3\r\n", PAIR.len()))
        => BROKEN;
    two_lengths_that_agree_are_one:
        pair_with(&format!("content-length: {0}\r\ncontent-length: {0}\r\n", PAIR.len()))
        => Pair;
    chunks_outweigh_a_length:
        says(format!("{OK}content-length: 3\r\n{TE}\r\n{:x}\r\n{PAIR}\r\n0\r\n\r\n", PAIR.len()))
        => Pair;
    a_coding_that_nobody_knows_is_not_guessed:
        says_and_closes(format!("{OK}transfer-encoding: zip\r\n\r\nzip"))
        => NO_TOKEN;

    a_chunk_that_no_number_holds_is_no_answer: says_and_closes(format!("{CHUNKED}ffffffffffffffffff\r\n{{")) => BROKEN;
    a_chunk_of_a_negative_size_is_no_answer: says_and_closes(format!("{CHUNKED}-1\r\n{{")) => BROKEN;
    a_chunk_without_a_size_is_no_answer: says_and_closes(format!("{CHUNKED}\r\n{{")) => BROKEN;
    remarks_on_a_chunk_without_end_are_no_answer: floods(CHUNKED, format!("1;{}", "x".repeat(8 << 10))) => BROKEN;

    a_status_line_without_end_is_no_answer: floods("HTTP/1.1 200 ", [b'x'; 16 << 10]) => BROKEN;
    a_header_of_a_megabyte_is_no_answer:
        says_and_closes(format!("{OK}x: {}\r\n\r\n{PAIR}", "y".repeat(1 << 20)))
        => BROKEN;
    a_header_without_end_is_no_answer: endless_header() => BROKEN;
    ten_thousand_headers_are_no_answer:
        says_and_closes(format!("{OK}{}\r\n{PAIR}", "x: y\r\n".repeat(10_000)))
        => BROKEN;
    headers_without_end_are_no_answer: floods("HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(1000)) => BROKEN;
}

/// So that the bomb is one: it unpacks to what it promises.
#[test]
fn the_bomb_is_a_bomb() {
    let mut gzip = Command::new("gzip");
    let gzip = gzip.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut gzip = gzip.spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(&gzip_bomb(10)).unwrap();
    assert_eq!(gzip.wait_with_output().unwrap().stdout, [0; 1 + 10 * 258]);
}
