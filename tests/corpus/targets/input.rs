//! What a user put into a Secret: RFC 6749's VSCHAR and nothing else, less the newline that `echo` adds.

use pleo_operator::domain::token::{InvalidInput, MAX_INPUT, read_input};

/// The bytes as they are, and once more so often that they are too long.
pub fn run(bytes: &[u8]) -> &'static str {
    let long = bytes.repeat(MAX_INPUT / bytes.len().max(1) + 1);
    check(&long);
    check(bytes)
}

fn check(bytes: &[u8]) -> &'static str {
    let stripped = match bytes {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    };
    let expected = match stripped.len() {
        0 => Err(InvalidInput::Empty),
        length if length > MAX_INPUT => Err(InvalidInput::TooLong),
        _ if stripped.iter().any(|byte| !matches!(byte, b' '..=b'~')) => Err(InvalidInput::Character),
        _ => Ok(stripped),
    };
    let read = read_input(bytes);
    assert_eq!(read.map(str::as_bytes), expected);
    match read {
        Ok(text) => {
            assert_eq!(read_input(text.as_bytes()), Ok(text), "what was read is read again");
            "read"
        }
        Err(InvalidInput::Empty) => "empty",
        Err(InvalidInput::TooLong) => "too long",
        Err(InvalidInput::Character) => "character",
    }
}
