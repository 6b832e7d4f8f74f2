//! The server: an async front that parses, tokenizes and batches, and one worker process for each
//! worker of a placement.
//!
//! A request goes through `http` (one file per protocol), becomes rows in `queue`, and is taken in
//! batches that `batcher` chooses by the cores that `supervisor` keeps running. Text never reaches a
//! worker.

mod batcher;
pub mod config;
mod http;
mod queue;
mod simulated;
mod supervisor;

pub use http::{Gate, Keys, Tls, check_key_name, openapi};

use std::fmt;
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::placement::Placement;
use crate::plan::Plan;
use crate::runtime::Backend;
use crate::runtime::simulated::Simulation;
use crate::serve::http::Statistics;
use crate::serve::queue::Queue;
use crate::serve::supervisor::{Core, CoreState, Workplace};
use crate::task::TaskModel;

/// The bounds of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of all ports.
    pub connections: usize,
    /// Requests at a time of one connection.
    pub requests_per_connection: usize,
    /// How long a client may take to connect and to send the head of a request.
    pub head: Duration,
    /// How long it may take to send a body, and to take something of an answer.
    pub body: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle: Duration,
    /// The largest body of a request.
    pub body_bytes: usize,
    /// Rows of one model that may wait for a core; more are refused with 429.
    pub queue_rows: usize,
    /// How long a request may take, waiting included.
    pub request: Duration,
    /// How long one batch may take on a worker before the worker counts as hung.
    pub run: Duration,
    /// How long accepted requests may take after the server was told to stop.
    pub drain: Duration,
    /// How long workers may take to close after the last answer.
    pub close: Duration,
}

impl Limits {
    pub const STANDARD: Limits = Limits {
        connections: 16_384,
        requests_per_connection: 128,
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        // Longer than the load balancers of clouds keep theirs, who must be the ones to close.
        idle: Duration::from_secs(75),
        body_bytes: 2 << 20,
        queue_rows: 1024,
        request: Duration::from_secs(30),
        run: Duration::from_secs(60),
        drain: Duration::from_secs(30),
        close: Duration::from_secs(5),
    };
}

/// What runs the batches.
#[derive(Debug)]
pub enum Runtime {
    /// A process for each worker.
    Processes(Backend),
    /// Nothing: the server only waits as long as a device would take.
    Simulated(Simulation),
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Runtime::Processes(backend) => backend.fmt(f),
            Runtime::Simulated(simulation) => simulation.fmt(f),
        }
    }
}

/// What to serve, where, and with what.
#[derive(Debug)]
pub struct Deployment {
    /// The bundles of the placement's models, in their order.
    pub bundles: Vec<Bundle>,
    pub placement: Placement,
    pub runtime: Runtime,
    /// Where the workers' output goes.
    pub log: File,
    pub limits: Limits,
    pub gate: Gate,
}

/// How many connections there can be: those asked for, else the standard ones, if the limit of open
/// files, which is raised for it, has place for them.
pub fn places(asked: Option<NonZeroUsize>) -> Result<usize> {
    http::places(asked)
}

/// A port of the server.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    /// The worker through which alone it answers, as an index into the placement; any without.
    pub worker: Option<usize>,
}

/// What is being served.
#[derive(Debug)]
struct Served {
    models: Vec<ServedModel>,
    queue: Arc<Queue>,
    /// One for each worker of the placement.
    cores: Vec<Core>,
    limits: Limits,
    /// Answers mean nothing.
    is_simulated: bool,
    /// The server was told to stop: it is no longer ready, but answers what it accepted.
    stopping: AtomicBool,
}

#[derive(Debug)]
struct ServedModel {
    name: String,
    model: TaskModel,
    /// What it was compiled from and for.
    plan: Plan,
    statistics: Statistics,
}

impl Served {
    fn start(deployment: Deployment) -> Result<Arc<Self>> {
        let limits = deployment.limits;
        let names = deployment.placement.models.iter().map(|model| &model.name);
        let models = names.zip(&deployment.bundles).map(|(name, bundle)| {
            Ok(ServedModel {
                name: name.clone(),
                model: TaskModel::open(bundle)?,
                plan: bundle.manifest.plan.clone(),
                statistics: Statistics::default(),
            })
        });
        let models = models.collect::<Result<_>>()?;
        let bundles = deployment.bundles.iter();
        let buckets = bundles.map(|bundle| bundle.manifest.plan.buckets.clone());
        let queue = Arc::new(Queue::new(buckets.collect(), limits.queue_rows));
        let placement = deployment.placement;
        let is_simulated = matches!(deployment.runtime, Runtime::Simulated(_));
        let workplace = Arc::new(Workplace {
            bundles: deployment.bundles,
            machine: placement.machine,
            runtime: deployment.runtime,
            log: deployment.log,
            run_deadline: limits.run,
        });
        let workers = placement.workers.into_iter().enumerate();
        let cores = workers.map(|(index, worker)| {
            Core::start(index, worker, Arc::clone(&workplace), Arc::clone(&queue))
        });
        Ok(Arc::new(Self {
            models,
            cores: cores.collect::<Result<_>>()?,
            queue,
            limits,
            is_simulated,
            stopping: AtomicBool::new(false),
        }))
    }
}

/// The server as it is seen through one of its ports.
#[derive(Debug, Clone)]
struct Entrance {
    served: Arc<Served>,
    worker: Option<usize>,
}

impl Entrance {
    /// The cores that answer here.
    fn cores(&self) -> &[Core] {
        match self.worker {
            None => &self.served.cores,
            Some(index) => &self.served.cores[index..=index],
        }
    }

    /// The models that are served here, as indexes.
    fn models(&self) -> impl Iterator<Item = usize> {
        let is_here = |model: &usize| {
            self.cores()
                .iter()
                .any(|core| core.models().contains(model))
        };
        (0..self.served.models.len()).filter(is_here)
    }

    /// True when a request for any model would be answered.
    fn is_ready(&self) -> bool {
        self.models().all(|model| self.is_model_ready(model))
    }

    /// True when a request for this model would be answered: the server is not stopping and the model
    /// has a core that is ready.
    fn is_model_ready(&self, model: usize) -> bool {
        let mut cores = self
            .cores()
            .iter()
            .filter(|core| core.models().contains(&model));
        !self.served.stopping.load(Ordering::Relaxed)
            && cores.any(|core| matches!(core.state(), CoreState::Ready { .. }))
    }
}

/// Takes `address`, so that a port that is in use shows before anything is started.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        Failure::usage(format!("cannot listen on {address}"))
            .why(error.to_string())
            .help("give another `--port` or `--host`")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop` is done, then answers what was accepted and ends. Workers that do not close
/// in time are left to `cleanup`.
pub fn run(
    mut deployment: Deployment,
    listeners: Vec<Listener>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let gate = Arc::new(std::mem::take(&mut deployment.gate));
    let served = Served::start(deployment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let outcome = runtime.block_on(http::serve(Arc::clone(&served), gate, listeners, stop));
    // Requests that outlived the drain must not keep the process.
    runtime.shutdown_background();
    served.queue.close();
    if outcome.is_err() {
        served.queue.abandon();
    }
    let ends = Instant::now() + served.limits.close;
    for core in &served.cores {
        core.wait_closed(ends);
    }
    outcome
}
