//! What each core has done, by model and bucket: one account for metrics, management and status pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bucket::Bucket;

/// What was run in one bucket of one model on one core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) batches: u64,
    pub(super) rows: u64,
    /// Rows of the buckets that were padding.
    pub(super) padding_rows: u64,
    pub(super) tokens: u64,
    /// Tokens of the buckets that were padding, those of padding rows included.
    pub(super) padding_tokens: u64,
    /// The time that the core worked.
    pub(super) busy: Duration,
}

impl Tally {
    /// One batch of rows with so many tokens.
    pub(super) fn batch(bucket: Bucket, rows: usize, tokens: usize, busy: Duration) -> Self {
        Self {
            batches: 1,
            rows: rows as u64,
            padding_rows: bucket.batch.saturating_sub(rows) as u64,
            tokens: tokens as u64,
            padding_tokens: (bucket.batch * bucket.sequence).saturating_sub(tokens) as u64,
            busy,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.rows += other.rows;
        self.padding_rows += other.padding_rows;
        self.tokens += other.tokens;
        self.padding_tokens += other.padding_tokens;
        self.busy += other.busy;
    }
}

/// The tallies of one core.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tallies: Mutex<BTreeMap<(Arc<str>, Bucket), Tally>>,
}

impl Ledger {
    pub(super) fn add(&self, model: &Arc<str>, bucket: Bucket, batch: &Tally) {
        let mut tallies = self.lock();
        let tally = tallies.entry((Arc::clone(model), bucket)).or_default();
        tally.add(batch);
    }

    /// By model and bucket.
    pub(super) fn tallies(&self) -> BTreeMap<(Arc<str>, Bucket), Tally> {
        self.lock().clone()
    }

    /// Of all models and buckets.
    pub(super) fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in self.lock().values() {
            total.add(tally);
        }
        total
    }

    /// Only numbers are changed while it is held.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Arc<str>, Bucket), Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_what_the_bucket_has_beyond_the_rows() {
        let ledger = Ledger::default();
        let bucket = Bucket {
            batch: 8,
            sequence: 32,
        };
        let busy = Duration::from_millis(5);
        let model: Arc<str> = "m".into();
        ledger.add(&model, bucket, &Tally::batch(bucket, 6, 100, busy));
        ledger.add(&model, bucket, &Tally::batch(bucket, 8, 256, busy));
        let total = ledger.total();
        assert_eq!(ledger.tallies()[&(model, bucket)], total);
        assert_eq!((total.batches, total.rows, total.padding_rows), (2, 14, 2));
        assert_eq!((total.tokens, total.padding_tokens), (356, 156));
        assert_eq!(total.busy, 2 * busy);
    }
}
