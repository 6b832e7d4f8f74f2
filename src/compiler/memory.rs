//! The host memory of compilations: the need of each, and a budget for those that run together.

use crate::bucket::Bucket;
use crate::profile::CompileMemory;

const GIB: f64 = (1u64 << 30) as f64;

/// Bytes of host memory that the compilation of a bucket is expected to need, for `weights` bytes of
/// weights.
pub fn estimate(memory: &CompileMemory, weights: u64, bucket: Bucket) -> u64 {
    let tokens = bucket.batch.saturating_mul(bucket.sequence) as f64;
    let bytes = memory.base_gib * GIB
        + memory.times_weights * weights as f64
        + memory.mib_per_1000_tokens * tokens / 1000.0 * (1u64 << 20) as f64;
    bytes as u64
}

/// Decides which compilation starts next: the largest that waits, beside others only if it fits.
#[derive(Debug)]
pub struct Budget {
    available: u64,
    jobs: usize,
    running: Vec<u64>,
}

impl Budget {
    /// At most `jobs` compilations that together need no more than `available` bytes.
    pub fn new(available: u64, jobs: usize) -> Self {
        Self {
            available,
            jobs: jobs.max(1),
            running: Vec::new(),
        }
    }

    /// The index in `waiting`, a list of needs in bytes, of the compilation to start next; `None` to wait
    /// for a running one. One that exceeds the budget by itself runs alone.
    pub fn next(&self, waiting: &[u64]) -> Option<usize> {
        if self.running.len() >= self.jobs {
            return None;
        }
        let (largest, need) = waiting.iter().enumerate().max_by_key(|(_, need)| **need)?;
        let used: u64 = self.running.iter().sum();
        let fits = used.saturating_add(*need) <= self.available;
        (fits || self.running.is_empty()).then_some(largest)
    }

    pub fn start(&mut self, need: u64) {
        self.running.push(need);
    }

    pub fn end(&mut self, need: u64) {
        if let Some(index) = self.running.iter().position(|known| *known == need) {
            self.running.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_largest_runs_alone_when_nothing_fits_beside_it() {
        let mut budget = Budget::new(10, 4);
        assert_eq!(budget.next(&[3, 12, 4]), Some(1));
        budget.start(12);
        assert_eq!(budget.next(&[3, 4]), None);
        budget.end(12);
        assert_eq!(budget.next(&[3, 4]), Some(1));
        budget.start(4);
        assert_eq!(budget.next(&[3]), Some(0));
    }

    proptest! {
        #[test]
        fn everything_runs_and_nothing_exceeds_the_budget(
            mut waiting in proptest::collection::vec(0u64..20, 0..20),
            available in 0u64..30,
            jobs in 0usize..5,
        ) {
            let mut budget = Budget::new(available, jobs);
            while !waiting.is_empty() || !budget.running.is_empty() {
                while let Some(index) = budget.next(&waiting) {
                    budget.start(waiting.remove(index));
                    let used: u64 = budget.running.iter().sum();
                    prop_assert!(used <= available || budget.running.len() == 1);
                    prop_assert!(budget.running.len() <= jobs.max(1));
                }
                let need = budget.running[0];
                budget.end(need);
            }
        }
    }
}
