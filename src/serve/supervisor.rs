//! Cores: each has a thread that keeps one worker process running and feeds it batches.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bucket::Row;
use crate::bundle::Bundle;
use crate::command::Program;
use crate::runtime::{RunError, Worker};
use crate::serve::queue::{Batch, Job, Queue, RowError, Taken};

/// A core that has nothing to do looks this often whether its worker still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(200);

/// The pause before a worker is started again; it doubles with each failure in a row.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A row that was on this many workers when they died is not tried again.
const DEATHS_MAX: u32 = 2;

/// What the workers of a model need to start.
#[derive(Debug)]
pub(super) struct Workplace {
    pub(super) bundle: Bundle,
    pub(super) executor: Program,
    /// Threads that one operator may use.
    pub(super) threads: usize,
    /// Where the workers' output goes.
    pub(super) log: File,
    /// A batch that takes longer counts as a hang.
    pub(super) run_deadline: Duration,
}

/// What a core is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CoreState {
    Starting,
    /// Every bucket has run once on the worker with this process id.
    Ready {
        process_id: u32,
    },
    /// The worker ended; why.
    Down {
        cause: String,
    },
    Closed,
}

/// A core from the outside.
#[derive(Debug)]
pub(super) struct Core {
    state: Arc<Mutex<CoreState>>,
    thread: JoinHandle<()>,
}

impl Core {
    /// Starts the thread of core `index`, which starts its worker.
    pub(super) fn start(
        index: usize,
        workplace: Arc<Workplace>,
        queue: Arc<Queue>,
    ) -> Result<Self> {
        let state = Arc::new(Mutex::new(CoreState::Starting));
        let keeper = Keeper {
            index,
            workplace,
            queue,
            state: Arc::clone(&state),
        };
        let thread = thread::Builder::new()
            .name(format!("core-{index}"))
            .spawn(move || keeper.keep())
            .context("starting a thread")?;
        Ok(Self { state, thread })
    }

    pub(super) fn state(&self) -> CoreState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for the thread, which ends when the queue is closed and empty.
    pub(super) fn join(self) {
        // A panic of that thread was reported when it happened.
        let _ = self.thread.join();
    }
}

/// The thread of a core.
struct Keeper {
    index: usize,
    workplace: Arc<Workplace>,
    queue: Arc<Queue>,
    state: Arc<Mutex<CoreState>>,
}

impl Keeper {
    fn keep(&self) {
        let mut failures_in_a_row = 0;
        while !self.queue.is_closed() {
            self.set(CoreState::Starting);
            let mut served = false;
            let ended = self.start_worker().and_then(|mut worker| {
                self.set(CoreState::Ready {
                    process_id: worker.process_id(),
                });
                tracing::info!(core = self.index, pid = worker.process_id(), "core ready");
                self.feed(&mut worker, &mut served)
            });
            let Err(error) = ended else { break };
            failures_in_a_row = if served { 0 } else { failures_in_a_row + 1 };
            let cause = format!("{error:#}");
            tracing::error!(
                core = self.index,
                failures_in_a_row,
                "worker ended: {cause}"
            );
            self.set(CoreState::Down { cause });
            let pause = RESTART_PAUSE * 2u32.saturating_pow(failures_in_a_row);
            self.queue.pause(pause.min(RESTART_PAUSE_MAX));
        }
        self.set(CoreState::Closed);
    }

    /// A worker on which every bucket has run once.
    fn start_worker(&self) -> Result<Worker> {
        let place = &self.workplace;
        let log = place
            .log
            .try_clone()
            .context("sharing the log of a worker")?;
        let mut worker = Worker::start(&place.executor, &place.bundle, place.threads, log)?;
        let rows = place.bundle.reference_rows()?;
        for artifact in &place.bundle.manifest.artifacts {
            let bucket = artifact.bucket;
            let row = rows
                .iter()
                .rev()
                .find(|row| row.ids.len() <= bucket.sequence);
            let row: Vec<&Row> = row.into_iter().collect();
            worker
                .run_rows(&place.bundle, bucket, &row, place.run_deadline)
                .with_context(|| format!("warming up bucket {bucket}"))?;
        }
        Ok(worker)
    }

    /// Runs batches until the queue is closed and empty; an error means that the worker is lost.
    fn feed(&self, worker: &mut Worker, served: &mut bool) -> Result<()> {
        loop {
            match self.queue.take(LIVENESS_INTERVAL) {
                Taken::Closed => return Ok(()),
                Taken::Nothing => worker.check_alive()?,
                Taken::Batch(batch) => {
                    self.run(worker, batch)?;
                    *served = true;
                }
            }
        }
    }

    fn run(&self, worker: &mut Worker, batch: Batch) -> Result<()> {
        let place = &self.workplace;
        if let Err(error) = worker.check_alive() {
            // It died before it saw these rows: they are not to blame.
            self.queue.put_back(batch.jobs);
            return Err(error);
        }
        let rows: Vec<&Row> = batch.jobs.iter().map(|job| &job.row).collect();
        match worker.run_rows(&place.bundle, batch.bucket, &rows, place.run_deadline) {
            Ok(outputs) => {
                for (job, output) in batch.jobs.into_iter().zip(outputs) {
                    // The client may have gone meanwhile.
                    let _ = job.reply.send(Ok(output));
                }
                Ok(())
            }
            Err(error) => match error.downcast_ref::<RunError>() {
                Some(refused) => {
                    tracing::error!(core = self.index, bucket = %batch.bucket, "batch failed: {refused}");
                    answer_all(batch.jobs, &RowError::Failed(refused.to_string()));
                    Ok(())
                }
                None => {
                    self.retry_elsewhere(batch.jobs);
                    Err(error)
                }
            },
        }
    }

    /// Rows of a worker that died run once more, unless they have seen too many die.
    fn retry_elsewhere(&self, jobs: Vec<Job>) {
        let more = |mut job: Job| {
            job.deaths += 1;
            job
        };
        let jobs = jobs.into_iter().map(more);
        let (again, lost): (Vec<Job>, Vec<Job>) = jobs.partition(|job| job.deaths < DEATHS_MAX);
        answer_all(lost, &RowError::WorkerDied);
        self.queue.put_back(again);
    }

    fn set(&self, state: CoreState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

fn answer_all(jobs: Vec<Job>, error: &RowError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
