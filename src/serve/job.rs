//! A row on its way to a worker and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bucket::{Bucket, Row};
use crate::serve::batcher::Waiting;
use crate::serve::models::ModelId;

/// What becomes of a row.
pub(super) type RowResult = Result<RowOutput, RowError>;

/// What the model computed for a row, and the bucket in which it did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowOutput {
    pub(super) values: Vec<f32>,
    pub(super) bucket: Bucket,
    /// The cores of the worker.
    pub(super) core: Arc<str>,
    pub(super) timing: Timing,
}

/// Where the time of a row went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timing {
    /// Until its batch was taken.
    pub(super) waited: Duration,
    /// On the worker.
    pub(super) ran: Duration,
    /// It is the first row of its batch: so batches can be counted.
    pub(super) leads: bool,
}

/// Why a row has no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowError {
    /// The worker could not run it.
    Failed(String),
    /// What came out for this row has values that are not numbers.
    Numeric,
    /// The workers it ran on died.
    WorkerDied,
    /// No worker that is to have the model can be started, or could load it.
    Broken,
    /// Its model was taken away.
    Gone,
    /// The server stopped before its turn came.
    Closed,
}

/// Whose rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) model: ModelId,
    /// Only this worker may run them.
    pub(super) worker: Option<usize>,
}

/// A row on its way to a core.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) address: Address,
    pub(super) accepted: Instant,
    /// Its client waits no longer than until then.
    pub(super) deadline: Instant,
    pub(super) row: Row,
    pub(super) reply: oneshot::Sender<RowResult>,
    /// It was in a batch that went wrong, or is the same as a row that was, and must not take others with
    /// it again.
    pub(super) is_suspect: bool,
}

/// The jobs of a batch and their bucket.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) model: ModelId,
    pub(super) bucket: Bucket,
    pub(super) jobs: Vec<Job>,
}

/// Answers every row with `error`.
pub(super) fn answer_all(jobs: impl IntoIterator<Item = Job>, error: &RowError) {
    for job in jobs {
        // The client may have gone meanwhile.
        let _ = job.reply.send(Err(error.clone()));
    }
}

impl Job {
    /// True when the worker may run it and its client still waits.
    pub(super) fn is_for(&self, worker: usize, now: Instant) -> bool {
        self.deadline > now && self.address.worker.is_none_or(|only| only == worker)
    }

    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            tokens: self.row.ids.len(),
            deadline: self.deadline,
            is_suspect: self.is_suspect,
        }
    }
}
