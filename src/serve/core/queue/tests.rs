//! What the queue promises to clients and workers.

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

fn submit(queue: &Queue, address: Address, rows: Vec<Row>) -> Result<Receivers, SubmitError> {
    queue.submit(address, rows, Instant::now() + MINUTE)
}

fn taken(queue: &Queue, worker: usize, models: &[ModelId]) -> Option<Batch> {
    match queue.take(worker, models, Duration::ZERO) {
        NextBatch::Batch(batch) => Some(batch),
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
    assert_eq!(refused, SubmitError::Full { waiting, wait });
    let _two = submit(&queue, any(two), vec![row(1)]).unwrap();
}

#[test]
fn a_request_is_accepted_as_a_whole_or_not_at_all() {
    let (queue, [model, _]) = queue(3);
    let _first = submit(&queue, any(model), vec![row(2); 2]).unwrap();
    let refused = submit(&queue, any(model), vec![row(2); 2]).unwrap_err();
    let (waiting, wait) = (2, None);
    assert_eq!(refused, SubmitError::Full { waiting, wait });
    let refused = submit(&queue, any(model), vec![row(2); 4]).unwrap_err();
    assert_eq!(refused, SubmitError::TooMany { rows: 4 });
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
    assert_eq!(refused, SubmitError::Closed);
    assert_eq!(tokens(&queue, 0, &[model]), [2]);
    assert!(matches!(queue.take(0, &[model], MINUTE), NextBatch::Closed));
}

#[test]
fn a_row_that_ended_workers_runs_alone_and_is_refused_afterwards() {
    let (queue, [model, other]) = queue(5);
    let mut receivers = submit(&queue, any(model), vec![row(1), row(2)]).unwrap();
    queue.died(taken(&queue, 0, &[model]).unwrap());
    // The same row again, and it is known; another one is not held up by it.
    let mut same = submit(&queue, any(model), vec![row(2)]).unwrap();
    let innocent = taken(&queue, 1, &[model]).unwrap();
    assert_eq!(
        (innocent.jobs.len(), innocent.jobs[0].row.ids.len()),
        (1, 1)
    );
    queue.survived(&innocent.jobs);
    let _same_as_innocent = submit(&queue, any(model), vec![row(1), row(3)]).unwrap();
    let guilty = taken(&queue, 1, &[model]).unwrap();
    assert_eq!((guilty.jobs.len(), guilty.jobs[0].row.ids.len()), (1, 2));
    queue.died(guilty);
    for receiver in [receivers.pop().unwrap(), same.pop().unwrap()] {
        let answer = { receiver }.try_recv().unwrap();
        assert_eq!(answer, Err(RowError::WorkerDied));
    }
    assert_eq!(
        tokens(&queue, 0, &[model]),
        [1, 3],
        "these may run together"
    );
    let refused = submit(&queue, any(model), vec![row(3), row(2)]).unwrap_err();
    assert_eq!(refused, SubmitError::Quarantined);
    let _same_for_another = submit(&queue, any(other), vec![row(2)]).unwrap();
}

#[test]
fn copies_that_wait_while_a_worker_dies_run_alone() {
    let (queue, [model, _]) = queue(5);
    let _rows = submit(&queue, any(model), vec![row(2); 5]).unwrap();
    let batch = taken(&queue, 0, &[model]).unwrap();
    assert_eq!(batch.jobs.len(), 2);
    queue.died(batch);
    // Two of them were on the worker that died, which is one death.
    for _ in 0..2 {
        assert_eq!(tokens(&queue, 0, &[model]), [2]);
    }
    queue.died(taken(&queue, 0, &[model]).unwrap());
    assert!(tokens(&queue, 0, &[model]).is_empty());
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
    assert_eq!(refused, SubmitError::Broken);
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
    let late = submit(&queue, Address { model, worker }, vec![row(1)]);
    assert_eq!(late.unwrap_err(), SubmitError::Gone);
    let batch = taken(&queue, 0, &[model]).unwrap();
    queue.shut(model);
    queue.put_back(batch.jobs);
    assert_eq!(free[0].try_recv(), Ok(Err(RowError::Gone)));
    let refused = submit(&queue, any(model), vec![row(2)]).unwrap_err();
    assert_eq!(refused, SubmitError::Gone);
    let _other = submit(&queue, any(other), vec![row(2)]).unwrap();
}
