//! How seeds are written: as text that a human can read and write, in which most changes still mean something.

use pleo_operator::domain::ledger::record::Data;
use serde_json::Value;

/// Stands in every token of a seed: where it turns up, a token has leaked. It has no letter that JSON or `Debug` escapes.
pub const MARKER: &str = "s3cr3t";

/// The first line, and what follows it.
pub fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.map_or((bytes, &[]), |end| (&bytes[..end], &bytes[end + 1..]))
}

/// The parts of a Secret: `== KEY` on a line of its own, then the value, to the next such line.
pub fn parts(bytes: &[u8]) -> Data {
    let mut data = Data::new();
    let mut rest = bytes;
    while let Some(begin) = rest.strip_prefix(b"== ") {
        let (key, after) = line(begin);
        let end = after.windows(4).position(|four| four == b"\n== ");
        let (value, next) = end.map_or((after, &after[after.len()..]), |end| (&after[..end], &after[end + 1..]));
        data.insert(String::from_utf8_lossy(key).into_owned(), value.to_vec());
        rest = next;
    }
    data
}

/// Whether a token of a seed turns up there.
pub fn leaks(text: &str) -> bool {
    text.contains(MARKER)
}

/// Edits a value by one line: `/pointer value`. A value that is no JSON is a text; none at all removes what is there.
pub fn edit(root: &mut Value, line: &str) {
    let (pointer, value) = line.split_once(' ').map_or((line, None), |(pointer, value)| (pointer, Some(value)));
    let value = value.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)));
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    let key = key.replace("~1", "/").replace("~0", "~");
    match (root.pointer_mut(parent), value) {
        (Some(Value::Object(members)), Some(value)) => drop(members.insert(key, value)),
        (Some(Value::Object(members)), None) => drop(members.remove(&key)),
        (Some(Value::Array(items)), Some(value)) => match key.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
            Some(item) => *item = value,
            None => items.push(value),
        },
        (Some(Value::Array(items)), None) => drop(items.pop()),
        _ => {}
    }
}
