//! The rows that wait for a core, bounded for each model; cores take batches of their models.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    /// The device found values that are not numbers in what it computed for this row.
    Numeric,
    /// The workers it ran on died.
    WorkerDied,
    /// The server stopped before its turn came.
    Closed,
}

/// Whose rows they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address {
    /// Index of the model.
    pub(super) model: usize,
    /// Only this worker may run them.
    pub(super) worker: Option<usize>,
}

/// A row on its way to a core.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) address: Address,
    /// Counts up; the lowest has waited longest.
    arrival: u64,
    pub(super) accepted: Instant,
    pub(super) row: Row,
    pub(super) reply: oneshot::Sender<RowResult>,
    /// Workers that died with this row on them.
    pub(super) deaths: u32,
}

/// The jobs of a batch and their bucket.
#[derive(Debug)]
pub(super) struct Batch {
    /// Index of the model.
    pub(super) model: usize,
    pub(super) bucket: Bucket,
    pub(super) jobs: Vec<Job>,
}

impl Batch {
    /// Answers every row with `error`.
    pub(super) fn answer(self, error: &RowError) {
        for job in self.jobs {
            // The client may have gone meanwhile.
            let _ = job.reply.send(Err(error.clone()));
        }
    }
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

/// Which batches will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Any,
    /// Only one that could not be larger.
    Full,
}

/// The rows did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// Waiting rows, first come first served within a model and a length class.
#[derive(Debug)]
pub(super) struct Queue {
    /// Of each model.
    buckets: Vec<Vec<Bucket>>,
    /// That may wait for one model.
    rows_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// For each model, in the order of arrival.
    waiting: Vec<VecDeque<Job>>,
    arrivals: u64,
    /// Workers that wait for something to do: while there are none, nobody is woken.
    idle: usize,
    closed: bool,
}

impl Queue {
    /// A queue of at most `rows_max` rows for each of the models with these buckets.
    pub(super) fn new(buckets: Vec<Vec<Bucket>>, rows_max: usize) -> Self {
        let state = State {
            waiting: buckets.iter().map(|_| VecDeque::new()).collect(),
            ..State::default()
        };
        Self {
            buckets,
            rows_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Accepts all rows of a request or none; each receiver gets its row's result.
    pub(super) fn submit(
        &self,
        address: Address,
        rows: Vec<Row>,
    ) -> Result<Vec<oneshot::Receiver<RowResult>>, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let is_full =
            |state: &State| state.waiting[address.model].len() + rows.len() > self.rows_max;
        if is_full(&state) {
            state.drop_abandoned();
            if is_full(&state) {
                return Err(Refused::Full);
            }
        }
        let accepted = Instant::now();
        let receivers = rows.into_iter().map(|row| {
            let (reply, receiver) = oneshot::channel();
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.waiting[address.model].push_back(Job {
                address,
                arrival,
                accepted,
                row,
                reply,
                deaths: 0,
            });
            receiver
        });
        let receivers = receivers.collect();
        self.wake(state);
        Ok(receivers)
    }

    /// Puts rows back to the front, for another worker.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.lock();
        for job in jobs.into_iter().rev() {
            state.waiting[job.address.model].push_front(job);
        }
        self.wake(state);
    }

    /// The next batch of one of `models` for `worker`; waits for at most `patience`.
    pub(super) fn take(&self, worker: usize, models: &[usize], patience: Duration) -> Taken {
        let ends = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.take(&self.buckets, worker, models, Fill::Any) {
                return Taken::Batch(batch);
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// The next batch of one of `models` for `worker`, if waiting longer could not make it larger.
    pub(super) fn take_full(&self, worker: usize, models: &[usize]) -> Option<Batch> {
        self.lock().take(&self.buckets, worker, models, Fill::Full)
    }

    /// Tells the workers that wait for rows that there are some.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let is_anyone_waiting = state.idle > 0;
        drop(state);
        if is_anyone_waiting {
            self.changed.notify_all();
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
        for job in self
            .lock()
            .waiting
            .iter_mut()
            .flat_map(|jobs| jobs.drain(..))
        {
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
    fn take(
        &mut self,
        buckets: &[Vec<Bucket>],
        worker: usize,
        models: &[usize],
        fill: Fill,
    ) -> Option<Batch> {
        self.drop_abandoned();
        let is_for = |job: &Job| job.address.worker.is_none_or(|only| only == worker);
        let first = |model: &usize| {
            let job = self.waiting[*model].iter().find(|job| is_for(job))?;
            Some((job.arrival, *model))
        };
        let (_, model) = models.iter().filter_map(first).min()?;
        let waiting = &mut self.waiting[model];
        let eligible: Vec<usize> = (0..waiting.len())
            .filter(|index| is_for(&waiting[*index]))
            .collect();
        let tokens: Vec<usize> = eligible
            .iter()
            .map(|index| waiting[*index].row.ids.len())
            .collect();
        let chosen = batcher::choose(&buckets[model], &tokens)?;
        if fill == Fill::Full && !chosen.is_full(&buckets[model]) {
            return None;
        }
        let mut jobs = Vec::with_capacity(chosen.members.len());
        for member in chosen.members.into_iter().rev() {
            jobs.extend(waiting.remove(eligible[member]));
        }
        jobs.reverse();
        Some(Batch {
            model,
            bucket: chosen.bucket,
            jobs,
        })
    }

    /// Rows whose clients have gone need not run.
    fn drop_abandoned(&mut self) {
        for jobs in &mut self.waiting {
            jobs.retain(|job| !job.reply.is_closed());
        }
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

    /// A queue of two models.
    fn queue(rows_max: usize) -> Queue {
        let buckets = vec![Bucket {
            sequence: 8,
            batch: 2,
        }];
        Queue::new(vec![buckets.clone(), buckets], rows_max)
    }

    const ANY: Address = Address {
        model: 0,
        worker: None,
    };

    fn taken(queue: &Queue) -> usize {
        match queue.take(0, &[0], Duration::ZERO) {
            Taken::Batch(batch) => batch.jobs.len(),
            _ => 0,
        }
    }

    /// The tokens of the rows that `worker` gets for `models`.
    fn tokens(queue: &Queue, worker: usize, models: &[usize]) -> Vec<usize> {
        match queue.take(worker, models, Duration::ZERO) {
            Taken::Batch(batch) => batch.jobs.iter().map(|job| job.row.ids.len()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_worker_gets_rows_of_its_models_only_and_the_longest_waiting_first() {
        let queue = queue(3);
        let other = Address { model: 1, ..ANY };
        let _second = queue.submit(other, vec![row(2)]).unwrap();
        let _first = queue.submit(ANY, vec![row(1)]).unwrap();
        assert!(tokens(&queue, 0, &[]).is_empty());
        assert_eq!(tokens(&queue, 0, &[0]), [1]);
        let _third = queue.submit(ANY, vec![row(3)]).unwrap();
        assert_eq!(tokens(&queue, 0, &[0, 1]), [2]);
        assert_eq!(tokens(&queue, 0, &[0, 1]), [3]);
    }

    #[test]
    fn rows_for_one_worker_are_left_to_it() {
        let queue = queue(3);
        let only = Address {
            worker: Some(1),
            ..ANY
        };
        let _pinned = queue.submit(only, vec![row(1)]).unwrap();
        let _free = queue.submit(ANY, vec![row(2)]).unwrap();
        assert_eq!(tokens(&queue, 0, &[0]), [2]);
        assert!(tokens(&queue, 0, &[0]).is_empty());
        assert_eq!(tokens(&queue, 1, &[0]), [1]);
    }

    #[test]
    fn each_model_has_room_of_its_own() {
        let queue = queue(1);
        let _one = queue.submit(ANY, vec![row(1)]).unwrap();
        assert_eq!(queue.submit(ANY, vec![row(1)]).unwrap_err(), Refused::Full);
        let _other = queue
            .submit(Address { model: 1, ..ANY }, vec![row(1)])
            .unwrap();
    }

    #[test]
    fn a_request_is_accepted_as_a_whole_or_not_at_all() {
        let queue = queue(3);
        let _first = queue.submit(ANY, vec![row(2); 2]).unwrap();
        assert_eq!(
            queue.submit(ANY, vec![row(2); 2]).unwrap_err(),
            Refused::Full
        );
        assert_eq!(taken(&queue), 2);
        assert_eq!(taken(&queue), 0);
    }

    #[test]
    fn rows_of_clients_that_left_do_not_run() {
        let queue = queue(3);
        drop(queue.submit(ANY, vec![row(2)]).unwrap());
        let _waiting = queue.submit(ANY, vec![row(3)]).unwrap();
        match queue.take(0, &[0], Duration::ZERO) {
            Taken::Batch(batch) => assert_eq!(batch.jobs[0].row, row(3)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_core_that_asks_ahead_gets_full_batches_only() {
        let queue = queue(3);
        let _one = queue.submit(ANY, vec![row(2)]).unwrap();
        assert!(queue.take_full(0, &[0]).is_none());
        let _two = queue.submit(ANY, vec![row(3)]).unwrap();
        assert_eq!(queue.take_full(0, &[0]).unwrap().jobs.len(), 2);
        assert!(queue.take_full(0, &[0]).is_none());
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_accepted() {
        let queue = queue(3);
        let _waiting = queue.submit(ANY, vec![row(2)]).unwrap();
        queue.close();
        assert_eq!(
            queue.submit(ANY, vec![row(2)]).unwrap_err(),
            Refused::Closed
        );
        assert_eq!(taken(&queue), 1);
        assert!(matches!(
            queue.take(0, &[0], Duration::from_secs(60)),
            Taken::Closed
        ));
    }
}
