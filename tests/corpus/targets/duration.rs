//! A duration: what the program reads, the schema takes, and the other way round; and it is as long as Go says.

use std::{sync::Once, time::Duration};

use pleo_operator::api::GoDuration;

const CRD: &str = include_str!("../../../crds/pleo.io_pleoconnections.yaml");
/// What [`go_reads`] is written after.
const RULE: &str = r"self.matches('^([0-9]{1,6}(\\.[0-9]{1,3})?h)?([0-9]{1,6}(\\.[0-9]{1,3})?m)?([0-9]{1,6}(\\.[0-9]{1,3})?s)?([0-9]{1,6}ms)?$') && duration(self) > duration('0s')";
const MAX_LENGTH: usize = 40;
static SCHEMA: Once = Once::new();

/// A unit, its length in microseconds, and whether the schema takes a fraction before it.
const UNITS: [(&str, u64, bool); 4] =
    [("h", 3_600_000_000, true), ("m", 60_000_000, true), ("s", 1_000_000, true), ("ms", 1_000, false)];

/// The bytes as a text.
pub fn run(bytes: &[u8]) -> &'static str {
    SCHEMA.call_once(|| assert!(CRD.contains(RULE) && CRD.contains("maxLength: 40"), "the schema changed"));
    let text = String::from_utf8_lossy(bytes);
    let taken = go_reads(&text, &UNITS).filter(|micros| *micros > 0 && text.len() <= MAX_LENGTH);
    match text.parse::<GoDuration>() {
        Ok(read) => {
            assert_eq!(read.to_string(), text, "printed back unchanged");
            assert_eq!(read.to_string().parse(), Ok(read.clone()), "and read again");
            assert_eq!(serde_json::from_value(serde_json::to_value(&read).unwrap()).ok(), Some(read.clone()));
            // The program reads more than the schema takes: fractions of a millisecond, and 41 letters.
            let more = text.len() > MAX_LENGTH || text.ends_with("ms") && text.contains('.');
            let same = taken.map(Duration::from_micros) == Some(read.get());
            assert!(same || taken.is_none() && more, "what is read, the schema takes: {text:?}");
            "read"
        }
        Err(refused) => {
            assert_eq!(taken, None, "what the schema takes is read: {text:?}");
            assert!(refused.to_string().chars().count() < 500, "a refusal is a line: {refused}");
            "refused"
        }
    }
}

/// The pattern of the schema, and the length in microseconds of what it takes.
fn go_reads(text: &str, units: &[(&str, u64, bool)]) -> Option<u64> {
    let Some((unit, rest)) = units.split_first() else { return text.is_empty().then_some(0) };
    let without = || go_reads(text, rest);
    let with = |(micros, after): (u64, &str)| Some(micros + go_reads(after, rest)?);
    leading(text, unit).and_then(with).or_else(without)
}

fn leading<'a>(text: &'a str, (name, scale, fraction): &(&str, u64, bool)) -> Option<(u64, &'a str)> {
    let (whole, after) = digits(text, 6)?;
    let (thousandths, after) = match after.strip_prefix('.') {
        Some(after) if *fraction => {
            let (digits, rest) = digits(after, 3)?;
            (digits.parse::<u64>().ok()? * 10_u64.pow(3 - u32::try_from(digits.len()).ok()?), rest)
        }
        Some(_) => return None,
        None => (0, after),
    };
    let micros = whole.parse::<u64>().ok()? * scale + thousandths * scale / 1000;
    Some((micros, after.strip_prefix(name)?))
}

fn digits(text: &str, most: usize) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (1..=most).contains(&end).then(|| text.split_at(end))
}
