//! A worker process as the device of a core.

use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bucket::{Bucket, Row};
use crate::placement::Worker as PlacedWorker;
use crate::placement::machine::Machine;
use crate::runtime::{Backend, Begun, LoadError, RunError, Worker};
use crate::serve::core::device::WorkerDevice;
use crate::serve::core::models::ServedModel;
use crate::serve::core::names::ModelId;
use crate::serve::core::queue::Queue;

/// What a new run counts for in the time that one of its bucket is expected to take.
const NEW_RUN_WEIGHT: f64 = 0.2;

/// How long a bucket may take when it is run for the first time, which shows how long it takes.
const FIRST_RUN_LIMIT: Duration = Duration::from_secs(60);

/// A run that takes so many times longer than it is expected to may be a hang.
const HANG_FACTOR: f64 = 4.0;

/// What a process needs to start.
#[derive(Debug)]
pub(crate) struct ProcessSettings<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) machine: &'a Machine,
    pub(crate) place: &'a PlacedWorker,
    /// Where its output goes.
    pub(crate) log: &'a File,
    /// A batch that takes longer counts as a hang, unless its bucket is known to be slow.
    pub(crate) run_limit: Duration,
    /// When it is closed, nothing needs to start any more.
    pub(crate) queue: &'a Queue,
}

/// A process, from the first load on.
pub(crate) struct ProcessDevice<'a> {
    site: ProcessSettings<'a>,
    worker: Option<Worker>,
    /// How long runs take, in seconds.
    seconds: HashMap<(ModelId, Bucket), f64>,
    /// How long the first ones took, which is more: for what is not known better.
    first_seconds: HashMap<(ModelId, Bucket), f64>,
    /// When the last run was done: the next one cannot have begun before.
    done: Instant,
}

/// A run on the process.
pub(crate) struct ProcessRun {
    begun: Begun,
    at: Instant,
    kind: (ModelId, Bucket),
}

impl<'a> ProcessDevice<'a> {
    pub(crate) fn new(site: ProcessSettings<'a>) -> Self {
        Self {
            site,
            worker: None,
            seconds: HashMap::new(),
            first_seconds: HashMap::new(),
            done: Instant::now(),
        }
    }

    /// How long a run takes, as far as that is known, in seconds.
    fn known(&self, kind: &(ModelId, Bucket)) -> Option<f64> {
        let seconds = self.seconds.get(kind);
        seconds.or_else(|| self.first_seconds.get(kind)).copied()
    }

    /// How long a run may take.
    fn limit(&self, kind: &(ModelId, Bucket)) -> Duration {
        let Some(seconds) = self.known(kind) else {
            return self.site.run_limit.max(FIRST_RUN_LIMIT);
        };
        let slow = Duration::try_from_secs_f64(HANG_FACTOR * seconds).unwrap_or(Duration::MAX);
        self.site.run_limit.max(slow)
    }

    fn worker(&mut self) -> Result<&mut Worker> {
        self.worker.as_mut().context("nothing is loaded")
    }

    fn start(&self, model: &ServedModel) -> Result<Worker> {
        let ProcessSettings { place, machine, .. } = &self.site;
        let log = self.site.log.try_clone();
        let log = log.context("sharing the log of a worker")?;
        let tag = format!("neuronc {}", model.name);
        let backend = self.site.backend.on_cores(place.environment(machine), &tag);
        Worker::start(&backend, &model.bundle, place.threads, log)
    }

    /// BucketCounters every bucket of a loaded model once.
    fn warm_up(&mut self, model: &ServedModel) -> Result<()> {
        for artifact in &model.bundle.manifest.artifacts {
            if self.site.queue.is_closed() {
                bail!("the server stopped before the worker was ready");
            }
            let bucket = artifact.bucket;
            let warmed = self.check(model, bucket);
            warmed.with_context(|| format!("warming up bucket {bucket}"))?;
        }
        Ok(())
    }
}

/// The longest reference row that fits a bucket: what it is warmed up with.
fn warm_up_row(rows: &[Row], bucket: Bucket) -> Option<&Row> {
    let mut fitting = rows.iter().rev();
    fitting.find(|row| row.ids.len() <= bucket.sequence)
}

impl WorkerDevice for ProcessDevice<'_> {
    type Run = ProcessRun;

    fn load(&mut self, model: &ServedModel) -> Result<()> {
        let changed = |error| LoadError::from_error("the bundle cannot be loaded", &error);
        model.bundle.check_unchanged().map_err(changed)?;
        let threads = self.site.place.threads;
        let is_new = !self
            .worker
            .as_ref()
            .is_some_and(|worker| worker.has(&model.bundle));
        match &mut self.worker {
            Some(worker) => worker.load(&model.bundle, threads)?,
            None => self.worker = Some(self.start(model)?),
        }
        match self.warm_up(model) {
            // The worker is fine, and goes on with what else it has.
            Err(error) if error.is::<RunError>() => {
                if is_new {
                    self.unload(model)?;
                }
                Err(LoadError::from_error("the bundle cannot be run", &error).into())
            }
            outcome => outcome,
        }
    }

    fn unload(&mut self, model: &ServedModel) -> Result<()> {
        self.worker()?.unload(&model.bundle)
    }

    fn check(&mut self, model: &ServedModel, bucket: Bucket) -> Result<()> {
        let row = warm_up_row(&model.references, bucket);
        let rows: Vec<&Row> = row.into_iter().collect();
        let kind = (model.id, bucket);
        let limit = self.limit(&kind);
        let begun = Instant::now();
        let outputs = self
            .worker()?
            .run_rows(&model.bundle, bucket, &rows, limit)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.first_seconds.entry(kind).or_insert(seconds);
        match outputs.iter().flatten().all(|value| value.is_finite()) {
            true => Ok(()),
            false => {
                bail!("values that are not numbers came out for an input that is known to be good")
            }
        }
    }

    fn time_per_row(&self, model: &ServedModel) -> Option<Duration> {
        let buckets = model.plan().buckets.iter();
        let per_row = buckets
            .filter_map(|bucket| Some(self.known(&(model.id, *bucket))? / bucket.batch as f64));
        Duration::try_from_secs_f64(per_row.min_by(f64::total_cmp)?).ok()
    }

    fn begin(&mut self, model: &ServedModel, bucket: Bucket, rows: &[&Row]) -> Result<ProcessRun> {
        let kind = (model.id, bucket);
        let limit = self.limit(&kind);
        let at = Instant::now();
        let begun = self.worker()?.begin(&model.bundle, bucket, rows, limit)?;
        Ok(ProcessRun { begun, at, kind })
    }

    fn ends(&self, run: &ProcessRun) -> Option<Instant> {
        let seconds = self.seconds.get(&run.kind)?;
        Some(run.at.max(self.done) + Duration::try_from_secs_f64(*seconds).ok()?)
    }

    fn must_end(&self, run: &ProcessRun) -> Instant {
        run.at.max(self.done) + self.limit(&run.kind)
    }

    fn is_done_before(&self, _: &ProcessRun, moment: Instant) -> Result<bool> {
        let worker = self.worker.as_ref().context("nothing is loaded")?;
        worker.is_done_before(moment)
    }

    fn finish(&mut self, run: ProcessRun, _: &ServedModel, rows: &[&Row]) -> Result<Vec<Vec<f32>>> {
        let outputs = self.worker()?.finish(run.begun, rows);
        let now = Instant::now();
        let took = (now - run.at.max(self.done)).as_secs_f64();
        self.done = now;
        let seconds = self.seconds.entry(run.kind).or_insert(took);
        *seconds += NEW_RUN_WEIGHT * (took - *seconds);
        outputs
    }

    fn check_alive(&mut self) -> Result<()> {
        match &mut self.worker {
            Some(worker) => worker.check_alive(),
            None => Ok(()),
        }
    }

    fn process_id(&self) -> Option<u32> {
        self.worker.as_ref().map(Worker::process_id)
    }
}
