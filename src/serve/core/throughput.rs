//! How fast a queue is worked off, to tell a client when it may come again.

use std::time::{Duration, Instant};

/// What all measurements before it still count for with each new one.
const KEPT: f64 = 0.9;

/// For how many rows that were measured what is expected counts.
const EXPECTED_ROWS: f64 = 32.0;

/// Measured only between two batches with rows left behind: an idle core says nothing about speed.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// Of the time that went by, and of the rows that were taken in it, each one less the older it is.
    seconds: f64,
    rows: f64,
    is_measured: bool,
    /// When the last batch was taken, if it left rows.
    taken: Option<Instant>,
}

impl Throughput {
    /// A worker says how long it needs for a row, and there are so many workers. What was measured knows
    /// better.
    pub(crate) fn expect(&mut self, per_row: Duration, workers: usize) {
        if !self.is_measured {
            self.rows = EXPECTED_ROWS;
            self.seconds = EXPECTED_ROWS * per_row.as_secs_f64() / workers.max(1) as f64;
        }
    }

    /// A batch of `rows` was taken and left `rest` behind.
    pub(crate) fn took(&mut self, rows: usize, rest: usize, now: Instant) {
        if let Some(before) = self.taken {
            let time = now.saturating_duration_since(before).as_secs_f64();
            self.seconds = KEPT * self.seconds + time;
            self.rows = KEPT * self.rows + rows as f64;
            self.is_measured = true;
        }
        self.taken = (rest > 0).then_some(now);
    }

    /// How long `rows` will take, as far as that is known.
    pub(crate) fn estimate(&self, rows: usize) -> Option<Duration> {
        let seconds = rows as f64 * self.seconds / self.rows;
        // Without anything known it is not a number.
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pace: &Throughput, rows: usize) -> f64 {
        pace.estimate(rows).unwrap().as_secs_f64()
    }

    #[test]
    fn it_learns_from_batches_that_left_rows_and_ignores_idle_time() {
        let mut pace = Throughput::default();
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        pace.took(8, 0, at(0));
        assert_eq!(pace.estimate(100), None);
        pace.took(8, 100, at(9000));
        for turn in 1..50 {
            pace.took(8, 100, at(9000 + 16 * turn));
        }
        let estimate = seconds(&pace, 1000);
        assert!((estimate - 2.0).abs() < 1e-6, "{estimate}");
    }

    #[test]
    fn before_anything_was_measured_it_is_what_the_workers_need() {
        let mut pace = Throughput::default();
        pace.expect(Duration::from_millis(250), 1);
        pace.expect(Duration::from_millis(250), 2);
        assert_eq!(pace.estimate(100), Some(Duration::from_millis(12_500)));
    }

    #[test]
    fn a_flood_that_begins_with_a_small_batch_is_not_taken_for_slow() {
        // Two workers, two seconds for a batch of eight: an eighth of a second for a row.
        let mut pace = Throughput::default();
        pace.expect(Duration::from_millis(250), 2);
        let start = Instant::now();
        pace.took(1, 99, start);
        pace.took(8, 91, start);
        assert!((8.0..15.0).contains(&seconds(&pace, 91)), "{pace:?}");
        for turn in 1..20 {
            let now = start + Duration::from_secs(2 * turn);
            pace.took(8, 91, now);
            pace.took(8, 91, now);
            assert!(
                (8.0..15.0).contains(&seconds(&pace, 91)),
                "{turn}: {pace:?}"
            );
        }
        pace.expect(Duration::from_secs(100), 1);
        assert!((8.0..15.0).contains(&seconds(&pace, 91)), "{pace:?}");
    }
}
