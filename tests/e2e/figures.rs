//! Figures as they are printed, and kept in `docs/performance.md`.

use std::{fmt, time::Duration};

/// Measured times.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort();
    }

    /// The time that this share of all did not exceed: the nearest rank.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| self.percentile(share).as_secs_f64());
        write!(f, "p50 {p50:6.3} s   p99 {p99:6.3} s   max {most:6.3} s   n = {}", self.0.len())
    }
}
