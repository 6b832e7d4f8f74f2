//! The state that is served: models, queue and workers, and the locks under which they change.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use tokio::sync::watch;

use crate::bundle::Bundle;
use crate::placement::Placement;
use crate::profile::ChipProfile;
use crate::serve::core::models::{Models, ServedModel};
use crate::serve::core::queue::Queue;
use crate::serve::core::runtime::{Runtime, WorkerEnvironment};
use crate::serve::core::supervisor::Supervisor;
use crate::serve::core::worker::ServedWorker;
use crate::serve::limits::Limits;

/// What to serve, and with what.
#[derive(Debug)]
pub struct Deployment {
    /// The bundles of the placement's models, in their order.
    pub bundles: Vec<Bundle>,
    pub placement: Placement,
    /// The chip of the machine.
    pub profile: ChipProfile,
    pub runtime: Runtime,
    /// The file that the output of the workers is appended to.
    pub log: File,
    pub limits: Limits,
}

/// The models, the queue and the workers of a server.
#[derive(Debug)]
pub(crate) struct ServedState {
    pub(crate) models: Models,
    pub(crate) queue: Arc<Queue>,
    /// One for each worker of the placement.
    pub(crate) workers: Vec<Arc<ServedWorker>>,
    pub(crate) limits: Limits,
    pub(crate) environment: Arc<WorkerEnvironment>,
    pub(crate) profile: ChipProfile,
    pub(crate) started: Instant,
    /// Held while the models that workers hold change.
    pub(crate) changing: Mutex<()>,
    /// Held while the models that names stand for change; taken after `changing` where both are.
    pub(crate) naming: Mutex<()>,
    /// The server was told to stop: it is no longer ready, but answers what it accepted.
    pub(crate) stopping: AtomicBool,
    /// True when the drain has ended: requests that are still open are refused.
    pub(crate) given_up: watch::Sender<bool>,
}

impl ServedState {
    /// Opens the models and starts a thread for each worker.
    pub(crate) fn start(deployment: Deployment) -> Result<Self> {
        let limits = deployment.limits;
        let runtime = deployment.runtime;
        let placement = deployment.placement;
        let placed = placement.models.into_iter().zip(deployment.bundles);
        let models = placed.map(|(placed, bundle)| {
            let simulated = runtime.simulated(&bundle)?;
            ServedModel::open(placed, bundle, simulated, limits.queue_rows)
        });
        let models: Vec<Arc<ServedModel>> = models.collect::<Result<_>>()?;
        let queue = Arc::new(Queue::new(limits.queue_rows));
        for model in &models {
            queue.open(model.id, &model.plan().buckets);
        }
        let environment = Arc::new(WorkerEnvironment {
            machine: placement.machine,
            runtime,
            log: deployment.log,
            run_limit: limits.run,
        });
        let mut workers = Vec::new();
        for (index, worker) in placement.workers.into_iter().enumerate() {
            let wanted = worker
                .models
                .iter()
                .map(|model| Arc::clone(&models[*model]));
            let wanted: Vec<Arc<ServedModel>> = wanted.collect();
            for model in &wanted {
                queue.assign(model.id, index);
            }
            let worker = Arc::new(ServedWorker::new(index, worker, wanted));
            Supervisor::start(
                Arc::clone(&worker),
                Arc::clone(&environment),
                Arc::clone(&queue),
            )?;
            workers.push(worker);
        }
        Ok(Self {
            models: Models::new(models),
            queue,
            workers,
            limits,
            environment,
            profile: deployment.profile,
            started: Instant::now(),
            changing: Mutex::new(()),
            naming: Mutex::new(()),
            stopping: AtomicBool::new(false),
            given_up: watch::Sender::new(false),
        })
    }

    /// True where no device computes the answers.
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.environment.runtime, Runtime::Simulated(_))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends the workers after the last answer. With `is_failed`, rows that still wait are answered with an
    /// error. Workers that do not close in time are left to `cleanup`.
    pub(crate) fn close(&self, is_failed: bool) {
        self.queue.close();
        if is_failed {
            self.queue.abandon();
        }
        let ends = Instant::now() + self.limits.close;
        for worker in &self.workers {
            worker.wait_closed(ends);
        }
    }
}
