//! The rows that wait for a core, bounded for each model; workers take batches of their models.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::bucket::{Bucket, Row};
use crate::serve::job::{Address, Batch, Job, RowError, RowResult, answer_all};
use crate::serve::killers::Killers;
use crate::serve::line::{Fill, Line};
use crate::serve::models::ModelId;

/// What a worker gets when it asks for work.
#[derive(Debug)]
pub(super) enum Taken {
    Batch(Batch),
    /// Nothing came within the time, or the worker has something else to look after.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

/// Why rows were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
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
    Killer,
    /// No worker that has the model can be started.
    Broken,
    /// The model was taken away.
    Gone,
    Closed,
}

/// Waiting rows; those whose deadline is nearest come first.
#[derive(Debug)]
pub(super) struct Queue {
    /// That may wait for one model.
    rows_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    models: BTreeMap<ModelId, Line>,
    killers: Killers,
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
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            rows_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// From now on rows of a model with these buckets are accepted.
    pub(super) fn open(&self, model: ModelId, buckets: &[Bucket]) {
        self.lock().models.insert(model, Line::new(buckets));
    }

    /// No rows of the model are accepted any more, and those that still wait are answered.
    pub(super) fn shut(&self, model: ModelId) {
        if let Some(line) = self.lock().models.remove(&model) {
            answer_all(line.jobs, &RowError::Gone);
        }
    }

    /// The worker has the model, or will.
    pub(super) fn assign(&self, model: ModelId, worker: usize) {
        if let Some(line) = self.lock().models.get_mut(&model) {
            line.workers.insert(worker);
        }
    }

    /// The worker will not run the model again: rows that only it may run are answered.
    pub(super) fn withdraw(&self, model: ModelId, worker: usize) {
        if let Some(line) = self.lock().models.get_mut(&model) {
            line.workers.remove(&worker);
            let is_pinned = |job: &Job| job.address.worker == Some(worker);
            answer_all(line.extract(is_pinned), &RowError::Gone);
        }
    }

    /// Says whether the worker can be started. What no worker is left for is answered.
    pub(super) fn set_broken(&self, worker: usize, is_broken: bool) {
        let mut state = self.lock();
        let state = &mut *state;
        if !is_broken {
            state.broken.remove(&worker);
            return;
        }
        state.broken.insert(worker);
        for line in state.models.values_mut() {
            let hopeless = line.workers.is_subset(&state.broken);
            let is_lost = |job: &Job| match job.address.worker {
                Some(only) => state.broken.contains(&only),
                None => hopeless,
            };
            answer_all(line.extract(is_lost), &RowError::Broken);
        }
    }

    /// Accepts all rows of a request or none; each receiver gets its row's result.
    pub(super) fn submit(
        &self,
        address: Address,
        rows: Vec<Row>,
        deadline: Instant,
    ) -> Result<Vec<oneshot::Receiver<RowResult>>, Refused> {
        if rows.len() > self.rows_max {
            return Err(Refused::TooMany { rows: rows.len() });
        }
        let accepted = Instant::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Refused::Closed);
        }
        let line = state.models.get_mut(&address.model).ok_or(Refused::Gone)?;
        let is_broken = match address.worker {
            Some(only) => state.broken.contains(&only),
            None => line.workers.is_subset(&state.broken),
        };
        if is_broken {
            return Err(Refused::Broken);
        }
        let is_killer = |row: &Row| state.killers.contain(address.model, row, accepted);
        if rows.iter().any(is_killer) {
            return Err(Refused::Killer);
        }
        if line.jobs.len() + rows.len() > self.rows_max {
            line.drop_abandoned();
            if line.jobs.len() + rows.len() > self.rows_max {
                let waiting = line.jobs.len();
                let wait = line.pace.estimate(waiting);
                return Err(Refused::Full { waiting, wait });
            }
        }
        let receivers = rows.into_iter().map(|row| {
            let (reply, receiver) = oneshot::channel();
            line.jobs.push_back(Job {
                address,
                accepted,
                deadline,
                row,
                reply,
                deaths: 0,
                is_suspect: false,
            });
            receiver
        });
        let receivers = receivers.collect();
        self.wake(guard);
        Ok(receivers)
    }

    /// Puts rows back to the front, for another worker.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.lock();
        for job in jobs.into_iter().rev() {
            match state.models.get_mut(&job.address.model) {
                Some(line) => line.jobs.push_front(job),
                None => answer_all([job], &RowError::Gone),
            }
        }
        self.wake(state);
    }

    /// Refuses the row of this job from now on, as it ended workers, and answers it.
    pub(super) fn condemn(&self, job: Job) {
        let now = Instant::now();
        self.lock().killers.add(job.address.model, &job.row, now);
        answer_all([job], &RowError::WorkerDied);
    }

    /// The next batch of one of `models` for `worker`; waits for at most `patience`.
    pub(super) fn take(&self, worker: usize, models: &[ModelId], patience: Duration) -> Taken {
        let ends = Instant::now() + patience;
        let mut state = self.lock();
        let calls = state.calls;
        loop {
            if let Some(batch) = state.take(worker, models, Fill::Any) {
                return Taken::Batch(batch);
            }
            if state.closed {
                return Taken::Closed;
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() || state.calls != calls {
                return Taken::Nothing;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// The next batch of one of `models` for `worker`, if waiting longer could not make it larger.
    pub(super) fn take_full(&self, worker: usize, models: &[ModelId]) -> Option<Batch> {
        self.lock().take(worker, models, Fill::Full)
    }

    /// Tells the workers that wait for rows that there are some.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let is_anyone_waiting = state.idle > 0;
        drop(state);
        if is_anyone_waiting {
            self.changed.notify_all();
        }
    }

    /// Has the workers that wait look after something else.
    pub(super) fn call(&self) {
        self.lock().calls += 1;
        self.changed.notify_all();
    }

    /// Waits until `patience` is over, the queue is closed, or the workers are called.
    pub(super) fn pause(&self, patience: Duration) {
        let state = self.lock();
        let calls = state.calls;
        // Both outcomes end the pause.
        let _ = self.changed.wait_timeout_while(state, patience, |state| {
            !state.closed && state.calls == calls
        });
    }

    /// How many rows wait for the model, and how long those would take, as far as that is known.
    pub(super) fn depth(&self, model: ModelId) -> (usize, Option<Duration>) {
        let state = self.lock();
        state.models.get(&model).map_or((0, None), |line| {
            let rows = line.jobs.len();
            (rows, line.pace.estimate(rows))
        })
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
        for line in self.lock().models.values_mut() {
            answer_all(line.jobs.drain(..), &RowError::Closed);
        }
    }

    /// The lock is held for moves of small values only, so that a panic while it is held leaves the
    /// state whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The batch whose most urgent row is the most urgent of all `models`.
    fn take(&mut self, worker: usize, models: &[ModelId], fill: Fill) -> Option<Batch> {
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
mod tests {
    use super::*;

    fn row(tokens: usize) -> Row {
        Row {
            ids: vec![1; tokens],
            type_ids: vec![0; tokens],
            position: None,
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    /// A queue of two models, which workers 0 and 1 have.
    fn queue(rows_max: usize) -> (Queue, [ModelId; 2]) {
        let queue = Queue::new(rows_max);
        let bucket = |batch| Bucket { sequence: 8, batch };
        let models = [ModelId::next(), ModelId::next()];
        for model in models {
            queue.open(model, &[bucket(1), bucket(2)]);
            queue.assign(model, 0);
            queue.assign(model, 1);
        }
        (queue, models)
    }

    type Receivers = Vec<oneshot::Receiver<RowResult>>;

    fn any(model: ModelId) -> Address {
        Address {
            model,
            worker: None,
        }
    }

    fn submit(queue: &Queue, address: Address, rows: Vec<Row>) -> Result<Receivers, Refused> {
        queue.submit(address, rows, Instant::now() + MINUTE)
    }

    fn taken(queue: &Queue, worker: usize, models: &[ModelId]) -> Option<Batch> {
        match queue.take(worker, models, Duration::ZERO) {
            Taken::Batch(batch) => Some(batch),
            _ => None,
        }
    }

    /// The tokens of the rows that `worker` gets for `models`.
    fn tokens(queue: &Queue, worker: usize, models: &[ModelId]) -> Vec<usize> {
        let batch = taken(queue, worker, models);
        let jobs = batch.into_iter().flat_map(|batch| batch.jobs);
        jobs.map(|job| job.row.ids.len()).collect()
    }

    #[test]
    fn a_worker_gets_rows_of_its_models_only_and_the_most_urgent_first() {
        let (queue, [one, two]) = queue(3);
        let _second = submit(&queue, any(two), vec![row(2)]).unwrap();
        let _first = submit(&queue, any(one), vec![row(1)]).unwrap();
        assert!(tokens(&queue, 0, &[]).is_empty());
        assert_eq!(tokens(&queue, 0, &[one]), [1]);
        let _third = submit(&queue, any(one), vec![row(3)]).unwrap();
        assert_eq!(tokens(&queue, 0, &[one, two]), [2]);
        let soon = Instant::now() + Duration::from_secs(30);
        let _urgent = queue.submit(any(two), vec![row(4)], soon).unwrap();
        assert_eq!(tokens(&queue, 0, &[one, two]), [4]);
        assert_eq!(tokens(&queue, 0, &[one, two]), [3]);
    }

    #[test]
    fn rows_for_one_worker_are_left_to_it() {
        let (queue, [model, _]) = queue(3);
        let worker = Some(1);
        let _pinned = submit(&queue, Address { model, worker }, vec![row(1)]).unwrap();
        let _free = submit(&queue, any(model), vec![row(2)]).unwrap();
        assert_eq!(tokens(&queue, 0, &[model]), [2]);
        assert!(tokens(&queue, 0, &[model]).is_empty());
        assert_eq!(tokens(&queue, 1, &[model]), [1]);
    }

    #[test]
    fn each_model_has_room_of_its_own() {
        let (queue, [one, two]) = queue(1);
        let _one = submit(&queue, any(one), vec![row(1)]).unwrap();
        let refused = submit(&queue, any(one), vec![row(1)]).unwrap_err();
        let (waiting, wait) = (1, None);
        assert_eq!(refused, Refused::Full { waiting, wait });
        let _two = submit(&queue, any(two), vec![row(1)]).unwrap();
    }

    #[test]
    fn a_request_is_accepted_as_a_whole_or_not_at_all() {
        let (queue, [model, _]) = queue(3);
        let _first = submit(&queue, any(model), vec![row(2); 2]).unwrap();
        let refused = submit(&queue, any(model), vec![row(2); 2]).unwrap_err();
        let (waiting, wait) = (2, None);
        assert_eq!(refused, Refused::Full { waiting, wait });
        let refused = submit(&queue, any(model), vec![row(2); 4]).unwrap_err();
        assert_eq!(refused, Refused::TooMany { rows: 4 });
        assert_eq!(tokens(&queue, 0, &[model]).len(), 2);
        assert!(tokens(&queue, 0, &[model]).is_empty());
    }

    #[test]
    fn rows_of_clients_that_left_or_are_overdue_do_not_run() {
        let (queue, [model, _]) = queue(3);
        drop(submit(&queue, any(model), vec![row(2)]).unwrap());
        let _overdue = queue.submit(any(model), vec![row(4)], Instant::now());
        let _waiting = submit(&queue, any(model), vec![row(3)]).unwrap();
        assert_eq!(tokens(&queue, 0, &[model]), [3]);
        assert!(tokens(&queue, 0, &[model]).is_empty());
    }

    #[test]
    fn a_core_that_asks_ahead_gets_full_batches_only() {
        let (queue, [model, _]) = queue(3);
        let _one = submit(&queue, any(model), vec![row(2)]).unwrap();
        assert!(queue.take_full(0, &[model]).is_none());
        let _two = submit(&queue, any(model), vec![row(3)]).unwrap();
        assert_eq!(queue.take_full(0, &[model]).unwrap().jobs.len(), 2);
        assert!(queue.take_full(0, &[model]).is_none());
    }

    #[test]
    fn a_closed_queue_hands_out_what_it_accepted() {
        let (queue, [model, _]) = queue(3);
        let _waiting = submit(&queue, any(model), vec![row(2)]).unwrap();
        queue.close();
        let refused = submit(&queue, any(model), vec![row(2)]).unwrap_err();
        assert_eq!(refused, Refused::Closed);
        assert_eq!(tokens(&queue, 0, &[model]), [2]);
        assert!(matches!(queue.take(0, &[model], MINUTE), Taken::Closed));
    }

    #[test]
    fn a_row_that_ended_workers_runs_alone_and_is_refused_afterwards() {
        let (queue, [model, other]) = queue(3);
        let mut receivers = submit(&queue, any(model), vec![row(1), row(2)]).unwrap();
        let mut batch = taken(&queue, 0, &[model]).unwrap();
        for job in &mut batch.jobs {
            job.is_suspect = true;
        }
        queue.put_back(batch.jobs);
        assert_eq!(tokens(&queue, 1, &[model]), [1]);
        let batch = taken(&queue, 1, &[model]).unwrap();
        assert_eq!(batch.jobs.len(), 1);
        batch.jobs.into_iter().for_each(|job| queue.condemn(job));
        let answer = receivers.pop().unwrap().try_recv().unwrap();
        assert_eq!(answer, Err(RowError::WorkerDied));
        let refused = submit(&queue, any(model), vec![row(3), row(2)]).unwrap_err();
        assert_eq!(refused, Refused::Killer);
        let _same_for_another = submit(&queue, any(other), vec![row(2)]).unwrap();
    }

    #[test]
    fn nothing_waits_for_workers_that_cannot_be_started() {
        let (queue, [model, _]) = queue(3);
        let mut receivers = submit(&queue, any(model), vec![row(1)]).unwrap();
        queue.set_broken(0, true);
        assert!(receivers[0].try_recv().is_err(), "worker 1 is left");
        queue.set_broken(1, true);
        assert_eq!(receivers[0].try_recv(), Ok(Err(RowError::Broken)));
        let refused = submit(&queue, any(model), vec![row(1)]).unwrap_err();
        assert_eq!(refused, Refused::Broken);
        queue.set_broken(1, false);
        let _waiting = submit(&queue, any(model), vec![row(1)]).unwrap();
    }

    #[test]
    fn what_waits_for_a_model_that_goes_is_answered() {
        let (queue, [model, other]) = queue(3);
        let worker = Some(1);
        let mut pinned = submit(&queue, Address { model, worker }, vec![row(1)]).unwrap();
        let mut free = submit(&queue, any(model), vec![row(2)]).unwrap();
        queue.withdraw(model, 1);
        assert_eq!(pinned[0].try_recv(), Ok(Err(RowError::Gone)));
        assert!(free[0].try_recv().is_err());
        let batch = taken(&queue, 0, &[model]).unwrap();
        queue.shut(model);
        queue.put_back(batch.jobs);
        assert_eq!(free[0].try_recv(), Ok(Err(RowError::Gone)));
        let refused = submit(&queue, any(model), vec![row(2)]).unwrap_err();
        assert_eq!(refused, Refused::Gone);
        let _other = submit(&queue, any(other), vec![row(2)]).unwrap();
    }
}
