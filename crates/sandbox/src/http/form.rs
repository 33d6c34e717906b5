//! Strict reading of the token endpoint's requests: forms, and HTTP Basic as RFC 6749 wants it.
//! Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// Reads an `application/x-www-form-urlencoded` body. Parameters without a value count as left out
/// (RFC 6749 section 3.2).
///
/// # Errors
/// One sentence for `error_description`.
pub(crate) fn parse(body: &[u8]) -> Result<BTreeMap<String, String>, &'static str> {
    let mut parameters = BTreeMap::new();
    for part in body.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        let at = part.iter().position(|byte| *byte == b'=').ok_or("A parameter has no value")?;
        let (name, value) = part.split_at(at);
        let name = decode(name)?;
        let value = decode(value.get(1..).unwrap_or_default())?;
        if parameters.insert(name, value).is_some() {
            return Err("A parameter is included more than once");
        }
    }
    parameters.retain(|_, value| !value.is_empty());
    Ok(parameters)
}

/// Reads the value of `Authorization: Basic …`: the id and the secret, each form-urlencoded before
/// they were joined (RFC 6749 section 2.3.1).
pub(crate) fn basic(credentials: &str) -> Result<(String, String), &'static str> {
    let joined = STANDARD.decode(credentials.trim()).map_err(|_| "The Basic credentials are not base64")?;
    let at = joined.iter().position(|byte| *byte == b':').ok_or("The Basic credentials have no colon")?;
    let (id, secret) = joined.split_at(at);
    Ok((decode(id)?, decode(secret.get(1..).unwrap_or_default())?))
}

/// Encodes a value for a query.
pub(crate) fn encode(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let encoded = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encoded).collect()
}

fn decode(text: &[u8]) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let [high, low, tail @ ..] = tail else {
                    return Err("A percent sign is not followed by two digits");
                };
                rest = tail;
                hex(*high)? * 16 + hex(*low)?
            }
            // What encoders in use leave as it is; anything else must have been encoded.
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' | b'*' | b'!' | b'\'' | b'(' | b')' => {
                *byte
            }
            _ => return Err("A character is not form-urlencoded"),
        });
    }
    String::from_utf8(decoded).map_err(|_| "A parameter is not UTF-8")
}

fn hex(digit: u8) -> Result<u8, &'static str> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err("A percent sign is not followed by two digits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_strictly() {
        let read = parse(b"a=1%2b+x&b=&c=%22%3C").unwrap();
        assert_eq!(read.get("a").unwrap(), "1+ x");
        assert_eq!(read.get("c").unwrap(), "\"<");
        assert!(!read.contains_key("b"), "a parameter without a value counts as left out");
        for wrong in ["a=1&a=2", "a=1&a=", "a=\"", "a=%4", "a=%zz", "a=%ff", "a", "a=b=c", "{\"a\":1}"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn basic_credentials_are_form_urlencoded_before_they_are_joined() {
        let header = STANDARD.encode("my%3Aid:a%2Bb+c");
        assert_eq!(basic(&header).unwrap(), ("my:id".to_owned(), "a+b c".to_owned()));
        assert!(basic(&STANDARD.encode("id:a b")).is_err(), "not encoded");
        assert!(basic("%%%").is_err());
        assert!(basic(&STANDARD.encode("no colon")).is_err());
    }
}
