//! A simulated core as the device of a core: its clock, and answers that mean nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bucket::{Bucket, Row};
use crate::runtime::RunError;
use crate::runtime::simulated::{Clock, Moment, SimulatedModel, Simulation};
use crate::serve::core::device::WorkerDevice;
use crate::serve::core::models::ServedModel;

/// A core that only waits.
pub(crate) struct SimulatedDevice<'a> {
    simulation: &'a Simulation,
    clock: Clock,
}

/// When a run is done.
pub(crate) struct SimulatedRun {
    ends: Moment,
}

impl<'a> SimulatedDevice<'a> {
    /// A core for the thread that calls this.
    pub(crate) fn start(simulation: &'a Simulation) -> Result<Self> {
        let clock = Clock::start()?;
        Ok(Self { simulation, clock })
    }
}

fn simulated(model: &ServedModel) -> Result<&SimulatedModel> {
    let simulated = model.simulated.as_ref();
    simulated.context("the model was not opened for a simulated device")
}

impl WorkerDevice for SimulatedDevice<'_> {
    type Run = SimulatedRun;

    fn load(&mut self, _: &ServedModel) -> Result<()> {
        Ok(())
    }

    fn unload(&mut self, _: &ServedModel) -> Result<()> {
        Ok(())
    }

    fn check(&mut self, _: &ServedModel, _: Bucket) -> Result<()> {
        Ok(())
    }

    fn time_per_row(&self, model: &ServedModel) -> Option<Duration> {
        let simulated = model.simulated.as_ref()?;
        let buckets = model.plan().buckets.iter();
        let per_row = buckets.filter_map(|bucket| {
            let service = simulated.service(*bucket).ok()?;
            Some(service.duration / u32::try_from(bucket.batch).ok()?)
        });
        per_row.min()
    }

    fn begin(&mut self, model: &ServedModel, bucket: Bucket, _: &[&Row]) -> Result<SimulatedRun> {
        let service = simulated(model)?
            .service(bucket)
            .map_err(|error| RunError {
                message: format!("{error:#}"),
                diagnosis: None,
            })?;
        let ends = self.clock.submit(service.duration);
        Ok(SimulatedRun { ends })
    }

    fn ends(&self, run: &SimulatedRun) -> Option<Instant> {
        Some(Instant::now() + run.ends.from_now())
    }

    /// It does not hang.
    fn must_end(&self, run: &SimulatedRun) -> Instant {
        Instant::now() + run.ends.from_now()
    }

    fn is_done_before(&self, run: &SimulatedRun, moment: Instant) -> Result<bool> {
        let left = moment.saturating_duration_since(Instant::now());
        let moment = Moment::now().after(left);
        run.ends.min(moment).wait()?;
        Ok(run.ends <= moment)
    }

    fn finish(
        &mut self,
        run: SimulatedRun,
        model: &ServedModel,
        rows: &[&Row],
    ) -> Result<Vec<Vec<f32>>> {
        run.ends.wait()?;
        let model = simulated(model)?;
        let answer = |row: &&Row| self.simulation.answer(model, row);
        Ok(rows.iter().map(answer).collect())
    }

    fn check_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn process_id(&self) -> Option<u32> {
        None
    }
}
