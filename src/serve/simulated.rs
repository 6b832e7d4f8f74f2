//! A core of the simulated device: a thread that sleeps where another one waits for its worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::runtime::simulated::{Core, Moment, Simulation};
use crate::serve::queue::{Batch, Queue, RowError, RowOutput, Taken, Timing};

/// A core that has nothing to do looks this often whether the server ends.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// So long before a batch ends the core is given its next one, if a full one waits; one that is not full
/// may still grow until then. A chip's runtime takes work ahead in the same way.
const AHEAD: Duration = Duration::from_millis(1);

/// Where the core is.
pub(super) struct Seat<'a> {
    /// Of the worker.
    pub(super) index: usize,
    pub(super) models: &'a [usize],
    /// As answers name it.
    pub(super) core: Arc<str>,
}

/// A batch on the core.
struct Running {
    batch: Batch,
    time: Duration,
    ends: Moment,
}

/// Runs batches until the queue is closed and empty.
pub(super) fn feed(simulation: &Simulation, seat: &Seat<'_>, queue: &Queue) -> Result<()> {
    let mut core = Core::start()?;
    let mut begin = |batch: Batch| -> Option<Running> {
        match simulation.service(batch.model, batch.bucket) {
            Ok(service) => Some(Running {
                ends: core.submit(service.duration),
                time: service.duration,
                batch,
            }),
            Err(error) => {
                batch.answer(&RowError::Failed(format!("{error:#}")));
                None
            }
        }
    };
    let mut running: Option<Running> = None;
    loop {
        let Some(current) = running.take() else {
            match queue.take(seat.index, seat.models, IDLE_INTERVAL) {
                Taken::Closed => return Ok(()),
                Taken::Nothing => {}
                Taken::Batch(batch) => running = begin(batch),
            }
            continue;
        };
        current.ends.before(AHEAD).wait()?;
        running = queue
            .take_full(seat.index, seat.models)
            .and_then(&mut begin);
        current.ends.wait()?;
        let ended = Instant::now();
        if running.is_none()
            && let Taken::Batch(batch) = queue.take(seat.index, seat.models, Duration::ZERO)
        {
            running = begin(batch);
        }
        answer(simulation, &seat.core, current, ended);
    }
}

fn answer(simulation: &Simulation, core: &Arc<str>, done: Running, ended: Instant) {
    let (model, bucket) = (done.batch.model, done.batch.bucket);
    for (index, job) in done.batch.jobs.into_iter().enumerate() {
        let total = ended.saturating_duration_since(job.accepted);
        let timing = Timing {
            waited: total.saturating_sub(done.time),
            ran: done.time,
            leads: index == 0,
        };
        let output = RowOutput {
            values: simulation.answer(model, &job.row),
            bucket,
            core: Arc::clone(core),
            timing,
        };
        // The client may have gone meanwhile.
        let _ = job.reply.send(Ok(output));
    }
}
