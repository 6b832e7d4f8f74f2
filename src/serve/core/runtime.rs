//! How batches are run, and what every worker needs to start.

use std::fs::File;
use std::time::Duration;

use anyhow::Result;

use crate::bundle::Bundle;
use crate::placement::machine::Machine;
use crate::runtime::Backend;
use crate::runtime::simulated::{SimulatedModel, Simulation};

/// How the batches are run.
#[derive(Debug)]
pub enum Runtime {
    /// By a process for each worker.
    Processes(Backend),
    /// Not at all: the server only waits as long as a device would take.
    Simulated(Simulation),
}

impl Runtime {
    /// The bundle as a simulated device needs it; `None` where batches are really run.
    pub(crate) fn simulated(&self, bundle: &Bundle) -> Result<Option<SimulatedModel>> {
        match self {
            Runtime::Processes(_) => Ok(None),
            Runtime::Simulated(simulation) => simulation.open(bundle).map(Some),
        }
    }
}

/// What the devices of all workers need to start.
#[derive(Debug)]
pub(crate) struct WorkerEnvironment {
    pub(crate) machine: Machine,
    pub(crate) runtime: Runtime,
    /// The file that the output of the workers is appended to.
    pub(crate) log: File,
    /// A batch that takes longer counts as a hang, unless its bucket is known to be slow.
    pub(crate) run_limit: Duration,
}
