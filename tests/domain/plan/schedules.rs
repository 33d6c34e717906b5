//! When: as late as is safe, never before half the life, later and later after failures, and never on a wrong clock's
//! word. Jitter is a hash, so it is the same at every look.

use std::time::Duration;

use jiff::Timestamp;
use pleo_operator::domain::{
    ledger::held::{AttemptId, Issue, Retry},
    plan::schedule::{CLOCK_TOLERANCE, backoff, lies_ahead, refresh_due, retry_at, spacing},
    time::later,
};
use proptest::{prelude::*, proptest};

use crate::scenes::{PRODUCTION, at, current, secs};

fn record(life: Duration) -> Issue {
    current("refresh-7", PRODUCTION, at(0), life).issue
}

fn due(life: u64, refresh_before: Option<u64>) -> f64 {
    refresh_due(&record(secs(life)), refresh_before.map(secs), "uid", 7).duration_since(at(0)).as_secs_f64()
}

#[test]
fn a_token_is_refreshed_a_tenth_of_its_life_before_its_end() {
    for (life, margin) in [(900, 90.0), (1800, 180.0), (300, 30.0), (120, 30.0), (7200, 300.0), (86_400, 300.0)] {
        let before_the_end = f64::from(life) - due(u64::from(life as u32), None);
        assert!((margin..=margin * 1.1).contains(&before_the_end), "life {life}: {before_the_end} s before the end");
    }
}

#[test]
fn a_short_token_is_refreshed_at_half_its_life() {
    for life in [1, 2, 10, 59] {
        assert!((due(life, None) - Duration::from_secs(life).as_secs_f64() / 2.0).abs() < 1e-9, "{life}");
    }
}

#[test]
fn a_wished_margin_is_treated_in_the_same_way() {
    let before_the_end = 900.0 - due(900, Some(120));
    assert!((120.0..=132.0).contains(&before_the_end), "{before_the_end}");
    assert!((due(900, Some(3600)) - 450.0).abs() < 1e-9, "never before half the life");
}

#[test]
fn two_exchanges_are_five_seconds_or_half_a_life_apart_and_never_under_a_second() {
    assert_eq!(spacing(None), secs(5));
    for (life_ms, spacing_ms) in [(900_000, 5000), (10_000, 5000), (6_000, 3000), (2_000, 1000), (500, 1000), (0, 1000)]
    {
        assert_eq!(spacing(Some(Duration::from_millis(life_ms))), Duration::from_millis(spacing_ms), "{life_ms}");
    }
}

fn retry(failed_at: Timestamp) -> Retry {
    Retry { attempt: AttemptId("here-1".into()), failed_at, wait_ms: 240_000, settle_ms: 30_000 }
}

#[test]
fn a_retry_waits_for_its_backoff_and_asked_for_only_the_settle_time() {
    assert_eq!(retry_at(&retry(at(0)), false, at(10), secs(10)), at(240));
    assert_eq!(retry_at(&retry(at(0)), true, at(10), secs(10)), at(30));
}

/// I1: who failed may have had another time of day; his request may live for the settle time from now on.
#[test]
fn the_settle_time_is_kept_on_our_own_clock_too() {
    assert_eq!(
        retry_at(&retry(at(0)), true, at(100), secs(0)),
        at(130),
        "it looks old, and we see it for the first time"
    );
    assert_eq!(retry_at(&retry(at(0)), true, at(110), secs(10)), at(130));
    assert_eq!(retry_at(&retry(at(0)), true, at(140), secs(40)), at(140), "and then it is due");
    let throttled = Retry { settle_ms: 240_000, ..retry(at(0)) };
    assert_eq!(retry_at(&throttled, false, at(220), secs(0)), at(250), "a server that is busy is not at work for us");
}

#[test]
fn a_failure_in_the_future_means_a_wrong_clock_and_waits_at_most_its_wait() {
    let wrong = retry(at(1_000_000));
    assert_eq!(retry_at(&wrong, false, at(10), secs(0)), at(250));
    assert_eq!(retry_at(&wrong, false, at(110), secs(100)), at(250), "counted from when we first saw it");
    assert_eq!(retry_at(&wrong, false, at(300), secs(290)), at(300), "and then it is due");
    assert_eq!(retry_at(&wrong, true, at(10), secs(0)), at(40));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_refresh_is_never_due_before_half_the_life_nor_after_its_end(
        life_ms in 1_u64..200_000_000,
        refresh_before in proptest::option::of(1_u64..4_000_000_000),
        rotation: u64,
    ) {
        let record = record(Duration::from_millis(life_ms));
        let due = refresh_due(&record, refresh_before.map(Duration::from_millis), "uid", rotation);
        let life = Duration::try_from(due.duration_since(record.issued_at)).unwrap();
        prop_assert!(life >= record.lifetime() / 2);
        prop_assert!(due <= record.expires_at());
        prop_assert_eq!(due, refresh_due(&record, refresh_before.map(Duration::from_millis), "uid", rotation));
    }

    #[test]
    fn stored_times_of_any_size_overflow_nowhere(
        issued in -377_705_023_201_i64..=253_402_207_200,
        life_ms: u64,
        wait_ms: u64,
        settle_ms: u64,
        refresh_before in proptest::option::of(any::<u64>()),
    ) {
        let issued = Timestamp::from_second(issued).unwrap();
        let mut record = record(secs(1));
        record.issued_at = issued;
        record.lifetime_ms = life_ms;
        let due = refresh_due(&record, refresh_before.map(Duration::from_millis), "uid", 0);
        prop_assert!(due <= record.expires_at());
        let retry = Retry { attempt: AttemptId(String::new()), failed_at: issued, wait_ms, settle_ms };
        for now in [Timestamp::MIN, issued, Timestamp::MAX] {
            let _ = retry_at(&retry, false, now, Duration::MAX);
        }
    }

    #[test]
    fn the_backoff_doubles_within_its_bounds(failures in 0_u32..100, rotation: u64, uid in "[a-f0-9]{4}") {
        let longest = |failures: u32| Duration::from_secs(1 << failures.saturating_sub(1).min(10)).min(secs(900));
        let wait = backoff(failures, &uid, rotation);
        prop_assert!(wait <= longest(failures) && wait >= longest(failures).mul_f64(0.75));
        prop_assert_eq!(wait, backoff(failures, &uid, rotation), "the same at every look");
        let next = backoff(failures + 1, &uid, rotation);
        prop_assert!(next >= wait.mul_f64(0.75), "longer, but for the jitter");
    }
}

#[test]
fn a_clock_may_be_ten_seconds_ahead() {
    let edge = later(at(0), CLOCK_TOLERANCE);
    assert!(!lies_ahead(edge, at(0)) && lies_ahead(later(edge, secs(1)), at(0)));
}

/// Jitter is spread over all that lies between 0 and 1, and the same at every look.
#[test]
fn jitter_is_spread_evenly() {
    use pleo_operator::domain::token::fraction;
    let all: Vec<f64> = (0..1000).map(|number| fraction(&["x", &number.to_string()])).collect();
    for tenth in 0..10 {
        let low = f64::from(tenth) / 10.0;
        let count = all.iter().filter(|value| (low..low + 0.1).contains(*value)).count();
        assert!((60..140).contains(&count), "{count} of 1000 in the tenth from {low}");
    }
    assert_eq!(fraction(&["x", "1"]).to_bits(), fraction(&["x", "1"]).to_bits());
}
