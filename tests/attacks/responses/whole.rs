//! A pair that arrived whole is taken, whatever is around it and however its connection ends, since it exists nowhere
//! else (I2). An object of JSON says itself where it ends: no part of one is whole.

use crate::{
    attacks,
    support::{
        hunt::PAIR,
        server::{Wire, reply},
        siege::{Attack, Pair, answers, says},
    },
};

const TOO_LONG_BY_ONE: &str = "content-length: 113\r\n";

/// With a length that is right, after these headers.
fn pair_after(headers: &str) -> Vec<u8> {
    reply("200 OK", headers, PAIR)
}

/// With these headers, and nothing else that says how long it is.
fn pair_with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{PAIR}")
}

fn last_chunk_missing() -> String {
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{PAIR}\r\n", PAIR.len())
}

/// What it packs is not worth unpacking here.
fn packs_what_it_may() -> Attack {
    Attack::after_request(async |wire: &mut Wire| {
        let asked = String::from_utf8_lossy(wire.received()).to_lowercase();
        let answer = match asked.contains("accept-encoding: identity") {
            true => reply("200 OK", "", PAIR),
            false => reply("200 OK", "content-encoding: gzip\r\n", [0x1f, 0x8b, 8, 0]),
        };
        wire.say(answer).await
    })
}

/// How the server ends the connection.
enum End {
    Farewell,
    Cut,
    Reset,
}

fn says_and_ends(bytes: String, end: End) -> Attack {
    Attack::after_request(async move |wire| {
        wire.say(bytes).await?;
        match end {
            End::Farewell => wire.close().await,
            End::Cut => wire.cut().await,
            End::Reset => wire.reset(),
        }
    })
}

fn without_end() -> Attack {
    Attack::after_request(async |wire: &mut Wire| {
        wire.say(pair_with("")).await?;
        wire.flood([b' '; 16 << 10]).await
    })
}

attacks! {
    without_a_length_and_without_a_farewell: says_and_ends(pair_with(""), End::Cut) => Pair;
    without_a_length_and_with_a_reset: says_and_ends(pair_with(""), End::Reset) => Pair;
    without_a_length_and_without_an_end: says(pair_with("")).impatient() => Pair;
    without_the_last_chunk_and_with_a_farewell: says_and_ends(last_chunk_missing(), End::Farewell) => Pair;
    without_the_last_chunk_and_without_a_farewell: says_and_ends(last_chunk_missing(), End::Cut) => Pair;
    without_the_last_chunk_and_without_an_end: says(last_chunk_missing()).impatient() => Pair;
    with_a_length_that_is_too_long_and_a_farewell: says_and_ends(pair_with(TOO_LONG_BY_ONE), End::Farewell) => Pair;
    with_a_length_that_is_too_long_and_a_reset: says_and_ends(pair_with(TOO_LONG_BY_ONE), End::Reset) => Pair;
    with_a_length_that_is_too_long_and_no_end: says(pair_with(TOO_LONG_BY_ONE)).impatient() => Pair;
    with_a_chunk_that_is_none_after_it: says(format!("{}xyz\r\n", last_chunk_missing())) => Pair;
    with_room_without_end_after_it: without_end() => Pair;

    with_a_header_that_nobody_can_read_before_it: says(pair_after("x[y]: z\r\n")) => Pair;
    with_a_header_that_is_folded_before_it: says(pair_after("x: a\r\n  b\r\n")) => Pair;
    with_a_space_after_the_name_of_a_header_before_it: says(pair_after("x : a\r\n")) => Pair;
    with_two_hundred_headers_before_it: says(pair_after(&"x: a\r\n".repeat(200))) => Pair;
    /// Without a word about codings in the request, a server may choose one (RFC 9110 section 12.5.3).
    from_a_server_that_packs_what_it_may: packs_what_it_may() => Pair;
    with_a_byte_order_mark_before_it: answers("200 OK", format!("\u{feff}{PAIR}")) => Pair;
    with_a_remark_after_it: answers("200 OK", format!("{PAIR}<!-- proxy -->")) => Pair;
    with_a_letter_of_another_encoding_beside_it: answers("200 OK", latin_1()) => Pair;
}

/// A scope in Latin-1 beside the pair.
fn latin_1() -> Vec<u8> {
    let text = PAIR.replacen('{', "{\"scope\":\"caf?\",", 1);
    text.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect()
}

#[test]
fn the_length_is_too_long_by_one() {
    assert_eq!(TOO_LONG_BY_ONE, format!("content-length: {}\r\n", PAIR.len() + 1));
}
