//! Cores: each worker of the placement has a thread that keeps its process running and feeds it
//! batches.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bucket::Row;
use crate::bundle::Bundle;
use crate::placement::Worker as Place;
use crate::placement::machine::Machine;
use crate::runtime::{Backend, RunError, Worker};
use crate::serve::Runtime;
use crate::serve::queue::{Batch, Job, Queue, RowError, RowOutput, Taken, Timing};
use crate::serve::simulated::{self, Seat};

/// A core that has nothing to do looks this often whether its worker still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(200);

/// The pause before a worker is started again; it doubles with each failure in a row.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// A row that was on this many workers when they died is not tried again.
const DEATHS_MAX: u32 = 2;

/// What the workers need to start.
#[derive(Debug)]
pub(super) struct Workplace {
    /// Of each model.
    pub(super) bundles: Vec<Bundle>,
    pub(super) machine: Machine,
    pub(super) runtime: Runtime,
    /// Where the workers' output goes.
    pub(super) log: File,
    /// A batch that takes longer counts as a hang.
    pub(super) run_deadline: Duration,
}

/// What a core is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CoreState {
    Starting,
    /// Every bucket has run once on the worker.
    Ready {
        /// Absent where the worker is no process.
        process_id: Option<u32>,
    },
    /// The worker ended; why.
    Down {
        cause: String,
    },
    Closed,
}

/// A worker's cores from the outside.
#[derive(Debug)]
pub(super) struct Core {
    place: Arc<Place>,
    board: Arc<Board>,
}

/// Where a core's thread writes its state.
#[derive(Debug)]
struct Board {
    state: Mutex<CoreState>,
    changed: Condvar,
}

impl Core {
    /// Starts the thread of worker `index`, which starts its process.
    pub(super) fn start(
        index: usize,
        place: Place,
        workplace: Arc<Workplace>,
        queue: Arc<Queue>,
    ) -> Result<Self> {
        let place = Arc::new(place);
        let board = Arc::new(Board {
            state: Mutex::new(CoreState::Starting),
            changed: Condvar::new(),
        });
        let keeper = Keeper {
            index,
            cores: place.cores.to_string().into(),
            place: Arc::clone(&place),
            workplace,
            queue,
            board: Arc::clone(&board),
        };
        thread::Builder::new()
            .name(format!("core-{}", place.cores))
            .spawn(move || keeper.keep())
            .context("starting a thread")?;
        Ok(Self { place, board })
    }

    /// The cores of the worker, as the runtime writes them.
    pub(super) fn name(&self) -> String {
        self.place.cores.to_string()
    }

    pub(super) fn has(&self, core: u32) -> bool {
        self.place.cores.contains(core)
    }

    /// The models that the worker holds, as indexes.
    pub(super) fn models(&self) -> &[usize] {
        &self.place.models
    }

    pub(super) fn state(&self) -> CoreState {
        self.board.lock().clone()
    }

    /// Waits until the core has closed its worker, which it does when the queue is closed and empty,
    /// but not beyond `ends`, and not for a worker that is only starting.
    pub(super) fn wait_closed(&self, ends: Instant) {
        let left = ends.saturating_duration_since(Instant::now());
        let is_open =
            |state: &mut CoreState| !matches!(state, CoreState::Closed | CoreState::Starting);
        // What is still open then is killed with the server.
        let _ = self
            .board
            .changed
            .wait_timeout_while(self.board.lock(), left, is_open);
    }
}

impl Board {
    /// States are replaced as a whole: a panic while the lock is held leaves the old or the new one.
    fn lock(&self) -> MutexGuard<'_, CoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of a worker.
struct Keeper {
    index: usize,
    /// For the log and for answers.
    cores: Arc<str>,
    place: Arc<Place>,
    workplace: Arc<Workplace>,
    queue: Arc<Queue>,
    board: Arc<Board>,
}

impl Keeper {
    fn keep(&self) {
        let mut failures_in_a_row = 0;
        while !self.queue.is_closed() {
            self.set(CoreState::Starting);
            let mut served = false;
            let ended = self.run_once(&mut served);
            let Err(error) = ended else { break };
            failures_in_a_row = if served { 0 } else { failures_in_a_row + 1 };
            let cause = format!("{error:#}");
            tracing::error!(
                core = &*self.cores,
                failures_in_a_row,
                "worker ended: {cause}"
            );
            self.set(CoreState::Down { cause });
            let pause = RESTART_PAUSE * 2u32.saturating_pow(failures_in_a_row);
            self.queue.pause(pause.min(RESTART_PAUSE_MAX));
        }
        self.set(CoreState::Closed);
    }

    /// From the start of a worker to its end; an error means that it was lost.
    fn run_once(&self, served: &mut bool) -> Result<()> {
        let backend = match &self.workplace.runtime {
            Runtime::Processes(backend) => backend,
            Runtime::Simulated(simulation) => {
                self.set(CoreState::Ready { process_id: None });
                tracing::info!(core = &*self.cores, "core ready: simulated");
                let seat = Seat {
                    index: self.index,
                    models: &self.place.models,
                    core: Arc::clone(&self.cores),
                };
                return simulated::feed(simulation, &seat, &self.queue);
            }
        };
        let mut worker = self.start_worker(backend)?;
        let process_id = worker.process_id();
        self.set(CoreState::Ready {
            process_id: Some(process_id),
        });
        tracing::info!(core = &*self.cores, pid = process_id, "core ready");
        self.feed(&mut worker, served)
    }

    /// A worker on which every bucket has run once.
    fn start_worker(&self, backend: &Backend) -> Result<Worker> {
        let workplace = &self.workplace;
        let log = workplace.log.try_clone();
        let log = log.context("sharing the log of a worker")?;
        let threads = self.place.threads;
        let mut bundles = self
            .place
            .models
            .iter()
            .map(|model| &workplace.bundles[*model]);
        let first = bundles.next().context("a worker without a model")?;
        let tag = format!("neuronc {}", first.manifest.plan.name);
        let cores = self.place.environment(&workplace.machine);
        let backend = backend.on_cores(cores, &tag);
        let mut worker = Worker::start(&backend, first, threads, log)?;
        self.warm_up(&mut worker, first)?;
        for bundle in bundles {
            worker.load(bundle, threads)?;
            self.warm_up(&mut worker, bundle)?;
        }
        Ok(worker)
    }

    /// Runs every bucket once.
    fn warm_up(&self, worker: &mut Worker, bundle: &Bundle) -> Result<()> {
        let rows = bundle.reference_rows()?;
        for artifact in &bundle.manifest.artifacts {
            if self.queue.is_closed() {
                bail!("the server stopped before the worker was ready");
            }
            let bucket = artifact.bucket;
            let row = rows
                .iter()
                .rev()
                .find(|row| row.ids.len() <= bucket.sequence);
            let row: Vec<&Row> = row.into_iter().collect();
            worker
                .run_rows(bundle, bucket, &row, self.workplace.run_deadline)
                .with_context(|| format!("warming up bucket {bucket}"))?;
        }
        Ok(())
    }

    /// Runs batches until the queue is closed and empty; an error means that the worker is lost.
    fn feed(&self, worker: &mut Worker, served: &mut bool) -> Result<()> {
        loop {
            let taken = self
                .queue
                .take(self.index, &self.place.models, LIVENESS_INTERVAL);
            match taken {
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
        let bundle = &self.workplace.bundles[batch.model];
        let deadline = self.workplace.run_deadline;
        if let Err(error) = worker.check_alive() {
            // It died before it saw these rows: they are not to blame.
            self.queue.put_back(batch.jobs);
            return Err(error);
        }
        let rows: Vec<&Row> = batch.jobs.iter().map(|job| &job.row).collect();
        let begun = Instant::now();
        match worker.run_rows(bundle, batch.bucket, &rows, deadline) {
            Ok(outputs) => {
                let (bucket, ran) = (batch.bucket, begun.elapsed());
                for (index, (job, values)) in batch.jobs.into_iter().zip(outputs).enumerate() {
                    let timing = Timing {
                        waited: begun.saturating_duration_since(job.accepted),
                        ran,
                        leads: index == 0,
                    };
                    let output = RowOutput {
                        values,
                        bucket,
                        core: Arc::clone(&self.cores),
                        timing,
                    };
                    // The client may have gone meanwhile.
                    let _ = job.reply.send(Ok(output));
                }
                Ok(())
            }
            Err(error) => match error.downcast_ref::<RunError>() {
                Some(refused) if refused.is_numeric() => self.run_apart(worker, batch),
                Some(refused) => {
                    tracing::error!(core = &*self.cores, bucket = %batch.bucket, "batch failed: {refused}");
                    batch.answer(&RowError::Failed(refused.to_string()));
                    Ok(())
                }
                None => {
                    self.retry_elsewhere(batch.jobs);
                    Err(error)
                }
            },
        }
    }

    /// Runs the rows of a batch that had a value that is not a number one by one: only the row that
    /// has it is refused.
    fn run_apart(&self, worker: &mut Worker, batch: Batch) -> Result<()> {
        if batch.jobs.len() == 1 {
            let bucket = batch.bucket;
            tracing::error!(core = &*self.cores, %bucket, "a row made values that are not numbers");
            batch.answer(&RowError::Numeric);
            return Ok(());
        }
        let Batch {
            model,
            bucket,
            jobs,
        } = batch;
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            let alone = Batch {
                model,
                bucket,
                jobs: vec![job],
            };
            if let Err(error) = self.run(worker, alone) {
                self.queue.put_back(jobs.collect());
                return Err(error);
            }
        }
        Ok(())
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
        *self.board.lock() = state;
        self.board.changed.notify_all();
    }
}

fn answer_all(jobs: Vec<Job>, error: &RowError) {
    for job in jobs {
        let _ = job.reply.send(Err(error.clone()));
    }
}
