//! When a worker that was lost is started again: sooner after a single failure, later after several in
//! a row, and after many only to see whether it works again.

use std::time::Duration;

/// The pause after the first failure; it doubles with each further one in a row.
const PAUSE: Duration = Duration::from_millis(100);

/// After so many failures in a row the core counts as broken: nothing waits for it any more.
const BROKEN_AFTER: u32 = 6;

/// How long a broken core rests between two attempts.
const BROKEN_PAUSE: Duration = Duration::from_secs(30);

/// A worker that was ready for so long has proven itself, even if nothing was asked of it.
const STEADY: Duration = Duration::from_secs(60);

/// What a worker did before it was lost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServiceRecord {
    /// A batch ran.
    pub(crate) has_run: bool,
    /// How long it was ready.
    pub(crate) ready: Duration,
}

impl ServiceRecord {
    fn is_proof(self) -> bool {
        self.has_run || self.ready >= STEADY
    }
}

/// The failures of one worker. A failure is in a row with the one before unless a worker has proven itself
/// between them.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    in_a_row: u32,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RestartPlan {
    /// Until the next attempt.
    pub(crate) pause: Duration,
    /// The core counts as broken until a worker is ready again.
    pub(crate) is_broken: bool,
}

impl Restarts {
    /// A worker was lost.
    pub(crate) fn lost(&mut self, service: ServiceRecord) -> RestartPlan {
        self.in_a_row = match service.is_proof() {
            true => 1,
            false => self.in_a_row.saturating_add(1),
        };
        let is_broken = self.in_a_row >= BROKEN_AFTER;
        let doubled = PAUSE.saturating_mul(1 << (self.in_a_row - 1).min(BROKEN_AFTER));
        RestartPlan {
            pause: if is_broken { BROKEN_PAUSE } else { doubled },
            is_broken,
        }
    }

    pub(crate) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_the_core_counts_as_broken() {
        let mut restarts = Restarts::default();
        let verdicts: Vec<RestartPlan> = (0..7)
            .map(|_| restarts.lost(ServiceRecord::default()))
            .collect();
        let pauses: Vec<u128> = verdicts.iter().map(|v| v.pause.as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 30_000, 30_000]);
        let broken = verdicts.iter().position(|verdict| verdict.is_broken);
        assert_eq!(broken, Some(5));
    }

    #[test]
    fn a_worker_that_ran_a_batch_or_was_ready_for_long_starts_over() {
        let ran = ServiceRecord {
            has_run: true,
            ready: Duration::ZERO,
        };
        let ready = |ready| ServiceRecord {
            has_run: false,
            ready,
        };
        for (service, starts_over) in [
            (ran, true),
            (ready(STEADY), true),
            (ready(STEADY / 2), false),
        ] {
            let mut restarts = Restarts::default();
            for _ in 0..9 {
                restarts.lost(ServiceRecord::default());
            }
            let verdict = restarts.lost(service);
            assert_eq!(verdict.is_broken, !starts_over, "{service:?}");
            assert_eq!(verdict.pause == PAUSE, starts_over, "{service:?}");
        }
    }
}
