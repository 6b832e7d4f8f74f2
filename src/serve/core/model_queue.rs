//! What waits for one model.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::bucket::Bucket;
use crate::serve::core::batcher::{self, WaitingRow};
use crate::serve::core::job::{Batch, Job, RowError, answer_all};
use crate::serve::core::names::ModelId;
use crate::serve::core::throughput::Throughput;

/// Which batches will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchFill {
    Any,
    /// Only one that could not be larger.
    Full,
}

/// What waits for one model.
#[derive(Debug)]
pub(crate) struct ModelQueue {
    buckets: Vec<Bucket>,
    /// Those that have the model or are to have it.
    workers: BTreeSet<usize>,
    /// Those of them that could not load it.
    failed: BTreeSet<usize>,
    /// In the order of arrival.
    pub(crate) jobs: VecDeque<Job>,
    pace: Throughput,
}

impl ModelQueue {
    pub(crate) fn new(buckets: &[Bucket]) -> Self {
        Self {
            buckets: buckets.to_vec(),
            workers: BTreeSet::new(),
            failed: BTreeSet::new(),
            jobs: VecDeque::new(),
            pace: Throughput::default(),
        }
    }

    pub(crate) fn assign(&mut self, worker: usize) {
        self.workers.insert(worker);
        self.failed.remove(&worker);
    }

    pub(crate) fn withdraw(&mut self, worker: usize) {
        self.workers.remove(&worker);
        self.failed.remove(&worker);
    }

    pub(crate) fn set_failed(&mut self, worker: usize, has_failed: bool) {
        match has_failed {
            true => self.failed.insert(worker),
            false => self.failed.remove(&worker),
        };
    }

    /// A worker that has the model needs so long for a row.
    pub(crate) fn expect(&mut self, per_row: Duration) {
        self.pace.expect(per_row, self.workers.len());
    }

    /// How long so many rows would wait, as far as that is known.
    pub(crate) fn estimate(&self, rows: usize) -> Option<Duration> {
        self.pace.estimate(rows)
    }

    pub(crate) fn take(
        &mut self,
        worker: usize,
        model: ModelId,
        fill: BatchFill,
        now: Instant,
    ) -> Option<Batch> {
        let jobs = self.jobs.iter().enumerate();
        let (places, waiting): (Vec<usize>, Vec<WaitingRow>) = jobs
            .filter(|(_, job)| job.is_for(worker, now))
            .map(|(place, job)| (place, job.waiting()))
            .unzip();
        let chosen = batcher::choose(&self.buckets, &waiting, now)?;
        if fill == BatchFill::Full && !chosen.is_full(&self.buckets) {
            return None;
        }
        let mut jobs = Vec::with_capacity(chosen.members.len());
        for member in chosen.members.into_iter().rev() {
            jobs.extend(self.jobs.remove(places[member]));
        }
        jobs.reverse();
        self.pace.took(jobs.len(), self.jobs.len(), now);
        Some(Batch {
            model,
            bucket: chosen.bucket,
            jobs,
        })
    }

    /// Rows whose clients have gone need not run.
    pub(crate) fn drop_abandoned(&mut self) {
        self.jobs.retain(|job| !job.reply.is_closed());
    }

    /// Why a row for `only` that worker, or for any, would wait in vain; `broken` are the workers that
    /// cannot be started.
    pub(crate) fn hopeless(
        &self,
        only: Option<usize>,
        broken: &BTreeSet<usize>,
    ) -> Option<RowError> {
        let is_out = |worker: &usize| broken.contains(worker) || self.failed.contains(worker);
        let (is_gone, is_broken) = match only {
            Some(only) => (!self.workers.contains(&only), is_out(&only)),
            None => (self.workers.is_empty(), self.workers.iter().all(is_out)),
        };
        match is_gone {
            true => Some(RowError::Gone),
            false => is_broken.then_some(RowError::Broken),
        }
    }

    /// Answers the rows that wait in vain.
    pub(crate) fn answer_hopeless(&mut self, broken: &BTreeSet<usize>) {
        for job in std::mem::take(&mut self.jobs) {
            match self.hopeless(job.address.worker, broken) {
                None => self.jobs.push_back(job),
                Some(error) => answer_all([job], &error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_waits_in_vain_where_no_worker_runs_loads_or_has_the_model() {
        let mut line = ModelQueue::new(&[]);
        let broken = BTreeSet::from([2]);
        assert_eq!(line.hopeless(None, &broken), Some(RowError::Gone));
        for worker in [0, 1, 2] {
            line.assign(worker);
        }
        line.set_failed(0, true);
        assert_eq!(line.hopeless(None, &broken), None);
        assert_eq!(line.hopeless(Some(1), &broken), None);
        for lost in [0, 2] {
            assert_eq!(line.hopeless(Some(lost), &broken), Some(RowError::Broken));
        }
        line.withdraw(1);
        assert_eq!(line.hopeless(Some(1), &broken), Some(RowError::Gone));
        assert_eq!(line.hopeless(None, &broken), Some(RowError::Broken));
        line.set_failed(0, false);
        assert_eq!(line.hopeless(None, &broken), None);
        line.set_failed(0, true);
        // It is asked to load it again.
        line.assign(0);
        assert_eq!(line.hopeless(Some(0), &broken), None);
    }
}
