//! So many requests a second: at once up to as many as a second has, then each after its share of it.

use std::time::{Duration, Instant};

/// When a request of a key may come next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    /// What one request costs.
    each: Duration,
    /// How far ahead requests may be.
    ahead: Duration,
    /// When everything that was taken is paid for.
    paid: Instant,
}

impl Rate {
    pub(super) fn new(per_second: f64, now: Instant) -> Self {
        let each = Duration::from_secs_f64(1.0 / per_second);
        Self {
            each,
            ahead: each.max(Duration::from_secs(1)),
            paid: now,
        }
    }

    /// Takes a request, or says how long to wait for it.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let paid = self.paid.max(now) + self.each;
        match paid.saturating_duration_since(now + self.ahead) {
            Duration::ZERO => {
                self.paid = paid;
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_may_come_at_once_and_then_each_in_its_time() {
        let begun = Instant::now();
        let mut rate = Rate::new(4.0, begun);
        for _ in 0..4 {
            assert_eq!(rate.take(begun), Ok(()));
        }
        let quarter = Duration::from_millis(250);
        assert_eq!(rate.take(begun), Err(quarter));
        assert_eq!(rate.take(begun + quarter / 2), Err(quarter / 2));
        assert_eq!(rate.take(begun + quarter), Ok(()));
        assert_eq!(rate.take(begun + quarter), Err(quarter));
    }

    #[test]
    fn less_than_one_a_second_is_one_at_a_time() {
        let begun = Instant::now();
        let mut rate = Rate::new(0.5, begun);
        assert_eq!(rate.take(begun), Ok(()));
        assert_eq!(rate.take(begun), Err(Duration::from_secs(2)));
        assert_eq!(rate.take(begun + Duration::from_secs(2)), Ok(()));
    }

    proptest! {
        #[test]
        fn never_more_than_two_seconds_worth_in_a_second(
            per_second in 1.0..500.0f64,
            pauses in prop::collection::vec(0u64..20_000, 1..400),
        ) {
            let mut now = Instant::now();
            let mut rate = Rate::new(per_second, now);
            let mut taken = Vec::new();
            for pause in pauses {
                now += Duration::from_micros(pause);
                if rate.take(now).is_ok() {
                    taken.push(now);
                }
            }
            for (index, first) in taken.iter().enumerate() {
                let within = |time: &&Instant| **time < *first + Duration::from_secs(1);
                let count = taken[index..].iter().filter(within).count();
                prop_assert!(count as f64 <= 2.0 * per_second + 1.0, "{count} of {per_second}");
            }
        }
    }
}
