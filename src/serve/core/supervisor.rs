//! The thread of a core: it keeps a device running, and starts another one when it is lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result, bail};

use crate::failure::sentence;
use crate::serve::core::device::WorkerDevice;
use crate::serve::core::process::{ProcessDevice, ProcessSettings};
use crate::serve::core::queue::Queue;
use crate::serve::core::restarts::{Restarts, ServiceRecord};
use crate::serve::core::runtime::{Runtime, WorkerEnvironment};
use crate::serve::core::simulated::SimulatedDevice;
use crate::serve::core::worker::{ServedWorker, WorkerState};
use crate::serve::core::worker_loop::WorkerLoop;

/// The thread of a core.
pub(crate) struct Supervisor {
    core: Arc<ServedWorker>,
    environment: Arc<WorkerEnvironment>,
    queue: Arc<Queue>,
}

impl Supervisor {
    /// Starts the thread, which ends when the queue is closed and empty.
    pub(crate) fn start(
        core: Arc<ServedWorker>,
        environment: Arc<WorkerEnvironment>,
        queue: Arc<Queue>,
    ) -> Result<()> {
        let name = format!("core-{}", core.name);
        let keeper = Self {
            core,
            environment,
            queue,
        };
        thread::Builder::new()
            .name(name)
            .spawn(move || keeper.keep())
            .context("starting a thread")?;
        Ok(())
    }

    fn keep(&self) {
        let mut restarts = Restarts::default();
        while !self.queue.is_closed() {
            let mut service = ServiceRecord::default();
            // A change from here on may come too late for this device: the next one is started at once.
            let (calls, revision) = (self.queue.calls(), self.core.revision());
            // A panic costs the core its device, as any other loss.
            let ended = catch_unwind(AssertUnwindSafe(|| self.run_once(&mut service)));
            let ended = ended.unwrap_or_else(|panic| bail_panic(panic.as_ref()));
            let Err(error) = ended else { break };
            let verdict = restarts.lost(service);
            let cause = sentence(&error);
            let (core, failures_in_a_row) = (&*self.core.name, restarts.in_a_row());
            tracing::error!(core, failures_in_a_row, "worker ended: {cause}");
            let given_up = verdict.is_broken.then_some(revision);
            if self.core.lost(&cause, given_up) {
                self.queue.set_broken(self.core.index, true);
            }
            self.queue.pause(calls, verdict.pause);
            self.core.set_state(WorkerState::Starting);
        }
        self.core.set_state(WorkerState::Closed);
    }

    /// From the start of a device to its end; an error means that it was lost.
    fn run_once(&self, service: &mut ServiceRecord) -> Result<()> {
        let WorkerEnvironment {
            machine,
            runtime,
            log,
            run_limit,
        } = &*self.environment;
        match runtime {
            Runtime::Simulated(simulation) => {
                let device = SimulatedDevice::start(simulation)?;
                self.feed(device, service)
            }
            Runtime::Processes(backend) => {
                let device = ProcessDevice::new(ProcessSettings {
                    backend,
                    machine,
                    place: &self.core.place,
                    log,
                    run_limit: *run_limit,
                    queue: &self.queue,
                });
                self.feed(device, service)
            }
        }
    }

    fn feed(&self, device: impl WorkerDevice, service: &mut ServiceRecord) -> Result<()> {
        let mut feeder = WorkerLoop::new(&self.core, &self.queue, device);
        let outcome = feeder.feed();
        *service = feeder.service();
        outcome
    }
}

/// What a panic said, as an error.
fn bail_panic(panic: &(dyn std::any::Any + Send)) -> Result<()> {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    bail!("neuronc failed on this core: {}", said.unwrap_or("a panic"))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::placement::Worker;
    use crate::placement::cores::CoreList;
    use crate::serve::core::names::ModelId;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_change_that_comes_while_a_device_is_lost_is_not_missed() {
        let core = ServedWorker::new(0, place(), Vec::new());
        let queue = Queue::new(1);
        let (calls, revision) = (queue.calls(), core.revision());
        assert!(core.lost("one", Some(revision)));
        assert!(matches!(core.status().state, WorkerState::Broken { .. }));
        core.unwant(ModelId::next());
        queue.call();
        let begun = Instant::now();
        queue.pause(calls, MINUTE);
        assert!(begun.elapsed() < MINUTE, "the call came before the pause");
        assert!(
            !core.lost("two", Some(revision)),
            "something else is wanted now"
        );
        assert!(matches!(core.status().state, WorkerState::Down { .. }));
        assert!(!core.lost("three", None));
    }

    fn place() -> Worker {
        Worker {
            cores: CoreList::first(1),
            devices: CoreList::first(0),
            models: Vec::new(),
            vcpus: None,
            threads: 1,
            memory_bytes: 0,
            memory_limit_bytes: None,
        }
    }
}
