//! A server between two observations, as numbers for a person or a program.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::serve::status::FrontStatus;
use crate::top::monitor_line::NeuronUse;

/// Raised when a key of [`View`] changes its meaning or goes away.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// A server between two observations.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    pub schema_version: u32,
    /// Seconds since 1970.
    pub at: f64,
    /// Seconds between the two observations by the server's own clock, which nobody sets; since its
    /// start where that lies between them.
    pub seconds: f64,
    pub server: FrontStatus,
    pub cores: Vec<CoreView>,
    pub models: Vec<ModelView>,
    /// Present where the server is on this machine.
    pub host: Option<HostView>,
    /// Present where there is a `neuron-monitor`.
    pub neuron: Option<NeuronUse>,
    pub warnings: Vec<String>,
}

/// The work of a core, a model or a bucket per second, and the share of padding in it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rates {
    pub rows_per_second: f64,
    pub batches_per_second: f64,
    pub tokens_per_second: f64,
    /// The share of the batches' rows that were not padding; absent where nothing ran.
    pub fill: Option<f64>,
    /// The share of the tokens that were padding; absent where nothing ran.
    pub padding_tokens: Option<f64>,
    /// Mean time of a batch; absent where nothing ran.
    pub run_seconds: Option<f64>,
}

/// A worker of the server; a worker may have several NeuronCores.
#[derive(Debug, Clone, Serialize)]
pub struct CoreView {
    pub core: String,
    pub state: String,
    pub cause: Option<String>,
    /// Share of the time in which it ran batches, from 0 to 1.
    pub busy: f64,
    #[serde(flatten)]
    pub rates: Rates,
    /// Names of the models that it holds or is to hold.
    pub models: Vec<String>,
    /// The models that it could not load, with the reason.
    pub failed: BTreeMap<String, String>,
    pub restarts: u64,
    pub pid: Option<u32>,
    /// Processors of the host that the process took: 1.5 are one and a half.
    pub processors: Option<f64>,
    pub resident_bytes: Option<u64>,
    /// Memory in which each shared page counts in equal parts for every process that shares it.
    pub proportional_bytes: Option<u64>,
    /// Mean utilization of its NeuronCores in percent, from `neuron-monitor`.
    pub neuron_utilization: Option<f64>,
    pub device_bytes: Option<u64>,
}

/// A model over all cores that hold it.
#[derive(Debug, Clone, Serialize)]
pub struct ModelView {
    pub model: String,
    pub task: String,
    pub ready: bool,
    pub cores: Vec<String>,
    pub queue_rows: usize,
    pub queue_seconds: Option<f64>,
    #[serde(flatten)]
    pub rates: Rates,
    pub buckets: Vec<BucketView>,
}

/// A bucket of a model; there is one for each bucket in which something ran since the start.
#[derive(Debug, Clone, Serialize)]
pub struct BucketView {
    pub bucket: String,
    #[serde(flatten)]
    pub rates: Rates,
}

/// The host and the processes of the server; a number of processors may have a fraction.
#[derive(Debug, Clone, Serialize)]
pub struct HostView {
    pub processors: usize,
    pub processors_busy: f64,
    pub front_processors: f64,
    pub workers_processors: f64,
    pub memory_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub front_resident_bytes: u64,
    pub front_proportional_bytes: Option<u64>,
    /// Memory of the front and the workers together; absent where one of them belongs to another
    /// user.
    pub server_proportional_bytes: Option<u64>,
}

impl View {
    /// Mean busy share of the cores that are ready; `None` where no core is.
    pub fn busy(&self) -> Option<f64> {
        let ready = self.cores.iter().filter(|core| core.state == "ready");
        let (count, sum) = ready.fold((0, 0.0), |(count, sum), core| (count + 1, sum + core.busy));
        (count > 0).then(|| sum / f64::from(count))
    }
}
