//! A row on its way to a worker and back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bucket::{Bucket, Row};
use crate::serve::core::batcher::WaitingRow;
use crate::serve::core::names::ModelId;

/// What becomes of a row.
pub(crate) type RowResult = Result<RowOutput, RowError>;

/// What the model computed for a row, and the bucket in which it did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowOutput {
    pub(crate) values: Vec<f32>,
    pub(crate) bucket: Bucket,
    /// The cores of the worker.
    pub(crate) core: Arc<str>,
    pub(crate) timing: Timing,
}

/// Where the time of a row went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Until its batch was taken.
    pub(crate) waited: Duration,
    /// On the worker.
    pub(crate) ran: Duration,
    /// It is the first row of its batch: so batches can be counted.
    pub(crate) leads: bool,
}

/// Why a row has no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowError {
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
pub(crate) struct Address {
    pub(crate) model: ModelId,
    /// Only this worker may run them.
    pub(crate) worker: Option<usize>,
}

/// A row on its way to a core.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) address: Address,
    pub(crate) accepted: Instant,
    /// Its client waits no longer than until then.
    pub(crate) deadline: Instant,
    pub(crate) row: Row,
    pub(crate) reply: oneshot::Sender<RowResult>,
    /// It was in a batch that went wrong, or is the same as a row that was, and must not take others with
    /// it again.
    pub(crate) is_suspect: bool,
}

/// The jobs of a batch and their bucket.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) model: ModelId,
    pub(crate) bucket: Bucket,
    pub(crate) jobs: Vec<Job>,
}

/// Answers every row with `error`.
pub(crate) fn answer_all(jobs: impl IntoIterator<Item = Job>, error: &RowError) {
    for job in jobs {
        // The client may have gone meanwhile.
        let _ = job.reply.send(Err(error.clone()));
    }
}

impl Job {
    /// True when the worker may run it and its client still waits.
    pub(crate) fn is_for(&self, worker: usize, now: Instant) -> bool {
        self.deadline > now && self.address.worker.is_none_or(|only| only == worker)
    }

    pub(crate) fn waiting(&self) -> WaitingRow {
        WaitingRow {
            tokens: self.row.ids.len(),
            deadline: self.deadline,
            is_suspect: self.is_suspect,
        }
    }
}
