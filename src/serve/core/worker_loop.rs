//! Keeps a device busy: brings it to what its core is to hold, gives it batches, the next one a moment
//! before it is done with the last, and sends out what it computed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bucket::{Bucket, Row};
use crate::failure::sentence;
use crate::runtime::{LoadError, RunError};
use crate::serve::core::counters::WorkCounts;
use crate::serve::core::device::WorkerDevice;
use crate::serve::core::job::{Batch, Job, RowError, RowOutput, Timing, answer_all};
use crate::serve::core::models::ServedModel;
use crate::serve::core::names::ModelId;
use crate::serve::core::queue::{NextBatch, Queue};
use crate::serve::core::restarts::{Restarts, ServiceRecord};
use crate::serve::core::worker::{LoadFailure, ServedWorker, WorkerState, WorkerStatus};

/// A core that has nothing to do looks this often whether its device still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(200);

/// So long before a batch is expected to end the device is given its next one, if a full one waits; one
/// that is not full may still grow until then.
const AHEAD: Duration = Duration::from_millis(1);

/// A model over whose load so many workers were lost is not tried again beside others.
const LOSSES_MAX: u32 = 2;

/// What could not be loaded is tried again after so many times the time that the last attempt took, in
/// which nothing runs.
const RETRY_TIMES: u32 = 10;

/// What a device was given and has not answered.
struct InFlightBatch<R> {
    model: Arc<ServedModel>,
    batch: Batch,
    run: R,
    at: Instant,
}

/// Feeds one device, from its start to its loss.
pub(crate) struct WorkerLoop<'a, D: WorkerDevice> {
    core: &'a ServedWorker,
    queue: &'a Queue,
    device: D,
    held: Vec<Arc<ServedModel>>,
    /// Of the core's wishes, the one that `held` follows.
    revision: Option<u64>,
    /// When what could not be loaded is tried again.
    retry: Option<Instant>,
    retries: Restarts,
    /// In the order in which they were given; two at most.
    open: VecDeque<InFlightBatch<D::Run>>,
    /// When the last run was done.
    done: Instant,
    /// What gave values that are not numbers: is it the input or the device?
    suspect: Option<(Arc<ServedModel>, Bucket)>,
    has_run: bool,
    ready_since: Option<Instant>,
}

impl<'a, D: WorkerDevice> WorkerLoop<'a, D> {
    pub(crate) fn new(core: &'a ServedWorker, queue: &'a Queue, device: D) -> Self {
        Self {
            core,
            queue,
            device,
            held: Vec::new(),
            revision: None,
            retry: None,
            retries: Restarts::default(),
            open: VecDeque::new(),
            done: Instant::now(),
            suspect: None,
            has_run: false,
            ready_since: None,
        }
    }

    /// What the device has done so far.
    pub(crate) fn service(&self) -> ServiceRecord {
        let ready = self.ready_since.map(|since| since.elapsed());
        ServiceRecord {
            has_run: self.has_run,
            ready: ready.unwrap_or_default(),
        }
    }

    /// BucketCounters batches until the queue is closed and empty; an error means that the device is lost. Nothing
    /// that was taken from the queue is left behind.
    pub(crate) fn feed(&mut self) -> Result<()> {
        let outcome = self.feed_on();
        if outcome.is_err() {
            self.core.ledger.end(false);
        }
        // Those that are to blame were taken out before.
        for next in self.open.drain(..) {
            self.queue.put_back(next.batch.jobs);
        }
        outcome
    }

    fn feed_on(&mut self) -> Result<()> {
        loop {
            if !self.open.is_empty() {
                self.finish_first()?;
                continue;
            }
            self.check_suspect()?;
            self.follow_wishes()?;
            match self.take(LIVENESS_INTERVAL) {
                NextBatch::Closed => return Ok(()),
                NextBatch::Nothing => self.device.check_alive()?,
                NextBatch::Batch(batch) => {
                    if let Err(error) = self.device.check_alive() {
                        // It died before it saw these rows: they are not to blame.
                        self.queue.put_back(batch.jobs);
                        return Err(error);
                    }
                    self.begin(batch)?;
                }
            }
        }
    }

    fn ids(&self) -> Vec<ModelId> {
        self.held.iter().map(|model| model.id).collect()
    }

    fn take(&self, patience: Duration) -> NextBatch {
        self.queue.take(self.core.index, &self.ids(), patience)
    }

    /// Gives a batch to the device.
    fn begin(&mut self, batch: Batch) -> Result<()> {
        let model = self.held.iter().find(|model| model.id == batch.model);
        let Some(model) = model.cloned() else {
            self.queue.put_back(batch.jobs);
            return Ok(());
        };
        let rows: Vec<&Row> = batch.jobs.iter().map(|job| &job.row).collect();
        let at = Instant::now();
        match self.device.begin(&model, batch.bucket, &rows) {
            Ok(run) => {
                self.core.ledger.begin(at);
                self.open.push_back(InFlightBatch {
                    model,
                    batch,
                    run,
                    at,
                });
            }
            Err(error) if error.is::<RunError>() => {
                let refused = RowError::Failed(error.to_string());
                answer_all(batch.jobs, &refused);
            }
            Err(error) => {
                match self.open.pop_front() {
                    None => self.queue.died(batch),
                    Some(running) => {
                        self.queue.died(running.batch);
                        self.queue.put_back(batch.jobs);
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits for the oldest open run, and sees to it that another one follows it at once.
    fn finish_first(&mut self) -> Result<()> {
        let Some(first) = self.open.front() else {
            return Ok(());
        };
        let is_alone = self.open.len() == 1;
        let may_follow = is_alone && self.is_settled();
        if may_follow
            && let Some(ends) = self.device.ends(&first.run)
            && let Some(ahead) = ends.checked_sub(AHEAD)
            && !self.device.is_done_before(&first.run, ahead)?
            && let Some(batch) = self.queue.take_full(self.core.index, &self.ids())
        {
            self.begin(batch)?;
        }
        let Some(first) = self.open.front() else {
            return Ok(());
        };
        let limit = self.device.must_end(&first.run);
        self.device.is_done_before(&first.run, limit)?;
        let began = first.at.max(self.done);
        self.done = self.core.ledger.end(self.open.len() > 1);
        if may_follow
            && self.open.len() == 1
            && let NextBatch::Batch(batch) = self.take(Duration::ZERO)
        {
            self.begin(batch)?;
        }
        self.answer_first(began)
    }

    /// False while something else than batches is due.
    fn is_settled(&self) -> bool {
        self.suspect.is_none() && self.has_followed()
    }

    /// True when there is nothing to load or to let go of.
    fn has_followed(&self) -> bool {
        let is_due = self.retry.is_some_and(|retry| retry <= Instant::now());
        self.revision == Some(self.core.revision()) && !is_due
    }

    /// Sends out what came of the oldest open run, which is done and was at work since `began`.
    fn answer_first(&mut self, began: Instant) -> Result<()> {
        let Some(first) = self.open.pop_front() else {
            return Ok(());
        };
        let InFlightBatch {
            model, batch, run, ..
        } = first;
        let rows: Vec<&Row> = batch.jobs.iter().map(|job| &job.row).collect();
        let tokens = rows.iter().map(|row| row.ids.len()).sum();
        let busy = self.done.saturating_duration_since(began);
        match self.device.finish(run, &model, &rows) {
            Ok(outputs) => {
                let tally = WorkCounts::batch(batch.bucket, rows.len(), tokens, busy);
                let wait = |job: &Job| began.saturating_duration_since(job.accepted);
                let waits = batch.jobs.iter().map(wait);
                let ledger = &self.core.ledger;
                ledger.add(&model.name, batch.bucket, &tally, waits);
                self.has_run = true;
                self.send(&model, batch, outputs, (began, busy));
                Ok(())
            }
            Err(error) => match error.downcast_ref::<RunError>() {
                Some(refused) => {
                    self.refuse(&model, batch, refused);
                    Ok(())
                }
                None => {
                    self.queue.died(batch);
                    Err(error)
                }
            },
        }
    }

    fn send(
        &mut self,
        model: &Arc<ServedModel>,
        batch: Batch,
        outputs: Vec<Vec<f32>>,
        (began, ran): (Instant, Duration),
    ) {
        let bucket = batch.bucket;
        self.queue.survived(&batch.jobs);
        for (index, (job, values)) in batch.jobs.into_iter().zip(outputs).enumerate() {
            if !values.iter().all(|value| value.is_finite()) {
                self.suspect = Some((Arc::clone(model), bucket));
                answer_all([job], &RowError::Numeric);
                continue;
            }
            let timing = Timing {
                waited: began.saturating_duration_since(job.accepted),
                ran,
                leads: index == 0,
            };
            let output = RowOutput {
                values,
                bucket,
                core: Arc::clone(&self.core.name),
                timing,
            };
            // The client may have gone meanwhile.
            let _ = job.reply.send(Ok(output));
        }
    }

    /// A batch that the device refused. One with values that are not numbers is run again row by row, so
    /// that only the row that has them is refused.
    fn refuse(&mut self, model: &Arc<ServedModel>, mut batch: Batch, refused: &RunError) {
        let (core, bucket) = (&*self.core.name, batch.bucket);
        tracing::error!(core, %bucket, "batch failed: {refused}");
        if !refused.is_numeric() {
            return answer_all(batch.jobs, &RowError::Failed(refused.to_string()));
        }
        if batch.jobs.len() > 1 {
            for job in &mut batch.jobs {
                job.is_suspect = true;
            }
            return self.queue.put_back(batch.jobs);
        }
        self.suspect = Some((Arc::clone(model), bucket));
        answer_all(batch.jobs, &RowError::Numeric);
    }

    /// After values that are not numbers: a device that has them for a good input too is lost.
    fn check_suspect(&mut self) -> Result<()> {
        let Some((model, bucket)) = self.suspect.take() else {
            return Ok(());
        };
        let core = &*self.core.name;
        tracing::error!(core, model = &*model.name, %bucket, "a row made values that are not numbers");
        let is_held = self.held.iter().any(|held| held.id == model.id);
        match is_held {
            true => self
                .device
                .check(&model, bucket)
                .with_context(|| format!("bucket {bucket} of `{}` after such values", model.name)),
            false => Ok(()),
        }
    }

    /// Brings what the device holds to what it is to hold.
    fn follow_wishes(&mut self) -> Result<()> {
        if self.has_followed() {
            return Ok(());
        }
        let revision = self.core.revision();
        if self.revision != Some(revision) {
            self.retries = Restarts::default();
        }
        let WorkerStatus {
            mut wanted, failed, ..
        } = self.core.status();
        // What failed before must not keep the others from being loaded.
        wanted.sort_by_key(|model| failed.get(&model.id).map(|failure| failure.losses));
        let is_in = |models: &[Arc<ServedModel>], model: &ServedModel| {
            models.iter().any(|other| other.id == model.id)
        };
        let (staying, leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|model| is_in(&wanted, model));
        self.held = staying;
        for model in leaving {
            // A device has a bundle once, under however many names.
            let identity = model.bundle.identity();
            let is_shared = |held: &Arc<ServedModel>| held.bundle.identity() == identity;
            let is_shared = self.held.iter().any(is_shared);
            if !is_shared {
                self.device.unload(&model)?;
            }
            self.say_ready();
        }
        let mut failing: Option<Duration> = None;
        for model in &wanted {
            if !is_in(&self.held, model)
                && let Some(took) = self.load(model)?
            {
                *failing.get_or_insert_default() += took;
            }
        }
        if self.held.is_empty() && !wanted.is_empty() {
            let failed = self.core.status().failed.into_values().next();
            bail!("{}", failed.map_or(String::new(), |failure| failure.why));
        }
        for model in &wanted {
            let has_failed = !is_in(&self.held, model);
            self.queue.set_failed(model.id, self.core.index, has_failed);
        }
        self.retry = failing.map(|took| {
            let pause = self.retries.lost(ServiceRecord::default()).pause;
            Instant::now() + pause.max(took * RETRY_TIMES)
        });
        self.revision = Some(revision);
        self.say_ready();
        Ok(())
    }

    /// Loads a model beside those that are held; of an attempt that failed and will be repeated, the time
    /// that it took. What several workers were lost over is not tried where it might cost others.
    fn load(&mut self, model: &Arc<ServedModel>) -> Result<Option<Duration>> {
        let known = self.core.status().failed.remove(&model.id);
        let losses = known.as_ref().map_or(0, |failure| failure.losses);
        if losses >= LOSSES_MAX && !self.held.is_empty() {
            return Ok(None);
        }
        let begun = Instant::now();
        let Err(error) = self.device.load(model) else {
            self.core.change(|status| {
                status.failed.remove(&model.id);
            });
            self.held.push(Arc::clone(model));
            if let Some(per_row) = self.device.time_per_row(model) {
                self.queue.expect(model.id, per_row);
            }
            self.say_ready();
            return Ok(None);
        };
        let (why, is_lost) = (sentence(&error), !error.is::<LoadError>());
        if known.is_none_or(|failure| failure.why != why) {
            let (core, model) = (&*self.core.name, &*model.name);
            tracing::error!(core, model, "a model cannot be loaded: {why}");
        }
        let losses = losses + u32::from(is_lost);
        self.core.change(|status| {
            status.failed.insert(model.id, LoadFailure { why, losses });
        });
        match is_lost {
            true => Err(error.context(format!("model `{}`", model.name))),
            false => Ok(Some(begun.elapsed())),
        }
    }

    fn say_ready(&mut self) {
        let held = self.ids();
        let process_id = self.device.process_id();
        let state = match held.is_empty() {
            true => WorkerState::Empty,
            false => {
                self.ready_since.get_or_insert_with(Instant::now);
                WorkerState::Ready { process_id }
            }
        };
        let is_new = self.core.status().state != state;
        if is_new {
            let core = &*self.core.name;
            tracing::info!(core, pid = process_id, models = held.len(), "core ready");
        }
        self.queue.set_broken(self.core.index, false);
        self.core.change(|status| {
            status.state = state;
            status.held = held;
        });
    }
}
