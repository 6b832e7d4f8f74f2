//! What runs batches for a core, as its feeder sees it: a process, or the clock of a simulated device.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bucket::{Bucket, Row};
use crate::serve::core::models::ServedModel;

/// BucketCounters batches in the order in which they are given. An error of
/// [`RunError`](crate::runtime::RunError) concerns one run, one of
/// [`LoadError`](crate::runtime::LoadError) one load; any other means that the device is lost.
pub(crate) trait WorkerDevice {
    /// A run that was begun.
    type Run;

    /// Loads a model and runs every bucket of it once. No run may be open.
    fn load(&mut self, model: &ServedModel) -> Result<()>;

    /// Lets go of a model. No run may be open.
    fn unload(&mut self, model: &ServedModel) -> Result<()>;

    /// BucketCounters one bucket of a loaded model on an input that is known to be good; fails where the device is
    /// not. No run may be open.
    fn check(&mut self, model: &ServedModel, bucket: Bucket) -> Result<()>;

    /// How long it needs for a row of a loaded model, with full batches.
    fn time_per_row(&self, model: &ServedModel) -> Option<Duration>;

    fn begin(&mut self, model: &ServedModel, bucket: Bucket, rows: &[&Row]) -> Result<Self::Run>;

    /// When the device will be done with the run, as far as that is known.
    fn ends(&self, run: &Self::Run) -> Option<Instant>;

    /// When the run has to be done: a device that takes longer hangs.
    fn must_end(&self, run: &Self::Run) -> Instant;

    /// Waits until `moment` at most; true when the run was done before.
    fn is_done_before(&self, run: &Self::Run, moment: Instant) -> Result<bool>;

    /// The outputs of the oldest open run, one for each of its rows.
    fn finish(
        &mut self,
        run: Self::Run,
        model: &ServedModel,
        rows: &[&Row],
    ) -> Result<Vec<Vec<f32>>>;

    /// Fails when the device is lost.
    fn check_alive(&mut self) -> Result<()>;

    /// Of the process that it is, if it is one.
    fn process_id(&self) -> Option<u32>;
}
