//! Answers that a gateway compressed although it was asked not to: rightly, wrongly, and to hurt.

use pleo_operator::domain::failure::RejectionCode::InvalidGrant;
use pleo_sandbox::script::Coding;

use crate::{
    attacks,
    support::{
        hunt::PAIR,
        siege::{
            Attack, DAMAGED, NO_TOKEN, Pair, Refused, TOO_LONG, Throttled, UNSUPPORTED, Unknown, answers_with,
            says_and_closes,
        },
    },
};

const INVALID_GRANT: &str = r#"{"error":"invalid_grant"}"#;

fn coded(coding: Coding, body: &str) -> Vec<u8> {
    coding.apply(body.as_bytes()).expect("what is in memory can be read")
}

/// The pair, compressed, with this header.
fn pair_in(coding: Coding, header: &'static str) -> Attack {
    answers_with("200 OK", header, coded(coding, PAIR))
}

/// The first half of the compressed pair.
fn half_a_pair_in(coding: Coding, header: &'static str) -> Attack {
    let whole = coded(coding, PAIR);
    answers_with("200 OK", header, whole[..whole.len() / 2].to_vec())
}

/// The compressed pair with more bytes after it than any answer has, compressed as well.
fn bomb(coding: Coding, header: &'static str, padding: usize) -> Attack {
    answers_with("200 OK", header, coded(coding, &format!("{PAIR}{}", " ".repeat(padding))))
}

/// A frame with one block that is stored as it is, and a window of `1 << log` bytes (RFC 8878 section 3.1.1).
fn zstd_window(log: u8) -> Attack {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let block = u32::try_from(PAIR.len() << 3 | 1).expect("a short block").to_le_bytes();
    frame.extend(&block[..3]);
    frame.extend(PAIR.as_bytes());
    answers_with("200 OK", "content-encoding: zstd\r\n", frame)
}

/// The pair in two frames of zstd, with one between them that is to be skipped (RFC 8878 section 3.1).
fn zstd_frames() -> Vec<u8> {
    let (first, second) = PAIR.split_at(PAIR.len() / 2);
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    [coded(Coding::Zstd, first).as_slice(), &skipped, &coded(Coding::Zstd, second)].concat()
}

attacks! {
    a_pair_in_gzip_is_taken: pair_in(Coding::Gzip, "content-encoding: gzip\r\n") => Pair;
    a_pair_in_x_gzip_is_taken: pair_in(Coding::Gzip, "content-encoding: X-GZIP\r\n") => Pair;
    a_pair_in_deflate_is_taken: pair_in(Coding::Deflate, "content-encoding: deflate\r\n") => Pair;
    a_pair_in_deflate_without_a_zlib_header_is_taken: pair_in(Coding::RawDeflate, "content-encoding: deflate\r\n") => Pair;
    a_pair_in_brotli_is_taken: pair_in(Coding::Br, "content-encoding: br\r\n") => Pair;
    a_pair_in_zstd_is_taken: pair_in(Coding::Zstd, "content-encoding: zstd\r\n") => Pair;
    a_pair_in_zstd_with_a_window_of_8_mib_is_taken: zstd_window(23) => Pair;
    a_pair_in_several_frames_of_zstd_is_taken:
        answers_with("200 OK", "content-encoding: zstd\r\n", zstd_frames())
        => Pair;
    a_pair_before_a_frame_to_be_skipped_that_is_cut_off_is_taken:
        answers_with("200 OK", "content-encoding: zstd\r\n", {
            [coded(Coding::Zstd, PAIR).as_slice(), &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1]].concat()
        })
        => Pair;
    a_pair_in_two_codings_survives_a_wrong_checksum_outside:
        answers_with("200 OK", "content-encoding: br, gzip\r\n", {
            let mut damaged = Coding::Gzip.apply(&coded(Coding::Br, PAIR)).expect("what is in memory can be read");
            if let Some(last) = damaged.last_mut() {
                *last ^= 0xff;
            }
            damaged
        })
        => Pair;
    a_pair_with_201_in_gzip_is_taken:
        answers_with("201 Created", "content-encoding: gzip\r\n", coded(Coding::Gzip, PAIR))
        => Pair;
    a_pair_in_two_codings_is_taken:
        answers_with("200 OK", "content-encoding: gzip, br\r\n", Coding::Br.apply(&coded(Coding::Gzip, PAIR)).unwrap())
        => Pair;
    a_pair_in_two_codings_of_two_headers_is_taken:
        answers_with(
            "200 OK",
            "content-encoding: deflate\r\ncontent-encoding: zstd\r\n",
            Coding::Zstd.apply(&coded(Coding::Deflate, PAIR)).unwrap(),
        )
        => Pair;
    a_pair_in_gzip_survives_a_connection_that_breaks:
        says_and_closes({
            let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9000\r\n\r\n";
            [head.as_bytes(), &coded(Coding::Gzip, PAIR)].concat()
        })
        => Pair;
    a_pair_in_gzip_survives_a_wrong_checksum:
        answers_with("200 OK", "content-encoding: gzip\r\n", {
            let mut damaged = coded(Coding::Gzip, PAIR);
            if let Some(last) = damaged.last_mut() {
                *last ^= 0xff;
            }
            damaged
        })
        => Pair;

    a_rejection_in_gzip_is_believed:
        answers_with("400 Bad Request", "content-encoding: gzip\r\n", coded(Coding::Gzip, INVALID_GRANT))
        => Refused(InvalidGrant);
    a_rejection_in_gzip_that_is_cut_off_is_not_believed:
        answers_with("400 Bad Request", "content-encoding: gzip\r\n", {
            let mut cut = coded(Coding::Gzip, INVALID_GRANT);
            cut.truncate(cut.len() - 4);
            cut
        })
        => DAMAGED;

    half_a_pair_in_gzip_leaves_doubt: half_a_pair_in(Coding::Gzip, "content-encoding: gzip\r\n") => DAMAGED;
    half_a_pair_in_brotli_leaves_doubt: half_a_pair_in(Coding::Br, "content-encoding: br\r\n") => DAMAGED;
    half_a_pair_in_zstd_leaves_doubt: half_a_pair_in(Coding::Zstd, "content-encoding: zstd\r\n") => DAMAGED;
    a_zstd_window_of_16_mib_leaves_doubt: zstd_window(24) => DAMAGED;
    a_coding_that_nobody_knows_leaves_doubt: pair_in(Coding::Gzip, "content-encoding: lzma\r\n") => UNSUPPORTED;
    five_codings_leave_doubt:
        answers_with("200 OK", "content-encoding: gzip, gzip, gzip, gzip, gzip\r\n", {
            (0..5).fold(PAIR.as_bytes().to_vec(), |body, _| Coding::Gzip.apply(&body).unwrap())
        })
        => UNSUPPORTED;
    four_codings_are_undone:
        answers_with("200 OK", "content-encoding: gzip, gzip, gzip, gzip\r\n", {
            (0..4).fold(PAIR.as_bytes().to_vec(), |body, _| Coding::Gzip.apply(&body).unwrap())
        })
        => Pair;
    a_429_that_cannot_be_decompressed_leaves_the_token_unspent:
        answers_with("429 Too Many Requests", "content-encoding: gzip\r\nretry-after: 7\r\n", "slow down")
        => Throttled(Some(7));
    another_coding_than_the_label_says_leaves_doubt: pair_in(Coding::Br, "content-encoding: gzip\r\n") => DAMAGED;
    an_empty_body_in_gzip_leaves_doubt: answers_with("200 OK", "content-encoding: gzip\r\n", "") => NO_TOKEN;
    a_compressed_page_leaves_doubt:
        answers_with("403 Forbidden", "content-encoding: gzip\r\n", coded(Coding::Gzip, "<h1>invalid_grant</h1>"))
        => Unknown("the server answered 403 with nothing that we know");

    /// The pair is in the first bytes; the rest is not even decoded.
    a_pair_before_megabytes_of_nothing_is_taken:
        bomb(Coding::Gzip, "content-encoding: gzip\r\n", 64 << 20)
        => Pair;
    megabytes_of_nothing_are_not_decoded:
        answers_with("200 OK", "content-encoding: gzip\r\n", coded(Coding::Gzip, &" ".repeat(64 << 20)))
        => TOO_LONG;
}
