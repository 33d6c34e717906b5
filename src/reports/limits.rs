//! How many reports are looked at: each costs two reads of the API server, whether it is true or not. Each source has its own limits, so
//! that one that sends too many silences no other.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

const WINDOW: Duration = Duration::from_secs(10);
/// From one source in that time, each for another connection.
const MOST_OF_A_SOURCE: usize = 10;
const MOST_SOURCES: usize = 4096;
/// Reports that were proved, in a second: each may be a write.
const MOST_PROVED: usize = 5;
const SECOND: Duration = Duration::from_secs(1);

/// Names a connection, whether it is there or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub namespace: String,
    pub name: String,
}

/// What came in a moment ago. `now` is any clock that does not go back.
#[derive(Debug, Default)]
pub struct Limits {
    sources: HashMap<IpAddr, VecDeque<(Target, Duration)>>,
    proved: VecDeque<Duration>,
}

impl Limits {
    /// Whether a report of this source is looked at.
    pub fn admit(&mut self, source: IpAddr, target: &Target, now: Duration) -> bool {
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&source) {
            self.sources.retain(|_, recent| recent.back().is_some_and(|(_, at)| is_within(*at, WINDOW, now)));
            if self.sources.len() >= MOST_SOURCES {
                return false;
            }
        }
        let recent = self.sources.entry(source).or_default();
        while recent.front().is_some_and(|(_, at)| !is_within(*at, WINDOW, now)) {
            recent.pop_front();
        }
        let is_repeated = recent.iter().any(|(other, _)| other == target);
        if is_repeated || recent.len() >= MOST_OF_A_SOURCE {
            return false;
        }
        recent.push_back((target.clone(), now));
        true
    }

    /// Whether a report that was proved is noted.
    pub fn admit_proved(&mut self, now: Duration) -> bool {
        while self.proved.front().is_some_and(|at| !is_within(*at, SECOND, now)) {
            self.proved.pop_front();
        }
        let is_admitted = self.proved.len() < MOST_PROVED;
        if is_admitted {
            self.proved.push_back(now);
        }
        is_admitted
    }
}

fn is_within(at: Duration, window: Duration, now: Duration) -> bool {
    now < at.saturating_add(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: u32) -> Target {
        Target { namespace: "finance".into(), name: format!("connection-{n}") }
    }

    fn source(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_source_reports_a_connection_once_in_ten_seconds() {
        let mut limits = Limits::default();
        let at = Duration::from_secs;
        assert!(limits.admit(source(1), &target(1), at(0)));
        assert!(!limits.admit(source(1), &target(1), at(9)));
        assert!(limits.admit(source(2), &target(1), at(9)), "another source");
        assert!(limits.admit(source(1), &target(2), at(9)), "another connection");
        assert!(limits.admit(source(1), &target(1), at(10)));
    }

    #[test]
    fn a_source_that_reports_too_much_silences_no_other() {
        let mut limits = Limits::default();
        let at = Duration::from_secs(1);
        let admitted = (0..100).filter(|n| limits.admit(source(1), &target(*n), at)).count();
        assert_eq!(admitted, 10);
        assert!(limits.admit(source(2), &target(1), at));
    }

    #[test]
    fn sources_are_forgotten_and_there_are_never_more_than_can_be_kept() {
        let mut limits = Limits::default();
        let admitted = (0..5000).filter(|n| limits.admit(source(*n), &target(1), Duration::ZERO)).count();
        assert_eq!((admitted, limits.sources.len()), (4096, 4096));
        assert!(limits.admit(source(5000), &target(1), WINDOW));
        assert_eq!(limits.sources.len(), 1);
    }

    #[test]
    fn five_proved_reports_are_noted_in_a_second() {
        let mut limits = Limits::default();
        let millis = Duration::from_millis;
        assert_eq!((0..10).filter(|n| limits.admit_proved(millis(*n))).count(), 5);
        assert!(limits.admit_proved(millis(1000)));
    }
}
