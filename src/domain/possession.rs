//! Proof of possession: what a client that reports a rejected access token sends in place of the token. Who has the token may report
//! it; no other right is needed.

use ring::hmac;

use super::token::AccessToken;

/// What is signed. Each rotation has another key, so a proof ends with its token.
const MESSAGE: &str = "pleo-operator rejection v1";

/// HMAC-SHA256 with the access token as its key, in hexadecimal digits.
pub fn proof(token: &AccessToken) -> String {
    use std::fmt::Write as _;
    hmac::sign(&key(token), MESSAGE.as_bytes()).as_ref().iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Whether this was made with the token. In constant time.
pub fn is_proof(proof: &str, token: &AccessToken) -> bool {
    bytes(proof).is_some_and(|tag| hmac::verify(&key(token), MESSAGE.as_bytes(), &tag).is_ok())
}

fn key(token: &AccessToken) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes())
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf %s 'pleo-operator rejection v1' | openssl dgst -sha256 -hmac access-1` prints it.
    #[test]
    fn a_proof_is_what_other_languages_make_of_the_same_token() {
        let digits = "ce060205922ef8cba87c25b22f5125ab18bfe7c79538e1f4cd71a382ca60d92f";
        let token = AccessToken::new("access-1");
        assert_eq!(proof(&token), digits);
        assert!(is_proof(digits, &token) && is_proof(&digits.to_uppercase(), &token));
    }

    #[test]
    fn nothing_else_is_a_proof() {
        let token = AccessToken::new("access-1");
        let good = proof(&token);
        for bad in ["", "0", "zz", &good[..62], &format!("{good}00"), &proof(&AccessToken::new("access-2")), "é"] {
            assert!(!is_proof(bad, &token), "{bad}");
        }
    }
}
