//! What waits for one model.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::bucket::Bucket;
use crate::serve::batcher::{self, Waiting};
use crate::serve::job::{Batch, Job};
use crate::serve::models::ModelId;
use crate::serve::pace::Pace;

/// Which batches will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    Any,
    /// Only one that could not be larger.
    Full,
}

/// What waits for one model.
#[derive(Debug)]
pub(super) struct Line {
    buckets: Vec<Bucket>,
    /// Those that have the model or are to have it.
    pub(super) workers: BTreeSet<usize>,
    /// In the order of arrival.
    pub(super) jobs: VecDeque<Job>,
    pub(super) pace: Pace,
}

impl Line {
    pub(super) fn new(buckets: &[Bucket]) -> Self {
        Self {
            buckets: buckets.to_vec(),
            workers: BTreeSet::new(),
            jobs: VecDeque::new(),
            pace: Pace::default(),
        }
    }

    pub(super) fn take(
        &mut self,
        worker: usize,
        model: ModelId,
        fill: Fill,
        now: Instant,
    ) -> Option<Batch> {
        let jobs = self.jobs.iter().enumerate();
        let (places, waiting): (Vec<usize>, Vec<Waiting>) = jobs
            .filter(|(_, job)| job.is_for(worker, now))
            .map(|(place, job)| (place, job.waiting()))
            .unzip();
        let chosen = batcher::choose(&self.buckets, &waiting, now)?;
        if fill == Fill::Full && !chosen.is_full(&self.buckets) {
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
    pub(super) fn drop_abandoned(&mut self) {
        self.jobs.retain(|job| !job.reply.is_closed());
    }

    /// Takes the jobs that `is_it` is true for.
    pub(super) fn extract(&mut self, is_it: impl Fn(&Job) -> bool) -> Vec<Job> {
        let jobs = std::mem::take(&mut self.jobs);
        let (found, rest): (VecDeque<Job>, VecDeque<Job>) = jobs.into_iter().partition(is_it);
        self.jobs = rest;
        found.into()
    }
}
