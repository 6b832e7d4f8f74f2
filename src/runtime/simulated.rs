//! A device that is not here: it takes exactly as long as a core of the real one would, none of the
//! host's processors, and answers with numbers that mean nothing but have the right shape.
//!
//! [`Simulation`] is what all cores have in common, [`SimulatedModel`] what a bundle adds, [`Clock`] that of one core. The time of a batch comes
//! from [`Timings`].

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{Timespec, clock_gettime};

use crate::bucket::{Bucket, Row};
use crate::bundle::Bundle;
use crate::plan::Plan;
use crate::sample::output::OutputLayout;
use crate::timings::{ServiceTime, Shape, Timings};

/// What is said in place of the runtime, in answers and wherever one is shown.
pub const SIMULATED: &str = "simulated";

/// The numbers from which answers are cut; more than any model gives for a token.
const POOL: usize = 1 << 16;

/// What all simulated cores have in common.
#[derive(Debug)]
pub struct Simulation {
    chip: String,
    /// Whose times every model takes; those of its shape without.
    named: Option<String>,
    pool: Vec<f32>,
}

/// A bundle on simulated cores.
#[derive(Debug)]
pub struct SimulatedModel {
    name: String,
    /// Whose times it takes.
    timings: String,
    service: Vec<(Bucket, ServiceTime)>,
    output: OutputLayout,
}

/// What decides how long the model of `plan` takes; unknown where neuronc does not trace it itself.
pub fn shape(plan: &Plan) -> Option<Shape> {
    let spec = plan.tracer.spec()?;
    Some(Shape {
        family: spec.family.clone(),
        layers: spec.encoder.layers,
        hidden: spec.encoder.hidden,
    })
}

impl Simulation {
    /// Models take the times of `named` timings, or those on `chip` of their shape.
    pub fn new(chip: &str, named: Option<&str>) -> Self {
        Self {
            chip: chip.to_owned(),
            named: named.map(str::to_owned),
            pool: pool(),
        }
    }

    /// The times that a model takes.
    pub fn timings(&self, plan: &Plan) -> Result<Timings> {
        match &self.named {
            Some(name) => Timings::load(name),
            None => Timings::of_shape(&self.chip, shape(plan).as_ref()),
        }
    }

    pub fn open(&self, bundle: &Bundle) -> Result<SimulatedModel> {
        let plan = &bundle.manifest.plan;
        let timings = self.timings(plan)?;
        let service = plan.buckets.iter();
        Ok(SimulatedModel {
            name: plan.name.clone(),
            service: service
                .map(|bucket| (*bucket, timings.model.service(*bucket)))
                .collect(),
            timings: timings.name,
            output: bundle.manifest.output,
        })
    }

    /// What the model answers for `row`: finite, and the same whenever the row is the same.
    pub fn answer(&self, model: &SimulatedModel, row: &Row) -> Vec<f32> {
        let count = model.output.values(row.ids.len());
        let mut hasher = DefaultHasher::new();
        row.ids.hash(&mut hasher);
        let start = hasher.finish() as usize % POOL;
        let mut values = Vec::with_capacity(count);
        let mut from = start;
        while values.len() < count {
            let end = POOL.min(from + count - values.len());
            values.extend_from_slice(&self.pool[from..end]);
            from = 0;
        }
        values
    }
}

impl SimulatedModel {
    /// How long a core takes for a batch in `bucket`.
    pub fn service(&self, bucket: Bucket) -> Result<ServiceTime> {
        let found = self.service.iter().find(|(known, _)| *known == bucket);
        let (_, time) = found
            .with_context(|| format!("bucket {bucket} of `{}` is not in its bundle", self.name))?;
        Ok(*time)
    }
}

impl fmt::Display for SimulatedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} takes the time of {}", self.name, self.timings)?;
        let assumed = self.service.iter().filter(|(_, time)| time.assumed);
        match assumed.count() {
            0 => Ok(()),
            count => write!(f, " ({count} of {} buckets assumed)", self.service.len()),
        }
    }
}

/// One simulated core: a clock that says when it is free. It computes one batch after another, without
/// a pause between two that were given to it in time.
#[derive(Debug)]
pub struct Clock {
    free_at: Moment,
}

/// Nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Clock {
    /// A core that is idle, for the thread that calls this.
    pub fn start() -> Result<Self> {
        // The kernel lets timers be late by 50 us, so that it wakes less often: 1 % of a batch.
        set_current_timer_slack(NonZeroU64::new(1)).context("asking for exact timers")?;
        Ok(Self {
            free_at: Moment::now(),
        })
    }

    /// Gives the core a batch that takes `time`, after what it has already; says when it is done.
    pub fn submit(&mut self, time: Duration) -> Moment {
        self.free_at = self.free_at.max(Moment::now()).after(time);
        self.free_at
    }
}

impl Moment {
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let part = |value: i64| u64::try_from(value).unwrap_or(0);
        Self(part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec))
    }

    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0 + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2))
    }

    /// How long it is until then.
    pub fn from_now(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Self::now().0))
    }

    /// Sleeps until then.
    pub fn wait(self) -> Result<()> {
        let seconds = |value: u64| i64::try_from(value).context("a time beyond the clock");
        let until = Timespec {
            tv_sec: seconds(self.0 / 1_000_000_000)?,
            tv_nsec: seconds(self.0 % 1_000_000_000)?,
        };
        loop {
            match clock_nanosleep_absolute(ClockId::Monotonic, &until) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("sleeping"),
            }
        }
    }
}

/// Numbers between -1 and 1 with all their digits, as embeddings have.
fn pool() -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        // Numerical Recipes' generator: the upper bits are good enough for numbers that mean nothing.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..POOL).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::output::Per;
    use crate::tensor::Dtype;

    fn model(per: Per, width: usize) -> SimulatedModel {
        SimulatedModel {
            name: "m".to_owned(),
            timings: "t".to_owned(),
            service: Vec::new(),
            output: OutputLayout {
                per,
                width,
                dtype: Dtype::F32,
            },
        }
    }

    fn row(ids: &[i64]) -> Row {
        Row {
            ids: ids.to_vec(),
            type_ids: vec![0; ids.len()],
            position: None,
        }
    }

    #[test]
    fn answers_are_finite_of_the_right_shape_and_of_the_row_alone() {
        let simulation = Simulation::new("inf2", None);
        let per_row = model(Per::Sample, 768);
        let answer = simulation.answer(&per_row, &row(&[1, 2]));
        assert_eq!(answer.len(), 768);
        assert!(
            answer
                .iter()
                .all(|value| value.is_finite() && value.abs() <= 1.0)
        );
        assert_eq!(answer, simulation.answer(&per_row, &row(&[1, 2])));
        assert_ne!(answer, simulation.answer(&per_row, &row(&[1, 3])));
        let per_token = model(Per::Token, 40_000);
        assert_eq!(
            simulation.answer(&per_token, &row(&[1, 2, 3])).len(),
            120_000
        );
    }

    #[test]
    fn batches_given_in_time_follow_without_a_pause() {
        let mut core = Clock::start().unwrap();
        let first = core.submit(Duration::from_millis(20));
        let second = core.submit(Duration::from_millis(30));
        assert_eq!(second, first.after(Duration::from_millis(30)));
        first.wait().unwrap();
        assert!(Moment::now() >= first);
    }

    #[test]
    fn an_idle_core_begins_when_it_is_asked() {
        let mut core = Clock::start().unwrap();
        let before = Moment::now().after(Duration::from_millis(2));
        before.wait().unwrap();
        let end = core.submit(Duration::from_millis(1));
        assert!(end >= before.after(Duration::from_millis(1)));
    }
}
