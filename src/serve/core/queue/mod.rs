//! The rows that wait for a core, bounded for each model; workers take batches of their models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bucket::{Bucket, Row};
use crate::serve::core::job::{Address, Batch, Job, RowError, RowResult, answer_all};
use crate::serve::core::model_queue::{BatchFill, ModelQueue};
use crate::serve::core::names::ModelId;
use crate::serve::core::quarantine::{Quarantine, Suspicion};

/// What a worker gets when it asks for work.
#[derive(Debug)]
pub(crate) enum NextBatch {
    Batch(Batch),
    /// Nothing came within the time, or the worker has something else to look after.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// Why rows were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// So many wait already; when there will be room, as far as that is known.
    Full {
        waiting: usize,
        wait: Option<Duration>,
    },
    /// More than may ever wait.
    TooMany {
        rows: usize,
    },
    /// A row has ended workers before.
    Quarantined,
    /// No worker that is to have the model can be started, or could load it.
    Broken,
    /// The model was taken away.
    Gone,
    Closed,
}

/// Waiting rows; those whose deadline is nearest come first.
#[derive(Debug)]
pub(crate) struct Queue {
    /// That may wait for one model.
    rows_max: usize,
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    models: BTreeMap<ModelId, ModelQueue>,
    killers: Quarantine,
    /// Workers that cannot be started at present.
    broken: BTreeSet<usize>,
    /// Workers that wait for something to do: while there are none, nobody is woken.
    idle: usize,
    /// Raised to call workers away from waiting.
    calls: u64,
    closed: bool,
}

impl Queue {
    /// A queue of at most `rows_max` rows for each model.
    pub(crate) fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// From now on rows of a model with these buckets are accepted.
    pub(crate) fn open(&self, model: ModelId, buckets: &[Bucket]) {
        self.lock().models.insert(model, ModelQueue::new(buckets));
    }

    /// No rows of the model are accepted any more, and those that still wait are answered.
    pub(crate) fn shut(&self, model: ModelId) {
        if let Some(line) = self.lock().models.remove(&model) {
            answer_all(line.jobs, &RowError::Gone);
        }
    }

    /// The worker has the model, or will.
    pub(crate) fn assign(&self, model: ModelId, worker: usize) {
        self.change(model, |line| line.assign(worker));
    }

    /// A worker that has the model needs so long for a row.
    pub(crate) fn expect(&self, model: ModelId, per_row: Duration) {
        if let Some(line) = self.lock().models.get_mut(&model) {
            line.expect(per_row);
        }
    }

    /// The worker will not run the model again.
    pub(crate) fn withdraw(&self, model: ModelId, worker: usize) {
        self.change(model, |line| line.withdraw(worker));
    }

    /// Says whether the worker, which runs, could not load the model.
    pub(crate) fn set_failed(&self, model: ModelId, worker: usize, has_failed: bool) {
        self.change(model, |line| line.set_failed(worker, has_failed));
    }

    /// Changes who runs a model. What no worker is left for is answered.
    fn change(&self, model: ModelId, change: impl FnOnce(&mut ModelQueue)) {
        let mut state = self.lock();
        state.models.get_mut(&model).map(change);
        state.answer_hopeless();
    }

    /// Says whether the worker can be started. What no worker is left for is answered.
    pub(crate) fn set_broken(&self, worker: usize, is_broken: bool) {
        let mut state = self.lock();
        match is_broken {
            true => state.broken.insert(worker),
            false => state.broken.remove(&worker),
        };
        state.answer_hopeless();
    }

    /// Accepts all rows of a request or none; each receiver gets its row's result.
    pub(crate) fn submit(
        &self,
        address: Address,
        rows: Vec<Row>,
        deadline: Instant,
    ) -> Result<Vec<oneshot::Receiver<RowResult>>, SubmitError> {
        if rows.len() > self.rows_max {
            return Err(SubmitError::TooMany { rows: rows.len() });
        }
        let accepted = Instant::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(SubmitError::Closed);
        }
        let line = state
            .models
            .get_mut(&address.model)
            .ok_or(SubmitError::Gone)?;
        match line.hopeless(address.worker, &state.broken) {
            Some(RowError::Gone) => return Err(SubmitError::Gone),
            Some(_) => return Err(SubmitError::Broken),
            None => {}
        }
        let suspicion = |row: &Row| state.killers.suspicion(address.model, row, accepted);
        if rows.iter().any(|row| suspicion(row) == Suspicion::Proven) {
            return Err(SubmitError::Quarantined);
        }
        if line.jobs.len() + rows.len() > self.rows_max {
            line.drop_abandoned();
            if line.jobs.len() + rows.len() > self.rows_max {
                let waiting = line.jobs.len();
                let wait = line.estimate(waiting);
                return Err(SubmitError::Full { waiting, wait });
            }
        }
        let receivers = rows.into_iter().map(|row| {
            let (reply, receiver) = oneshot::channel();
            line.jobs.push_back(Job {
                is_suspect: suspicion(&row) != Suspicion::None,
                address,
                accepted,
                deadline,
                row,
                reply,
            });
            receiver
        });
        let receivers = receivers.collect();
        self.wake(guard);
        Ok(receivers)
    }

    /// Puts rows back to the front, for another worker.
    pub(crate) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.lock();
        for job in jobs.into_iter().rev() {
            match state.models.get_mut(&job.address.model) {
                Some(line) => line.jobs.push_front(job),
                None => answer_all([job], &RowError::Gone),
            }
        }
        state.answer_hopeless();
        self.wake(state);
    }

    /// A worker died with this batch on it. Its rows run once more, alone; one that two workers died of is
    /// answered, with all that are the same, and refused from now on.
    pub(crate) fn died(&self, batch: Batch) {
        let (now, model) = (Instant::now(), batch.model);
        let mut guard = self.lock();
        let QueueState {
            models, killers, ..
        } = &mut *guard;
        for job in &batch.jobs {
            killers.blame(model, &job.row, job.is_suspect, now);
        }
        let mut proven = Vec::new();
        let mut acquit = |mut job: Job| {
            let suspicion = killers.suspicion(model, &job.row, now);
            job.is_suspect |= suspicion != Suspicion::None;
            if suspicion == Suspicion::Proven {
                proven.push(job);
                return None;
            }
            Some(job)
        };
        let again = batch.jobs.into_iter().filter_map(&mut acquit).collect();
        if let Some(line) = models.get_mut(&model) {
            let waiting = std::mem::take(&mut line.jobs).into_iter();
            line.jobs = waiting.filter_map(&mut acquit).collect();
        }
        drop(guard);
        answer_all(proven, &RowError::WorkerDied);
        self.put_back(again);
    }

    /// A worker ran these rows and lives.
    pub(crate) fn survived(&self, jobs: &[Job]) {
        // Others were not suspected, and need no lock.
        let suspects: Vec<&Job> = jobs.iter().filter(|job| job.is_suspect).collect();
        if suspects.is_empty() {
            return;
        }
        let mut state = self.lock();
        for job in suspects {
            state.killers.absolve(job.address.model, &job.row);
        }
    }

    /// The next batch of one of `models` for `worker`; waits for at most `patience`.
    pub(crate) fn take(&self, worker: usize, models: &[ModelId], patience: Duration) -> NextBatch {
        let ends = Instant::now() + patience;
        let mut state = self.lock();
        let calls = state.calls;
        loop {
            if let Some(batch) = state.take(worker, models, BatchFill::Any) {
                return NextBatch::Batch(batch);
            }
            if state.closed {
                return NextBatch::Closed;
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() || state.calls != calls {
                return NextBatch::Nothing;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// The next batch of one of `models` for `worker`, if waiting longer could not make it larger.
    pub(crate) fn take_full(&self, worker: usize, models: &[ModelId]) -> Option<Batch> {
        self.lock().take(worker, models, BatchFill::Full)
    }

    /// Tells the workers that wait for rows that there are some.
    fn wake(&self, state: MutexGuard<'_, QueueState>) {
        let is_anyone_waiting = state.idle > 0;
        drop(state);
        if is_anyone_waiting {
            self.changed.notify_all();
        }
    }

    /// Has the workers that wait look after something else.
    pub(crate) fn call(&self) {
        self.lock().calls += 1;
        self.changed.notify_all();
    }

    /// How often the workers were called.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Waits until `patience` is over, the queue is closed, or the workers are called beyond `calls`.
    pub(crate) fn pause(&self, calls: u64, patience: Duration) {
        let state = self.lock();
        // Both outcomes end the pause.
        let _ = self.changed.wait_timeout_while(state, patience, |state| {
            !state.closed && state.calls == calls
        });
    }

    /// How many rows wait for the model, and how long those would take, as far as that is known.
    pub(crate) fn depth(&self, model: ModelId) -> (usize, Option<Duration>) {
        let state = self.lock();
        state.models.get(&model).map_or((0, None), |line| {
            let rows = line.jobs.len();
            (rows, line.estimate(rows))
        })
    }

    /// Accepts nothing any more; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Answers everything that waits with an error: no core is left to run it.
    pub(crate) fn abandon(&self) {
        for line in self.lock().models.values_mut() {
            answer_all(line.jobs.drain(..), &RowError::Closed);
        }
    }

    /// The lock is held for moves of small values only, so that a panic while it is held leaves the
    /// state whole.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Answers the rows that no worker is left for.
    fn answer_hopeless(&mut self) {
        for line in self.models.values_mut() {
            line.answer_hopeless(&self.broken);
        }
    }

    /// The batch whose most urgent row is the most urgent of all `models`.
    fn take(&mut self, worker: usize, models: &[ModelId], fill: BatchFill) -> Option<Batch> {
        let now = Instant::now();
        let mut urgent: Option<(Instant, ModelId)> = None;
        for model in models {
            let Some(line) = self.models.get_mut(model) else {
                continue;
            };
            line.drop_abandoned();
            let deadlines = line.jobs.iter().filter(|job| job.is_for(worker, now));
            if let Some(first) = deadlines.map(|job| job.deadline).min()
                && urgent.is_none_or(|(earliest, _)| first < earliest)
            {
                urgent = Some((first, *model));
            }
        }
        let (_, model) = urgent?;
        self.models.get_mut(&model)?.take(worker, model, fill, now)
    }
}

#[cfg(test)]
mod tests;
