//! A body and its content codings: whatever the bytes are, nothing panics, no more is decoded than an answer may be long, and
//! what is JSON as it stands stays as it is.

use pleo_operator::pleo::{
    answer::MAX_BODY,
    coding::{End, decode},
};
use zeroize::Zeroizing;

use super::support::text::line;

/// `Content-Encoding` and body, a line each.
pub fn run(bytes: &[u8]) -> &'static str {
    let (codings, body) = line(bytes);
    let codings = String::from_utf8_lossy(codings);
    let decoded = decode(Zeroizing::new(body.to_vec()), &codings);
    let is_as_it_was = *decoded.body == body;
    assert!(decoded.body.len() <= MAX_BODY || is_as_it_was, "{} bytes", decoded.body.len());
    if body.trim_ascii_start().starts_with(b"{") || codings.trim().is_empty() {
        assert!(is_as_it_was && decoded.end == End::Complete, "it was not coded");
    }
    match decoded.end {
        End::Complete if is_as_it_was => "as it was",
        End::Complete => "decoded",
        End::Damaged => "damaged",
        End::Unsupported => "unsupported",
        End::TooLong => "too long",
    }
}
