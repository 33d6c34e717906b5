//! Durations as Go writes them (`90s`, `1h30m`), with a schema that rejects everything else before it is stored.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A positive duration, kept as the user wrote it, so that it is printed back unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration {
    text: String,
    value: Duration,
}

/// Why a text is no duration, in words that say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a positive duration: write it like 90s, 5m or 1h30m")]
pub struct InvalidDuration(String);

/// What the API server checks; [`GoDuration::from_str`] accepts the same and no more.
const PATTERN: &str =
    r"^([0-9]{1,6}(\\.[0-9]{1,3})?h)?([0-9]{1,6}(\\.[0-9]{1,3})?m)?([0-9]{1,6}(\\.[0-9]{1,3})?s)?([0-9]{1,6}ms)?$";
/// The units in the order in which they may stand, in milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl GoDuration {
    pub fn get(&self) -> Duration {
        self.value
    }
}

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidDuration(text.chars().take(40).collect());
        let value = milliseconds(text).filter(|ms| *ms > 0).map(Duration::from_millis).ok_or_else(invalid)?;
        Ok(Self { text: text.to_owned(), value })
    }
}

/// The sum of the parts: at most six digits before a unit, units descending, so nothing can overflow.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, remaining) = after.split_at(unit_end);
        let (_, scale) = units.find(|(name, _)| *name == unit)?;
        total += scaled(number, *scale)?;
        rest = remaining;
    }
    Some(total)
}

fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str, most: usize| (1..=most).contains(&text.len()).then(|| text.parse::<u64>().ok()).flatten();
    let thousandths = digits(fraction, 3)? * 10_u64.pow(3 - u32::try_from(fraction.len()).ok()?);
    Some(digits(whole, 6)? * scale + thousandths * scale / 1000)
}

impl TryFrom<String> for GoDuration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.text
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 40,
            "x-kubernetes-validations": [{
                "rule": format!("self.matches('{PATTERN}') && duration(self) > duration('0s')"),
                "message": "write a positive duration such as 90s, 5m or 1h30m",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_go_reads_it_and_printed_back_unchanged() {
        for (text, milliseconds) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("0.5h", 1_800_000),
            ("1m0.25s", 60_250),
            ("250ms", 250),
            ("72h", 259_200_000),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.get().as_millis(), milliseconds, "{text}");
            assert_eq!(duration.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_positive_duration_is_refused_without_a_panic() {
        for text in [
            "",
            "5",
            "-5m",
            "0s",
            "0h0m",
            "m",
            "1e30h",
            "99999999999999999999h",
            "5m5m",
            "1s1h",
            "1.5.5s",
            "1.h",
            ".5h",
            "1 s",
            "5ns",
            "ħ",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }
}
