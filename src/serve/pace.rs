//! How fast a queue is worked off, to tell a client when it may come again.

use std::time::{Duration, Instant};

/// What a new measurement counts for against all before it.
const WEIGHT: f64 = 0.2;

/// Measured only between two batches with rows left behind: an idle core says nothing about speed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    seconds_per_row: Option<f64>,
    /// When the last batch was taken, if it left rows.
    taken: Option<Instant>,
}

impl Pace {
    /// A batch of `rows` was taken and left `rest` behind.
    pub(super) fn took(&mut self, rows: usize, rest: usize, now: Instant) {
        if let Some(before) = self.taken {
            let time = now.saturating_duration_since(before).as_secs_f64() / rows.max(1) as f64;
            let known = self.seconds_per_row.unwrap_or(time);
            self.seconds_per_row = Some(known + WEIGHT * (time - known));
        }
        self.taken = (rest > 0).then_some(now);
    }

    /// How long `rows` will take, as far as that is known.
    pub(super) fn estimate(&self, rows: usize) -> Option<Duration> {
        let seconds = self.seconds_per_row? * rows as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_from_batches_that_left_rows_and_ignores_idle_time() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        pace.took(8, 0, at(0));
        assert_eq!(pace.estimate(100), None);
        pace.took(8, 100, at(9000));
        for turn in 1..50 {
            pace.took(8, 100, at(9000 + 16 * turn));
        }
        let estimate = pace.estimate(1000).unwrap().as_secs_f64();
        assert!((estimate - 2.0).abs() < 1e-6, "{estimate}");
    }
}
