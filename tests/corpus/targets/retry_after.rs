//! `Retry-After`: seconds or a date, and never more than a quarter of an hour, whatever the clocks say.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use pleo_operator::{
    domain::failure::{FailureKind, Outcome},
    pleo::answer::interpret,
};

use super::{scenes, support::text::line};

const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The time of day in the first line, the header after it. A header that is a plain time is also sent as a date.
pub fn run(bytes: &[u8]) -> &'static str {
    let (now, header) = line(bytes);
    let now = time(now).unwrap_or(scenes::at(0));
    let header = String::from_utf8_lossy(header);
    if let Some(date) = time(header.trim().as_bytes()) {
        a_date_is_waited_for(now, date);
    }
    let wait = wait(&header, now);
    if let Ok(seconds) = header.trim().parse::<u64>() {
        assert_eq!(wait, Some(Duration::from_secs(seconds).min(LONGEST)));
    }
    match wait {
        None => "nothing",
        Some(Duration::ZERO) => "now",
        Some(LONGEST) => "longest",
        Some(wait) => {
            assert!(wait < LONGEST, "{wait:?}");
            "later"
        }
    }
}

fn time(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// RFC 9110 writes dates in whole seconds, and years in four digits.
fn a_date_is_waited_for(now: Timestamp, date: Timestamp) {
    let date = Timestamp::from_second(date.as_second()).unwrap();
    let Ok(header) = DateTimePrinter::new().timestamp_to_rfc9110_string(&date) else { return };
    let left = Duration::try_from(date.duration_since(now)).unwrap_or_default();
    assert_eq!(wait(&header, now), Some(left.min(LONGEST)), "{header} at {now}");
}

/// The same for every answer that bears it.
fn wait(header: &str, now: Timestamp) -> Option<Duration> {
    let waits = [429, 503, 400].map(|status| match interpret(status, Some(header), b"", now) {
        Outcome::Failed(failure) => {
            assert_eq!(failure.kind == FailureKind::Throttled, status == 429);
            failure.retry_after
        }
        Outcome::Issued(issued) => panic!("no answer: {issued:?}"),
    });
    assert_eq!((waits[0], waits[1]), (waits[1], waits[2]));
    waits[0]
}
