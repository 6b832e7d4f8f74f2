//! What each core has done, by model and bucket: one account for metrics, management and status pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::Bucket;
use crate::serve::core::histogram::{Histogram, SECONDS, SHARES};

/// What was run in one bucket of one model on one core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WorkCounts {
    pub(crate) batches: u64,
    pub(crate) rows: u64,
    /// Rows of the buckets that were padding.
    pub(crate) padding_rows: u64,
    pub(crate) tokens: u64,
    /// Tokens of the buckets that were padding, those of padding rows included.
    pub(crate) padding_tokens: u64,
    /// The time that the core worked.
    pub(crate) busy: Duration,
}

impl WorkCounts {
    /// One batch of rows with so many tokens.
    pub(crate) fn batch(bucket: Bucket, rows: usize, tokens: usize, busy: Duration) -> Self {
        Self {
            batches: 1,
            rows: rows as u64,
            padding_rows: bucket.batch.saturating_sub(rows) as u64,
            tokens: tokens as u64,
            padding_tokens: (bucket.batch * bucket.sequence).saturating_sub(tokens) as u64,
            busy,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.rows += other.rows;
        self.padding_rows += other.padding_rows;
        self.tokens += other.tokens;
        self.padding_tokens += other.padding_tokens;
        self.busy += other.busy;
    }
}

/// What was run in one bucket of one model on one core, and how long its runs took.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BucketCounters {
    pub(crate) tally: WorkCounts,
    /// Seconds of each run.
    pub(crate) times: Histogram,
}

impl Default for BucketCounters {
    fn default() -> Self {
        Self {
            tally: WorkCounts::default(),
            times: Histogram::new(SECONDS),
        }
    }
}

/// How the rows of one model came to one core.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueueCounters {
    /// Seconds that each row waited.
    pub(crate) waits: Histogram,
    /// The share of each batch that was rows, not padding.
    pub(crate) fills: Histogram,
}

impl Default for QueueCounters {
    fn default() -> Self {
        Self {
            waits: Histogram::new(SECONDS),
            fills: Histogram::new(SHARES),
        }
    }
}

/// The account of one core.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounters {
    book: Mutex<CounterValues>,
}

/// What a ledger has written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct CounterValues {
    pub(crate) runs: BTreeMap<(Arc<str>, Bucket), BucketCounters>,
    pub(crate) arrivals: BTreeMap<Arc<str>, QueueCounters>,
    /// The time that the core worked until then, also on what came to nothing.
    worked: Duration,
    /// Since when it works on what it was given.
    working_since: Option<Instant>,
}

impl WorkerCounters {
    /// The core works since then, unless it did before.
    pub(crate) fn begin(&self, since: Instant) {
        self.lock().working_since.get_or_insert(since);
    }

    /// What the core worked on has ended, now, however it ended; where it `goes_on`, it works on what it
    /// was given next.
    pub(crate) fn end(&self, goes_on: bool) -> Instant {
        let mut book = self.lock();
        // Within the lock: whoever reads before sees less, whoever reads after sees no less.
        let now = Instant::now();
        if let Some(since) = book.working_since.take() {
            book.worked += now.saturating_duration_since(since);
        }
        book.working_since = goes_on.then_some(now);
        now
    }

    /// Writes down a batch whose rows waited for `waits`.
    pub(crate) fn add(
        &self,
        model: &Arc<str>,
        bucket: Bucket,
        batch: &WorkCounts,
        waits: impl Iterator<Item = Duration>,
    ) {
        let mut book = self.lock();
        let runs = book.runs.entry((Arc::clone(model), bucket)).or_default();
        runs.tally.add(batch);
        runs.times.observe(batch.busy.as_secs_f64());
        let arrivals = book.arrivals.entry(Arc::clone(model)).or_default();
        for wait in waits {
            arrivals.waits.observe(wait.as_secs_f64());
        }
        let places = (batch.rows + batch.padding_rows).max(1);
        arrivals.fills.observe(batch.rows as f64 / places as f64);
    }

    pub(crate) fn book(&self) -> CounterValues {
        self.lock().clone()
    }

    /// By model and bucket.
    pub(crate) fn tallies(&self) -> BTreeMap<(Arc<str>, Bucket), WorkCounts> {
        let book = self.lock();
        let runs = book.runs.iter();
        runs.map(|(key, runs)| (key.clone(), runs.tally)).collect()
    }

    /// Of all models and buckets.
    pub(crate) fn total(&self) -> WorkCounts {
        self.lock().total()
    }

    /// How long the core worked, with the time on what it works on.
    pub(crate) fn busy(&self) -> Duration {
        self.lock().busy()
    }

    /// Only numbers are changed while it is held.
    fn lock(&self) -> MutexGuard<'_, CounterValues> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CounterValues {
    /// How long the core worked, with the time on what it works on: it never becomes less.
    pub(crate) fn busy(&self) -> Duration {
        let since = self.working_since.map(|since| since.elapsed());
        self.worked + since.unwrap_or_default()
    }

    /// Of all models and buckets.
    pub(crate) fn total(&self) -> WorkCounts {
        let mut total = WorkCounts::default();
        for runs in self.runs.values() {
            total.add(&runs.tally);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_what_the_bucket_has_beyond_the_rows() {
        let ledger = WorkerCounters::default();
        let bucket = Bucket {
            batch: 8,
            sequence: 32,
        };
        let busy = Duration::from_millis(5);
        let model: Arc<str> = "m".into();
        let waits = |rows| std::iter::repeat_n(busy, rows);
        let add = |rows, tokens| {
            let tally = WorkCounts::batch(bucket, rows, tokens, busy);
            ledger.add(&model, bucket, &tally, waits(rows));
        };
        add(6, 100);
        add(8, 256);
        let total = ledger.total();
        let book = ledger.book();
        let key = (Arc::clone(&model), bucket);
        assert_eq!(ledger.tallies()[&key], total);
        assert_eq!(book.runs[&key].times.count(), 2);
        assert_eq!(book.arrivals[&model].waits.count(), 14);
        assert_eq!(book.arrivals[&model].fills.sum(), 0.75 + 1.0);
        assert_eq!((total.batches, total.rows, total.padding_rows), (2, 14, 2));
        assert_eq!((total.tokens, total.padding_tokens), (356, 156));
        assert_eq!(total.busy, 2 * busy);
    }

    #[test]
    fn work_counts_while_it_is_done_and_when_it_comes_to_nothing() {
        let ledger = WorkerCounters::default();
        let second = Duration::from_secs(1);
        ledger.begin(Instant::now().checked_sub(second).unwrap());
        assert!(ledger.busy() >= second);
        assert_eq!(ledger.total(), WorkCounts::default());
        let before = ledger.busy();
        // It was given the next one ahead.
        let turned = ledger.end(true);
        assert!(ledger.busy() >= before);
        ledger.begin(turned + second);
        assert!(ledger.end(false) >= turned);
        let worked = ledger.busy();
        assert!(worked >= before && worked < before + second);
        assert_eq!(ledger.busy(), worked, "it does not work");
    }
}
