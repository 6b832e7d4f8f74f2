//! The rows of one model that wait for a core, bounded; cores take batches from it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bucket::{Bucket, Row};
use crate::serve::batcher;

/// What becomes of a row.
pub(super) type RowResult = Result<RowOutput, RowError>;

/// What the model computed for a row, and the bucket in which it did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowOutput {
    pub(super) values: Vec<f32>,
    pub(super) bucket: Bucket,
}

/// Why a row has no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowError {
    /// The worker could not run it.
    Failed(String),
    /// The workers it ran on died.
    WorkerDied,
    /// The server stopped before its turn came.
    Closed,
}

/// A row on its way to a core.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: Row,
    pub(super) reply: oneshot::Sender<RowResult>,
    /// Workers that died with this row on them.
    pub(super) deaths: u32,
}

/// The jobs of a batch and their bucket.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bucket: Bucket,
    pub(super) jobs: Vec<Job>,
}

/// What a core gets when it asks for work.
#[derive(Debug)]
pub(super) enum Taken {
    Batch(Batch),
    /// Nothing came within the time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// The rows did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// Waiting rows, first come first served within a length class.
#[derive(Debug)]
pub(super) struct Queue {
    buckets: Vec<Bucket>,
    rows_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// A queue of at most `rows_max` rows for a model with these buckets.
    pub(super) fn new(buckets: Vec<Bucket>, rows_max: usize) -> Self {
        Self {
            buckets,
            rows_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Accepts all rows of a request or none; each receiver gets its row's result.
    pub(super) fn submit(
        &self,
        rows: Vec<Row>,
    ) -> Result<Vec<oneshot::Receiver<RowResult>>, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.waiting.len() + rows.len() > self.rows_max {
            state.drop_abandoned();
            if state.waiting.len() + rows.len() > self.rows_max {
                return Err(Refused::Full);
            }
        }
        let receivers = rows.into_iter().map(|row| {
            let (reply, receiver) = oneshot::channel();
            state.waiting.push_back(Job {
                row,
                reply,
                deaths: 0,
            });
            receiver
        });
        let receivers = receivers.collect();
        self.changed.notify_all();
        Ok(receivers)
    }

    /// Puts rows back to the front, for another worker.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.lock();
        for job in jobs.into_iter().rev() {
            state.waiting.push_front(job);
        }
        self.changed.notify_all();
    }

    /// The next batch; waits for at most `patience`.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let ends = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.take(&self.buckets) {
                return Taken::Batch(batch);
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `patience` is over or the queue is closed.
    pub(super) fn pause(&self, patience: Duration) {
        let state = self.lock();
        // Both outcomes end the pause.
        let _ = self
            .changed
            .wait_timeout_while(state, patience, |state| !state.closed);
    }

    /// Accepts nothing any more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Answers everything that waits with an error: no core is left to run it.
    pub(super) fn abandon(&self) {
        for job in self.lock().waiting.drain(..) {
            let _ = job.reply.send(Err(RowError::Closed));
        }
    }

    /// The lock is held for moves of small values only, so that a panic while it is held leaves the
    /// state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, buckets: &[Bucket]) -> Option<Batch> {
        self.drop_abandoned();
        let tokens: Vec<usize> = self.waiting.iter().map(|job| job.row.ids.len()).collect();
        let chosen = batcher::choose(buckets, &tokens)?;
        let mut jobs = Vec::with_capacity(chosen.members.len());
        for index in chosen.members.into_iter().rev() {
            jobs.extend(self.waiting.remove(index));
        }
        jobs.reverse();
        Some(Batch {
            bucket: chosen.bucket,
            jobs,
        })
    }

    /// Rows whose clients have gone need not run.
    fn drop_abandoned(&mut self) {
        self.waiting.retain(|job| !job.reply.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tokens: usize) -> Row {
        Row {
            ids: vec![1; tokens],
            type_ids: vec![0; tokens],
            position: None,
        }
    }

    fn queue(rows_max: usize) -> Queue {
        Queue::new(
            vec![Bucket {
                sequence: 8,
                batch: 2,
            }],
            rows_max,
        )
    }

    fn taken(queue: &Queue) -> usize {
        match queue.take(Duration::ZERO) {
            Taken::Batch(batch) => batch.jobs.len(),
            _ => 0,
        }
    }

    #[test]
    fn a_request_is_accepted_as_a_whole_or_not_at_all() {
        let queue = queue(3);
        let _first = queue.submit(vec![row(2); 2]).unwrap();
        assert_eq!(queue.submit(vec![row(2); 2]).unwrap_err(), Refused::Full);
        assert_eq!(taken(&queue), 2);
        assert_eq!(taken(&queue), 0);
    }

    #[test]
    fn rows_of_clients_that_left_do_not_run() {
        let queue = queue(3);
        drop(queue.submit(vec![row(2)]).unwrap());
        let _waiting = queue.submit(vec![row(3)]).unwrap();
        match queue.take(Duration::ZERO) {
            Taken::Batch(batch) => assert_eq!(batch.jobs[0].row, row(3)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_accepted() {
        let queue = queue(3);
        let _waiting = queue.submit(vec![row(2)]).unwrap();
        queue.close();
        assert_eq!(queue.submit(vec![row(2)]).unwrap_err(), Refused::Closed);
        assert_eq!(taken(&queue), 1);
        assert!(matches!(queue.take(Duration::from_secs(60)), Taken::Closed));
    }
}
